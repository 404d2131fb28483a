"""What a weighing is: factors on the λ of the losses, from what training has seen of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.registry import Registry
from metamodal.types import Params

__all__ = ["Gap", "State", "Weighing", "begun", "evened", "weighings"]

State = dict[str, Tensor]
"""What a weighing remembers; `factors` `(k)` are those in effect."""


class Gap(NamedTuple):
    """Each loss on training and on validation episodes of one shape; NaN where it has no counterpart there."""

    train: Float[Tensor, "k"]
    valid: Float[Tensor, "k"]


@runtime_checkable
class Weighing(Protocol):
    """A rule that sets factors on the fixed weights λ of several losses during training.

    Uncertainty weighting and GradNorm are such rules. They are pure functions over a state, which most leave alone, so a
    subclass defines what it needs and inherits the rest. Losses and norms are means over the workers; the state
    lives in the first worker, so that all use the same factors.

    >>> import torch
    >>> from metamodal.extend import Weighing
    >>> class Smaller(Weighing):
    ...     def stepped(self, state, losses, norms):
    ...         factors = 1 / losses.clamp(min=1e-6)
    ...         return {"factors": factors * len(factors) / factors.sum()}
    >>> Smaller().stepped({}, torch.tensor([1.0, 3.0]), torch.ones(2))["factors"].tolist()
    [1.5, 0.5]

    Register a frozen dataclass under `weighings`; its fields are its options.
    """

    @property
    def norms(self) -> bool:
        """Whether it needs the norm of each loss's gradient in every step: a backward pass a loss."""
        return False

    def check(self, names: Sequence[str]) -> None:
        """OptionError if these losses cannot be weighed so."""
        return

    def parameters(self, count: int) -> Params:
        """Factors that are learned with the rest, named `outer.…`."""
        return {}

    def factors(self, state: State, params: Params) -> Float[Tensor, "k"]:
        """The factors in effect, as constants."""
        return state["factors"]

    def loss(
        self, params: Params, weights: Float[Tensor, "k"], losses: Float[Tensor, "k"]
    ) -> Float[Tensor, ""] | None:
        """What the learned factors minimise, given the fixed λ and the losses as constants."""
        return None

    def stepped(self, state: State, losses: Float[Tensor, "k"], norms: Float[Tensor, "k"]) -> State:
        """The state after a step with these losses and norms of their weighted gradients."""
        return state

    def validated(self, state: State, gap: Callable[[], Gap]) -> State:
        """The state after a validation, and at the start."""
        return state


weighings: Registry[type[Weighing]] = Registry("weighing", contrib="weighings")
"""Weighings of losses by name, frozen dataclasses of their options."""


def begun(count: int) -> State:
    """The state at the start: every factor is 1."""
    return {"factors": torch.ones(count)}


def evened(factors: Float[Tensor, "k"]) -> Float[Tensor, "k"]:
    """Factors that are 1 on average."""
    return factors * (len(factors) / factors.sum())
