"""The registry of learners, and what a learner has to offer to be one voice among several."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from metamodal.registry import Registry
from metamodal.types import Batch, Embed, Learner, Params

__all__ = ["SelfTesting", "learners", "own", "seen"]

learners: Registry[type[Learner]] = Registry("learner")
"""Learners by name; each is a frozen dataclass of its hyper-parameters."""


@runtime_checkable
class SelfTesting(Learner, Protocol):
    """A learner that can say how well it would have predicted each support row without it.

    Its logits are zero where it knows nothing: for a class without a support row that it can see,
    and for a query row that it cannot see.
    """

    def leave_one_out(self, fn: Embed, params: Params, adapted: Any, support: Batch) -> Float[Tensor, "s k"]:
        """Logits of each support row from the other support rows."""
        ...


def own(params: Params, name: str) -> Tensor:
    """A parameter of the learner itself."""
    return params[f"learner.{name}"]


def seen(batch: Batch) -> Bool[Tensor, "n"]:
    """Which rows have at least one modality."""
    present = list(batch.present.values())
    there = present[0]
    for p in present[1:]:
        there = there | p
    return there
