"""Outer rules: what a stack of episodes says of the parameters, as a loss whose gradient says it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from metamodal.errors import OptionError
from metamodal.meta.engine import Engine
from metamodal.types import Episode, Params

__all__ = ["classifier_start", "displacement", "outer_rules", "query", "supervised"]

OuterRule = Callable[[Engine, Params, Episode, Int[Tensor, "t k"]], Float[Tensor, ""]]


def query(
    engine: Engine, params: Params, episodes: Episode, classes: Int[Tensor, "t k"]
) -> Float[Tensor, ""]:
    """The loss of the query rows after adaptation to the support (Finn et al., 2017)."""
    return engine.output.loss(engine.logits(params, episodes), episodes.query.targets)


def displacement(
    engine: Engine, params: Params, episodes: Episode, classes: Int[Tensor, "t k"]
) -> Float[Tensor, ""]:
    """Reptile: where descent on the rows of a task leads, the parameters follow (Nichol et al., 2018).

    The head starts as the support rows have it, and the other rows pull: rows that a head was made of
    have little to teach.

    The loss is `Σ ⟨θ, (θ − θ') / η⟩` over all that adapts, with the second factor constant, so that its gradient is
    the mean displacement. The learner must move weights of its own: `maml` that adapts `all`.
    """
    with torch.no_grad():
        moved = engine.moved(params, episodes)
    parts = []
    for name, fast in moved.items():
        slow = params.get(name)
        if slow is not None:
            parts.append((slow * (slow.detach() - fast).mean(0)).sum())
    if not parts:
        raise OptionError(
            "train.outer=displacement: this learner moves no weights of the model. Set learner=maml with adapts=all."
        )
    return torch.stack(parts).sum()


def supervised(
    engine: Engine, params: Params, episodes: Episode, classes: Int[Tensor, "t k"]
) -> Float[Tensor, ""]:
    """No meta-training: one linear classifier over all training classes, thrown away afterwards.

    What fine-tuning and linear probing start from (Chen et al., 2019). `classes` are the numbers of
    each episode's classes among all.
    """
    rows = episodes.together()
    z = engine.fn(params, rows)
    logits = z @ params["outer.weight"].mT + params["outer.bias"]
    if not engine.output.has_classes:
        return engine.output.loss(logits, rows.targets)
    own = (rows.targets * classes[:, None]).sum(-1).long()
    weights = rows.targets.sum(-1)
    losses = F.cross_entropy(logits.flatten(0, 1), own.flatten(), reduction="none").view_as(weights)
    return (losses * weights).sum() / weights.sum().clamp(min=1)


def classifier_start(engine: Engine, classes: int) -> Params:
    """The parameters that `supervised` learns beside the model's."""
    outputs = engine.outputs if not engine.output.has_classes else classes
    return {
        "outer.weight": torch.randn(outputs, engine.dim) / max(1, engine.dim) ** 0.5,
        "outer.bias": torch.zeros(outputs),
    }


outer_rules: dict[str, OuterRule] = {
    "query": query,
    "displacement": displacement,
    "supervised": supervised,
}
"""Outer rules by name."""
