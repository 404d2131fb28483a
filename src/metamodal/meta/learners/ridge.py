"""Ridge regression onto one-hot labels, in closed form, with leave-one-out predictions for free."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from metamodal.meta.learners.protocol import learners, own, seen
from metamodal.types import Batch, Embed, Params

__all__ = ["Ridge"]

_Adapted = tuple[Tensor, Tensor, Tensor]


@learners.register("ridge")
@dataclass(frozen=True)
class Ridge:
    """Closed-form ridge regression on unit embeddings (R2-D2, Bertinetto et al., 2019).

    `W = (Zᵀ Z + λI)⁻¹ Zᵀ Y = Zᵀ (Z Zᵀ + λI)⁻¹ Y` for one-hot labels `Y`, by whichever of the two is
    smaller, and a class's logit is `τ (ŷ − 1 / k)` with `k` classes that some row shows. Rows
    are weighed so that each class counts alike, however many it has (a row of weight `w` is `√w z`
    with label `√w y`). `λ` and `τ` are learned.

    The even share `1 / k` says nothing for or against a class. It matters only beside a class that no
    row shows, whose logit is 0: a query unlike all that was shown may then belong there.
    """

    penalty: float = 0.3
    temperature: float = 12.0

    @property
    def reads(self) -> str:
        return "tokens"

    def parameters(self, modalities: tuple[str, ...]) -> Params:
        return {
            "log_penalty": torch.tensor(math.log(self.penalty)),
            "log_temperature": torch.tensor(math.log(self.temperature)),
        }

    def adapt(self, fn: Embed, params: Params, support: Batch) -> _Adapted:
        """Weights `(d, k)`, one less the leverage of each row `(s)`, rows of each class `(k)`.

        A row without any modality has a zero embedding and no say.
        """
        there = seen(support)
        labels = support.targets * there[:, None]
        counts = labels.sum(0)
        share = labels.sum() / (counts > 0).sum().clamp(min=1)
        root = (labels * share / counts.clamp(min=1)).sum(1).sqrt()[:, None]
        z = F.normalize(fn(params, support), dim=-1) * root
        penalty = own(params, "log_penalty").exp()
        if len(z) <= z.shape[1]:
            inverse = _inverse(z @ z.T, penalty)
            return z.T @ (inverse @ (root * labels)), penalty * inverse.diagonal(), counts
        inverse = _inverse(z.T @ z, penalty)
        return inverse @ (z.T @ (root * labels)), 1 - (z @ inverse * z).sum(1), counts

    def predict(self, fn: Embed, params: Params, adapted: _Adapted, query: Batch) -> Float[Tensor, "q k"]:
        weights, _, counts = adapted
        scores = F.normalize(fn(params, query), dim=-1) @ weights
        return self._logits(params, scores, counts, counts > 0) * seen(query)[:, None]

    def leave_one_out(
        self, fn: Embed, params: Params, adapted: _Adapted, support: Batch
    ) -> Float[Tensor, "s k"]:
        """`ŷᵢ⁻ⁱ = (ŷᵢ − hᵢ yᵢ) / (1 − hᵢ)` with the leverage `hᵢ`: exact, no refit (Allen, 1974)."""
        weights, slack, counts = adapted
        there = seen(support)[:, None]
        mine = support.targets * there
        fitted = F.normalize(fn(params, support), dim=-1) @ weights * there
        scores = mine + (fitted - mine) / slack[:, None]
        return self._logits(params, scores, counts, counts - mine > 0) * there

    def _logits(self, params: Params, scores: Tensor, counts: Tensor, known: Tensor) -> Tensor:
        even = 1 / (counts > 0).sum().clamp(min=1)
        return own(params, "log_temperature").exp() * (scores - even) * known


def _inverse(gram: Tensor, penalty: Tensor) -> Tensor:
    return torch.linalg.inv(gram + penalty * torch.eye(len(gram), dtype=gram.dtype))
