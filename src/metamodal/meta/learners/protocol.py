"""The registry of learners, and what several of them begin with."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metamodal.errors import OptionError
from metamodal.outputs import Output
from metamodal.registry import Registry
from metamodal.traits import declared
from metamodal.types import Batch, Embed, Learner, Params, Setting

__all__ = [
    "QUICK",
    "Fusing",
    "SelfTesting",
    "Shown",
    "evenly",
    "gate",
    "learners",
    "only_for",
    "own",
    "regression_prior",
    "regression_prior_start",
    "ridge_start",
    "scalar",
    "seen",
    "shown",
]

learners: Registry[type[Learner]] = Registry("learner")
"""Learners by name, frozen dataclasses of hyper-parameters with `adapt` and `predict`."""


QUICK = 20.0
"""The factor on the learning rate of what has to move far in few steps: inner learning rates, fusion weights."""

_NAMED = 1.5  # a name stands for many rows of other tasks: at first it counts as some four and a half


@runtime_checkable
class SelfTesting(Learner, Protocol):
    """A learner that can predict each support row from the other support rows, in closed form or cheaply.

    `per_modality` weights the classifiers of its modalities by these leave-one-out predictions, so any self-testing
    learner can be its base. Ridge regression has them from its hat matrix at no extra cost.

    >>> from metamodal.extend import SelfTesting, learners
    >>> isinstance(learners["ridge"](), SelfTesting), isinstance(learners["maml"](), SelfTesting)
    (True, False)

    Logits are zero where nothing is known: for a class without another support row that has the modality, and for a
    row that lacks it.

    Source: Allen (1974), the leave-one-out identity of linear smoothers.
    """

    def leave_one_out(
        self, fn: Embed, params: Params, adapted: Any, support: Batch
    ) -> Float[Tensor, "*t s k"]:
        """Logits of each support row from the other support rows."""
        ...


@runtime_checkable
class Fusing(Learner, Protocol):
    """A learner that fuses the answers of several classifiers, by weights that the support decides."""

    def fusion_weights(self, adapted: Any) -> dict[str, float]:
        """The share of each classifier in the answers of one task, by its name."""
        ...


class Shown(NamedTuple):
    """What a support set shows: embeddings, targets, and how much each row counts.

    After the support rows come the embeddings of class information, if there is any, each as one row of its
    class that counts as much as was learned.
    """

    z: Float[Tensor, "*t s d"]
    targets: Float[Tensor, "*t s k"]
    weights: Float[Tensor, "*t s"]


def shown(fn: Embed, params: Params, support: Batch) -> Shown:
    """The rows of a support set, and the embeddings of class information as rows.

    The embedding `e` of what is known of a class counts as `exp(g·e + b)` rows, so that a class's mean of `n` rows `z` becomes
    `λ mean(z) + (1 − λ) e` with `λ = n / (n + exp(g·e + b))`: for `n = 1` the adaptive mixture of AM3
    (Xing et al., 2019). A class without rows is its embedding `e`.
    """
    z = fn(params, support)
    there = seen(support).to(z.dtype)
    weights = fn.output.weights(support.targets) * there
    if "embedding" not in support.class_info:
        return Shown(z, support.targets, weights)
    e, known = support.class_info["embedding"], support.class_info["known"]
    counts = (e @ own(params, "gate.weight") + own(params, "gate.bias")).exp() * known
    classes = torch.eye(e.shape[-2], dtype=z.dtype, device=z.device).expand(*e.shape[:-1], -1)
    return Shown(
        torch.cat([z, e], -2), torch.cat([support.targets, classes], -2), torch.cat([weights, counts], -1)
    )


def evenly(rows: Shown) -> tuple[Float[Tensor, "*t s"], Float[Tensor, "*t k"]]:
    """Weights of rows by which each class counts alike, however many rows it has, and the rows of each class."""
    counts = (rows.targets * rows.weights[..., None]).sum(-2)
    share = rows.weights.sum(-1, keepdim=True) / (counts > 0).sum(-1, keepdim=True).clamp(min=1)
    factors = (rows.targets * (share / counts.clamp(min=1e-6))[..., None, :]).sum(-1)
    return rows.weights * factors, counts


def scalar(setting: Setting, value: float, **traits: Any) -> Tensor:
    """A learned scalar of a learner. Where targets are not classes, the few steps of training must move it far."""
    return declared(torch.tensor(value), **({} if setting.output.has_classes else {"rate": QUICK}) | traits)


def ridge_start(setting: Setting, penalty: float, temperature: float, offset: float) -> Params:
    """The parameters of a ridge regression onto targets of any kind, with class information and regression prior."""
    start: Params = {"log_penalty": scalar(setting, math.log(penalty), shrinks=1)}
    if setting.output.has_probabilities:
        start["log_temperature"] = scalar(setting, math.log(temperature))
    if not setting.output.has_classes:
        start["log_offset"] = scalar(setting, math.log(offset))
    return start | gate(setting) | regression_prior_start(setting)


def gate(setting: Setting) -> Params:
    """The parameters by which `shown` weighs class information, where the model has any."""
    if not setting.has_class_info:
        return {}
    named = "model.class_encoder.names" in setting.model
    return {
        "gate.weight": torch.zeros(setting.dim),
        "gate.bias": scalar(setting, _NAMED if named else 0.0, settled=True),
    }


def regression_prior_start(setting: Setting) -> Params:
    """The parameters of `regression_prior`, for labels and numbers in a shared space."""
    if not (setting.outputs and setting.dim):
        return {}
    return {
        "regression_prior.weight": torch.zeros(setting.outputs, setting.dim),
        "regression_prior.bias": torch.zeros(setting.outputs),
    }


def regression_prior(params: Params, z: Float[Tensor, "*n d"], outputs: int) -> Float[Tensor, "*n k"]:
    """The prediction without any support row, the same for all tasks; 0 where nothing was learned."""
    if "learner.regression_prior.weight" not in params:
        return z.new_zeros(*z.shape[:-1], outputs)
    return z @ own(params, "regression_prior.weight").mT + own(params, "regression_prior.bias")


def only_for(setting: Setting, learner: str, *kinds: Output) -> None:
    """OptionError unless the learner predicts targets of this kind."""
    if setting.output not in kinds:
        able = "ridge, maml, matching or in_context"
        raise OptionError(
            f"learner {learner}: is for {' and '.join(kind.name for kind in kinds)}, and the target is {setting.output.name}. Set learner={able}."
        )


def own(params: Params, name: str) -> Tensor:
    """A parameter of the learner itself, by the name that `Learner.parameters` gave it.

    In `adapt` and `predict` the parameters of model and learner come in one dictionary. A learner reads its own by
    their short names:

    >>> import torch
    >>> from metamodal.extend import own
    >>> own(
    ...     {"model.fusion.weight": torch.zeros(2), "learner.log_scale": torch.tensor(1.5)}, "log_scale"
    ... ).item()
    1.5

    Args:
        params: all parameters, named `model.…` and `learner.…`.
        name: without the prefix `learner.`.
    """
    return params[f"learner.{name}"]


def seen(batch: Batch) -> Bool[Tensor, "*n"]:
    """Which rows have at least one modality, `(*t, n)`: the others carry no information.

    A learner multiplies support weights or targets by it, so that an empty row changes nothing.

    >>> import torch
    >>> from metamodal.extend import Batch, seen
    >>> present = {"image": torch.tensor([True, False, False]), "text": torch.tensor([True, True, False])}
    >>> rows = Batch({m: torch.zeros(3, 2) for m in present}, present, torch.zeros(3, 0))
    >>> seen(rows).tolist()
    [True, True, False]

    Args:
        batch: rows with any leading axes.
    """
    return torch.stack(list(batch.present.values())).any(0)
