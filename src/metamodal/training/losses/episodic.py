"""The episodic loss: what the outer rule says of the episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from metamodal.meta.outer import outer_rules
from metamodal.training.context import Context
from metamodal.training.episodes.sampler import EpisodeSampler
from metamodal.training.losses.protocol import objectives
from metamodal.training.losses.step import Step
from metamodal.training.losses.supervised import classifier
from metamodal.types import Params

__all__ = ["Episodic"]


@objectives.register("episodic")
@dataclass(frozen=True)
class Episodic:
    """`L` of `train.outer`."""

    weight: Annotated[float, Field(gt=0)] = 1.0

    def weights(self, context: Context, sampler: EpisodeSampler) -> dict[str, float]:
        return {"episodic": self.weight}

    def start(self, context: Context, sampler: EpisodeSampler) -> Params:
        return classifier(context, sampler) if context.outer == "supervised" else {}

    def losses(self, step: Step) -> dict[str, Tensor]:
        rule = outer_rules[step.context.outer]
        return {"episodic": rule(step.context.engine, step.params, step.weighed, step.numbers)}
