"""Prototypical networks: a class is the mean of its support embeddings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from metamodal.meta.learners.protocol import learners, own, seen
from metamodal.types import Batch, Embed, Params

__all__ = ["Prototypes"]

_Adapted = tuple[Tensor, Tensor]


@learners.register("prototypes")
@dataclass(frozen=True)
class Prototypes:
    """Logits `τ (b − ‖z − p_k‖² / d)` for class means `p_k` (Snell, Swersky and Zemel, 2017).

    `τ` and `b` are learned; `b`, the distance that says nothing for or against a class, matters
    only where some class has no support row to be seen: there the logit is 0.
    """

    temperature: float = 8.0

    @property
    def reads(self) -> str:
        return "tokens"

    def parameters(self, modalities: tuple[str, ...]) -> Params:
        return {"log_temperature": torch.tensor(math.log(self.temperature)), "bias": torch.tensor(0.5)}

    def adapt(self, fn: Embed, params: Params, support: Batch) -> _Adapted:
        """Class means `(k, d)` and the number of rows behind each `(k)`."""
        weights = support.targets * seen(support)[:, None]
        counts = weights.sum(0)
        return weights.T @ fn(params, support) / counts.clamp(min=1)[:, None], counts

    def predict(self, fn: Embed, params: Params, adapted: _Adapted, query: Batch) -> Float[Tensor, "q k"]:
        means, counts = adapted
        logits = self._logits(params, _distances(fn(params, query), means))
        return logits * (counts > 0) * seen(query)[:, None]

    def leave_one_out(
        self, fn: Embed, params: Params, adapted: _Adapted, support: Batch
    ) -> Float[Tensor, "s k"]:
        """With `n` rows in a row's class, its distance to the mean of the others is `n / (n − 1)` times
        that to the mean of all."""
        means, counts = adapted
        there = seen(support)[:, None]
        mine = support.targets * there
        stretch = torch.where(mine > 0, counts / (counts - 1).clamp(min=1), 1.0)
        logits = self._logits(params, _distances(fn(params, support), means) * stretch.square())
        return logits * (counts - mine > 0) * there

    def _logits(self, params: Params, distances: Tensor) -> Tensor:
        return own(params, "log_temperature").exp() * (F.softplus(own(params, "bias")) - distances)


def _distances(z: Tensor, means: Tensor) -> Tensor:
    """Mean squared distances `(n, k)`, without `cdist`, which does not export."""
    squares = z.square().sum(-1, keepdim=True) + means.square().sum(-1)
    return (squares - 2 * z @ means.T) / z.shape[-1]
