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

_Adapted = tuple[Tensor, Tensor, Tensor, Tensor]


@learners.register("ridge")
@dataclass(frozen=True)
class Ridge:
    """Closed-form ridge regression on unit embeddings (R2-D2, Bertinetto et al., 2019).

    Solved in the dual, over the support rows: `α = (Z Zᵀ + λI)⁻¹ Y` for one-hot labels `Y`, and a
    class's logit is `τ (ŷ − β / k)` with `k` classes that some row shows. Rows are weighed so that
    each class counts alike, however many it has (a row of weight `w` is `√w z` with label `√w y`).
    `λ`, `τ` and `β`, the share at which a score says nothing for or against a class, are learned;
    `β` matters only beside a class that no row shows, whose logit is 0: a query unlike all that was
    shown may then belong there.
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
            "neutral": torch.tensor(1.0),
        }

    def adapt(self, fn: Embed, params: Params, support: Batch) -> _Adapted:
        """Weighed embeddings `(s, d)`, dual weights `(s, k)`, leave-one-out divisors `(s)`, class counts `(k)`.

        A row without any modality has a zero embedding and no say.
        """
        there = seen(support)
        labels = support.targets * there[:, None]
        counts = labels.sum(0)
        share = labels.sum() / (counts > 0).sum().clamp(min=1)
        weights = torch.where(there, (labels * share / counts.clamp(min=1)).sum(1), 1.0).sqrt()
        z = F.normalize(fn(params, support), dim=-1) * (weights * there)[:, None]
        gram = z @ z.T + own(params, "log_penalty").exp() * torch.eye(len(z), dtype=z.dtype)
        inverse = torch.linalg.inv(gram)
        alpha = inverse @ (weights[:, None] * labels)
        return z, alpha, inverse.diagonal() * weights, counts

    def predict(self, fn: Embed, params: Params, adapted: _Adapted, query: Batch) -> Float[Tensor, "q k"]:
        z, alpha, _, counts = adapted
        scores = F.normalize(fn(params, query), dim=-1) @ (z.T @ alpha)
        return self._logits(params, scores, counts, counts > 0) * seen(query)[:, None]

    def leave_one_out(
        self, fn: Embed, params: Params, adapted: _Adapted, support: Batch
    ) -> Float[Tensor, "s k"]:
        """`ŷᵢ = yᵢ − αᵢ / (√wᵢ (K + λI)⁻¹ᵢᵢ)`: exact for these weights, no refit."""
        _, alpha, divisors, counts = adapted
        there = seen(support)[:, None]
        mine = support.targets * there
        scores = mine - alpha / divisors[:, None]
        return self._logits(params, scores, counts, counts - mine > 0) * there

    def _logits(self, params: Params, scores: Tensor, counts: Tensor, known: Tensor) -> Tensor:
        neutral = own(params, "neutral") / (counts > 0).sum().clamp(min=1)
        return own(params, "log_temperature").exp() * (scores - neutral) * known
