"""Modulation: the support set says what kind of task it is, and the embedding is scaled to suit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor

from metamodal.components import OneOf
from metamodal.meta.learners.protocol import learners, own, shown
from metamodal.meta.learners.ridge import Ridge
from metamodal.outputs import Output
from metamodal.types import Batch, Embed, Learner, Params, Setting

__all__ = ["Modulated"]


@learners.register("modulated")
@dataclass(frozen=True)
class Modulated:
    """Any learner on embeddings modulated per task, `z ↦ (1 + γ) z + β` (MMAML: Vuorio et al., 2019).

    `γ` and `β` are a small network of the task's own embedding: mean and spread of its support rows, each
    feature's spread within classes included, so that different kinds of tasks may use different
    features. They start at 0.

    Args:
        base: the learner that works on the modulated embedding.
        width: units of the network.
    """

    base: Annotated[Learner, OneOf(learners, "ridge")] = field(default_factory=Ridge)
    width: PositiveInt = 64

    @property
    def reads(self) -> str:
        return self.base.reads

    def parameters(self, setting: Setting) -> Params:
        base = {f"base.{k}": v for k, v in self.base.parameters(setting).items()}
        if not setting.dim:
            return base
        bound = (3 * setting.dim) ** -0.5
        return base | {
            "in.weight": torch.empty(self.width, 3 * setting.dim).uniform_(-bound, bound),
            "in.bias": torch.zeros(self.width),
            "out.weight": torch.zeros(2 * setting.dim, self.width),
            "out.bias": torch.zeros(2 * setting.dim),
        }

    def adapt(self, fn: Embed, params: Params, support: Batch) -> tuple[Any, Tensor]:
        """The base's state, and `γ` beside `β`, `(*t, 2 d)`."""
        within = _own(params)
        z, targets, weights = shown(fn, within, support)
        change = z.new_zeros(*z.shape[:-2], 2 * z.shape[-1])
        if "learner.in.weight" in params:
            task = _task_embedding(z, torch.nan_to_num(targets), weights, classes=fn.output.has_classes)
            units = torch.relu(task @ own(params, "in.weight").mT + own(params, "in.bias"))
            change = units @ own(params, "out.weight").mT + own(params, "out.bias")
        modulation = _Modulation(fn, change)
        if "embedding" in support.class_info:
            class_info = support.class_info | {"embedding": modulation.of(support.class_info["embedding"])}
            support = support._replace(class_info=class_info)
        return self.base.adapt(modulation, within, support), change

    def predict(
        self, fn: Embed, params: Params, adapted: tuple[Any, Tensor], query: Batch
    ) -> Float[Tensor, "*t q k"]:
        state, change = adapted
        return self.base.predict(_Modulation(fn, change), _own(params), state, query)


@dataclass(frozen=True)
class _Modulation:
    """An embedding scaled and shifted, feature by feature."""

    fn: Embed
    change: Tensor

    @property
    def output(self) -> Output:
        return self.fn.output

    def __call__(self, params: Params, batch: Batch) -> Float[Tensor, "*n d"]:
        return self.of(self.fn(params, batch))

    def of(self, z: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        scale, shift = self.change[..., None, :].chunk(2, -1)
        return (1 + scale) * z + shift


def _task_embedding(z: Tensor, targets: Tensor, weights: Tensor, *, classes: bool) -> Float[Tensor, "*t e"]:
    """Mean, spread, and spread within classes of the rows, as they count."""
    share = (weights / weights.sum(-1, keepdim=True).clamp(min=1e-6))[..., None]
    mean = (share * z).sum(-2)
    spread = (share * (z - mean[..., None, :]).square()).sum(-2)
    within = spread
    if classes:
        shares = targets * weights[..., None]
        means = shares.mT @ z / shares.sum(-2).clamp(min=1e-6)[..., None]
        within = (share * (z - targets @ means).square()).sum(-2)
    return torch.cat([mean, (spread + 1e-6).sqrt(), (within + 1e-6).sqrt()], -1)


def _own(params: Params) -> Params:
    """The parameters as the base knows them."""
    mine = {f"learner.{k[13:]}": v for k, v in params.items() if k.startswith("learner.base.")}
    return {k: v for k, v in params.items() if k.startswith("model.")} | mine
