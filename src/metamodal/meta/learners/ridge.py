"""Ridge regression onto the targets, in closed form, with leave-one-out predictions for free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor

from metamodal.meta.learners.protocol import (
    evenly,
    learners,
    own,
    regression_prior,
    ridge_start,
    seen,
    shown,
)
from metamodal.outputs import Output
from metamodal.types import Batch, Embed, Params, Setting

__all__ = ["Ridge"]


class _Solved(NamedTuple):
    """Weights `(*t, d, k)`, one less each row's leverage `(*t, s, g)`, rows behind each output `(*t, k)`.

    `g` is 1 where all outputs know the same rows, else `k`.
    """

    weights: Tensor
    slack: Tensor
    counts: Tensor


@learners.register("ridge")
@dataclass(frozen=True)
class Ridge:
    """Closed-form ridge regression on unit embeddings (R2-D2, Bertinetto et al., 2019).

    `W = (Zᵀ Z + λI)⁻¹ Zᵀ Y = Zᵀ (Z Zᵀ + λI)⁻¹ Y` by whichever of the two is smaller. `λ` is learned.

    *Classes*: `Y` is one-hot and a class's logit is `τ (ŷ − 1 / k)` with `k` classes that some row
    shows. Rows are weighed so that each class counts alike, however many it has (a row of weight
    `w` is `√w z` with label `√w y`). The even share `1 / k` says nothing for or against a class. It
    matters only beside a class that no row shows, whose logit is 0: a query unlike all that was
    shown may then belong there.

    *Labels and numbers*: a mixed model (Laird and Ware, 1982). The regression prior `P z + p`, learned
    over all tasks, is corrected by its residuals on the support rows, `Y − P z − p`, through a
    constant of learned variance (the task's own offset) and the embedding (its own slopes). With few
    rows the correction is as small as the tasks of training were alike.
    """

    penalty: PositiveFloat = 0.3
    temperature: PositiveFloat = 12.0
    offset: NonNegativeFloat = 1.0

    @property
    def reads(self) -> str:
        return "tokens"

    def parameters(self, setting: Setting) -> Params:
        return ridge_start(setting, self.penalty, self.temperature, self.offset)

    def adapt(self, fn: Embed, params: Params, support: Batch) -> _Solved:
        """A row without any modality has a zero embedding and no say."""
        rows = shown(fn, params, support)
        z, targets, _ = rows
        if not fn.output.has_classes:
            known = fn.output.known(targets) & seen(support)[..., None]
            left = torch.where(known, _scores(fn.output, targets), 0.0) - regression_prior(
                params, z, targets.shape[-1]
            )
            return self._solved(params, self._features(fn, params, z), left, known.to(z.dtype))
        even, counts = evenly(rows)
        solved = self._solved(params, self._features(fn, params, z), targets, even[..., None])
        return solved._replace(counts=counts)

    def predict(
        self, fn: Embed, params: Params, adapted: tuple[Tensor, Tensor, Tensor], query: Batch
    ) -> Float[Tensor, "*t q k"]:
        z = fn(params, query)
        weights, _, counts = adapted
        scores = self._features(fn, params, z) @ weights
        return self._logits(fn, params, z, scores, counts[..., None, :], seen(query))

    def leave_one_out(
        self, fn: Embed, params: Params, adapted: tuple[Tensor, Tensor, Tensor], support: Batch
    ) -> Float[Tensor, "*t s k"]:
        """`ŷᵢ⁻ⁱ = (ŷᵢ − hᵢ yᵢ) / (1 − hᵢ)` with the leverage `hᵢ`: exact, no refit (Allen, 1974)."""
        z = fn(params, support)
        weights, slack, counts = adapted
        there = seen(support)
        known = fn.output.known(support.targets) & there[..., None]
        mine = torch.where(known, _scores(fn.output, support.targets), 0.0)
        left = (
            mine - regression_prior(params, z, mine.shape[-1]) * known if not fn.output.has_classes else mine
        )
        fitted = self._features(fn, params, z) @ weights * there[..., None]
        scores = left + (fitted - left) / slack[..., : z.shape[-2], :]
        others = counts[..., None, :] - (known.to(z.dtype) if not fn.output.has_classes else mine)
        return self._logits(fn, params, z, scores, others, there)

    def _features(self, fn: Embed, params: Params, z: Tensor) -> Tensor:
        z = F.normalize(z, dim=-1)
        if fn.output.has_classes:
            return z
        constant = (0.5 * own(params, "log_offset")).exp().expand(*z.shape[:-1], 1)
        return torch.cat([z, constant], -1)

    def _solved(self, params: Params, x: Tensor, y: Tensor, weights: Tensor) -> _Solved:
        """The weighted ridge of `y` `(*t, s, k)` on `x` `(*t, s, d)`; `weights` are `(*t, s, g)`."""
        penalty = own(params, "log_penalty").exp()
        root = weights.clamp(min=1e-12).sqrt() * (weights > 0)
        shared = root.shape[-1] == 1
        rows = (x[..., None, :, :] if not shared else x) * (root.mT[..., None] if not shared else root)
        right = (y * root).mT[..., None] if not shared else y * root
        if x.shape[-2] <= x.shape[-1]:
            inverse = _inverse(rows @ rows.mT, penalty)
            solution = rows.mT @ (inverse @ right)
            slack = penalty * inverse.diagonal(dim1=-2, dim2=-1)
        else:
            inverse = _inverse(rows.mT @ rows, penalty)
            solution = inverse @ (rows.mT @ right)
            slack = 1 - (rows @ inverse * rows).sum(-1)
        counts = weights.sum(-2).expand(*y.shape[:-2], y.shape[-1])
        if shared:
            return _Solved(solution, slack[..., None], counts)
        return _Solved(solution[..., 0].mT, slack.mT, counts)

    def _logits(
        self, fn: Embed, params: Params, z: Tensor, scores: Tensor, counts: Tensor, there: Tensor
    ) -> Tensor:
        """Scores less what says nothing; 0 for a class that no row shows and a row without modalities."""
        if not fn.output.has_classes:
            answer = regression_prior(params, z, scores.shape[-1]) + scores
            answer = answer * there[..., None]
            return own(params, "log_temperature").exp() * answer if fn.output.has_probabilities else answer
        known = counts > 1e-6
        even = 1 / known.sum(-1, keepdim=True).clamp(min=1)
        return own(params, "log_temperature").exp() * (scores - even) * known * there[..., None]


def _scores(output: Output, targets: Tensor) -> Tensor:
    """What is regressed on: −1 or 1 for a label, else the target itself."""
    return output.centred(targets)


def _inverse(gram: Tensor, penalty: Tensor) -> Tensor:
    return torch.linalg.inv(gram + penalty * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device))
