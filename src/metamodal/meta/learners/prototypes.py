"""Prototypical networks: a class is the mean of its support embeddings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import PositiveFloat
from torch import Tensor

from metamodal.meta.learners.protocol import gate, learners, only_for, own, scalar, seen, shown
from metamodal.outputs import CLASSIFICATION
from metamodal.types import Batch, Embed, Params, Setting

__all__ = ["Prototypes", "distances"]

_Adapted = tuple[Tensor, Tensor]


@learners.register("prototypes")
@dataclass(frozen=True)
class Prototypes:
    """Logits `τ (b − ‖z − p_k‖² / d)` for class means `p_k` (Snell, Swersky and Zemel, 2017).

    `τ` and `b` are learned; `b`, the distance that says nothing for or against a class, matters
    only where some class has no support row to be seen: there the logit is 0.
    """

    temperature: PositiveFloat = 8.0

    @property
    def reads(self) -> str:
        return "tokens"

    def parameters(self, setting: Setting) -> Params:
        only_for(setting, "prototypes", CLASSIFICATION)
        start = {"log_temperature": scalar(setting, math.log(self.temperature)), "bias": scalar(setting, 0.5)}
        return start | gate(setting)

    def adapt(self, fn: Embed, params: Params, support: Batch) -> _Adapted:
        """Class means `(*t, k, d)` and how many rows are behind each `(*t, k)`."""
        z, targets, weights = shown(fn, params, support)
        shares = targets * weights[..., None]
        counts = shares.sum(-2)
        return shares.mT @ z / counts.clamp(min=1e-6)[..., None], counts

    def predict(self, fn: Embed, params: Params, adapted: _Adapted, query: Batch) -> Float[Tensor, "*t q k"]:
        means, counts = adapted
        logits = self._logits(params, distances(fn(params, query), means))
        return logits * (counts > 0)[..., None, :] * seen(query)[..., None]

    def leave_one_out(
        self, fn: Embed, params: Params, adapted: _Adapted, support: Batch
    ) -> Float[Tensor, "*t s k"]:
        """With `n` rows in a row's class, its distance to the mean of the others is `n / (n − 1)` times
        that to the mean of all."""
        means, counts = adapted
        counts = counts[..., None, :]
        there = seen(support)[..., None]
        mine = support.targets * there
        rest = counts - mine
        stretch = torch.where(mine > 0, counts / rest.clamp(min=1e-6), 1.0)
        stretch = torch.where(rest > 1e-6, stretch, 1.0)
        logits = self._logits(params, distances(fn(params, support), means) * stretch.square())
        return logits * (rest > 1e-6) * there

    def _logits(self, params: Params, distances: Tensor) -> Tensor:
        return own(params, "log_temperature").exp() * (F.softplus(own(params, "bias")) - distances)


def distances(z: Tensor, means: Tensor) -> Float[Tensor, "*t n k"]:
    """Mean squared distances, without `cdist`, which does not export."""
    squares = z.square().sum(-1, keepdim=True) + means.square().sum(-1)[..., None, :]
    return (squares - 2 * z @ means.mT) / z.shape[-1]
