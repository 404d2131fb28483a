"""What an objective is: losses of a step, each with its λ and what is learned beside the model for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from metamodal.registry import Registry
from metamodal.training.context import Context
from metamodal.training.episodes.sampler import EpisodeSampler
from metamodal.training.losses.step import Step
from metamodal.types import Params

__all__ = ["Objective", "active", "objectives"]


@runtime_checkable
class Objective(Protocol):
    """A training loss, or several that belong together: one summand of `Σ λ_m L_m`.

    It is a frozen dataclass whose fields are its options under `train.losses`; the field `weight` is λ. Reconstruction,
    alignment and the episodic loss are objectives. Nothing is computed for an objective of weight 0.

    >>> from dataclasses import dataclass
    >>> from metamodal.extend import Objective
    >>> @dataclass(frozen=True)
    ... class SmallTokens:
    ...     weight: float = 0.0
    ...
    ...     def weights(self, context, sampler):
    ...         return {"small": self.weight} if self.weight else {}
    ...
    ...     def start(self, context, sampler):
    ...         return {}
    ...
    ...     def losses(self, step):
    ...         return {"small": sum(z.square().mean() for z in step.tokens.inputs.values())}
    >>> isinstance(SmallTokens(), Objective)
    True
    """

    @property
    def weight(self) -> float: ...

    def weights(self, context: Context, sampler: EpisodeSampler) -> dict[str, float]:
        """The λ of each loss by name; none where the weight is 0, so that nothing is computed.

        Raises:
            OptionError: an option that does not go with another, or with the table.
        """
        ...

    def start(self, context: Context, sampler: EpisodeSampler) -> Params:
        """What is learned beside the model, named `outer.…`; the saved model is without it."""
        ...

    def losses(self, step: Step) -> dict[str, Tensor]:
        """The losses of the names that `weights` gives, in every step, without their λ."""
        ...


objectives: Registry[type[Objective]] = Registry("objective", contrib="impute_loss")
"""Training losses by name, frozen dataclasses with `weights`, `start` and `losses`."""


def active(
    losses: Mapping[str, Objective], context: Context, sampler: EpisodeSampler
) -> list[tuple[Objective, dict[str, float]]]:
    """The objectives that have losses here with their λ, the episodic one first."""
    found = []
    for _, objective in sorted(losses.items(), key=lambda item: (item[0] != "episodic", item[0])):
        weights = objective.weights(context, sampler)
        if weights:
            found.append((objective, weights))
    return found
