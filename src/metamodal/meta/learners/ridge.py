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

    Solved in the dual, over the support rows: `α = (Z Zᵀ + λI)⁻¹ Y` for labels `Y` less their mean,
    so that a score of 0 says nothing for or against a class. `λ` and the temperature that turns
    scores into logits are learned.
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
        """Support embeddings `(s, d)`, dual weights `(s, k)`, inverse diagonal `(s)`, class counts `(k)`.

        A row without any modality has a zero embedding and no say.
        """
        there = seen(support)
        z = F.normalize(fn(params, support), dim=-1) * there[:, None]
        labels = support.targets * there[:, None]
        counts = labels.sum(0)
        known = (counts > 0).float()
        centred = labels - there[:, None] * known / known.sum().clamp(min=1)
        gram = z @ z.T + own(params, "log_penalty").exp() * torch.eye(len(z), dtype=z.dtype)
        inverse = torch.linalg.inv(gram)
        return z, inverse @ centred, inverse.diagonal(), counts

    def predict(self, fn: Embed, params: Params, adapted: _Adapted, query: Batch) -> Float[Tensor, "q k"]:
        z, alpha, _, counts = adapted
        scores = F.normalize(fn(params, query), dim=-1) @ (z.T @ alpha)
        return self._logits(params, scores, counts > 0) * seen(query)[:, None]

    def leave_one_out(
        self, fn: Embed, params: Params, adapted: _Adapted, support: Batch
    ) -> Float[Tensor, "s k"]:
        """`ŷᵢ = yᵢ − αᵢ / (K + λI)⁻¹ᵢᵢ`: exact for the centred labels, no refit."""
        _, alpha, diagonal, counts = adapted
        there = seen(support)[:, None]
        mine = support.targets * there
        known = (counts > 0).float()
        centred = mine - there * known / known.sum().clamp(min=1)
        scores = centred - alpha / diagonal[:, None]
        return self._logits(params, scores, counts - mine > 0) * there

    def _logits(self, params: Params, scores: Tensor, known: Tensor) -> Tensor:
        return own(params, "log_temperature").exp() * scores * known
