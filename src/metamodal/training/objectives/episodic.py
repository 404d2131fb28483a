"""The episodic loss: what the outer rule says of the episodes."""

from __future__ import annotations

from torch import Tensor

from metamodal.meta.outer import outer_rules
from metamodal.training.material import Material
from metamodal.training.objectives.protocol import objectives
from metamodal.training.objectives.step import Step
from metamodal.training.objectives.supervised import classifier
from metamodal.training.supply import Supply
from metamodal.types import Params

__all__ = ["Episodic"]


@objectives.register("episodic")
class Episodic:
    """`L` of `train.outer`, always with λ = 1."""

    def weights(self, material: Material, supply: Supply) -> dict[str, float]:
        return {"episodic": 1.0}

    def start(self, material: Material, supply: Supply) -> Params:
        return classifier(material, supply) if material.options.outer == "supervised" else {}

    def losses(self, step: Step) -> dict[str, Tensor]:
        rule = outer_rules[step.material.options.outer]
        numbers = step.supply.numbers(step.drawn)
        return {"episodic": rule(step.material.engine, step.params, step.weighed, numbers)}
