"""Each modality's own loss: the query loss of episodes seen through that modality alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from metamodal.training.context import Context
from metamodal.training.episodes.sampler import EpisodeSampler
from metamodal.training.losses.protocol import objectives
from metamodal.training.losses.step import Step, learns_unimodally
from metamodal.types import Params

__all__ = ["Unimodal"]


@objectives.register("unimodal")
@dataclass(frozen=True)
class Unimodal:
    """`unimodal.<modality>`, over the query rows that have it; none of learners that adapt the encoders.

    Args:
        coverage_power: a modality's loss is weighted by the share of rows that have it to this negative power;
            0 weighs all equally.
    """

    weight: Annotated[float, Field(ge=0)] = 1.0
    coverage_power: Annotated[float, Field(ge=0, le=2)] = 0.0

    def weights(self, context: Context, sampler: EpisodeSampler) -> dict[str, float]:
        if not self.weight or not learns_unimodally(context):
            return {}
        weights = sampler.balancer.modality_weights(self.coverage_power)
        return {f"unimodal.{name}": self.weight * weights[name] for name in context.rows.inputs}

    def start(self, context: Context, sampler: EpisodeSampler) -> Params:
        return {}

    def losses(self, step: Step) -> dict[str, Tensor]:
        loss = step.context.engine.output.loss
        return {
            f"unimodal.{name}": loss(step.unimodal(name), step.known(step.targets, name))
            for name in step.drawn.rows.inputs
        }
