"""Each modality's own loss: the query loss of episodes seen through that modality alone."""

from __future__ import annotations

from torch import Tensor

from metamodal.training.material import Material
from metamodal.training.objectives.protocol import objectives
from metamodal.training.objectives.step import Step, learns_alone
from metamodal.training.supply import Supply
from metamodal.types import Params

__all__ = ["Alone"]


@objectives.register("alone")
class Alone:
    """`alone.<modality>`, over the query rows that have it; none of learners that adapt the encoders."""

    def weights(self, material: Material, supply: Supply) -> dict[str, float]:
        if not learns_alone(material):
            return {}
        weights = supply.balancer.modality_weights()
        return {f"alone.{name}": material.options.alone * weights[name] for name in material.rows.inputs}

    def start(self, material: Material, supply: Supply) -> Params:
        return {}

    def losses(self, step: Step) -> dict[str, Tensor]:
        loss = step.material.engine.output.loss
        return {
            f"alone.{name}": loss(step.alone(name), step.known(step.targets, name))
            for name in step.drawn.rows.inputs
        }
