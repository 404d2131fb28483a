"""What an objective is: losses of a step, each with its λ and what is learned beside the model for it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from metamodal.registry import Registry
from metamodal.training.material import Material
from metamodal.training.objectives.step import Step
from metamodal.training.supply import Supply
from metamodal.types import Params

__all__ = ["Objective", "active", "objectives"]


@runtime_checkable
class Objective(Protocol):
    """One summand of `Σ λ_m L_m`, or several that belong together."""

    def weights(self, material: Material, supply: Supply) -> dict[str, float]:
        """The λ of each loss by name; none where its option is 0, so that nothing is computed.

        Raises:
            OptionError: an option that does not go with another, or with the table.
        """
        ...

    def start(self, material: Material, supply: Supply) -> Params:
        """What is learned beside the model, named `outer.…`; the saved model is without it."""
        ...

    def losses(self, step: Step) -> dict[str, Tensor]:
        """The losses of the names that `weights` gives, in every step, without their λ."""
        ...


objectives: Registry[type[Objective]] = Registry("objective")
"""Objectives by name."""


def active(material: Material, supply: Supply) -> list[tuple[Objective, dict[str, float]]]:
    """The objectives that have losses here with their λ, the episodic one first."""
    found = []
    for name in sorted(objectives, key=lambda name: (name != "episodic", name)):
        objective = objectives[name]()
        weights = objective.weights(material, supply)
        if weights:
            found.append((objective, weights))
    return found
