"""The supervised loss: one linear classifier over all training classes, beside the episodic loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metamodal.errors import OptionError
from metamodal.meta.outer import classifier_start, supervised
from metamodal.training.context import Context
from metamodal.training.episodes.sampler import EpisodeSampler
from metamodal.training.losses.protocol import objectives
from metamodal.training.losses.step import Step
from metamodal.types import Params

__all__ = ["Supervised", "classifier"]


@objectives.register("supervised")
@dataclass(frozen=True)
class Supervised:
    """The outer rule of that name as one summand among others, on fused embeddings."""

    weight: Annotated[float, Field(ge=0)] = 0.0

    def weights(self, context: Context, sampler: EpisodeSampler) -> dict[str, float]:
        if not self.weight or not context.engine.dim:
            return {}
        if context.outer == "supervised":
            raise OptionError(
                f"train.losses.supervised={self.weight}: train.outer=supervised is that loss already. Leave one of them out."
            )
        return {"supervised": self.weight}

    def start(self, context: Context, sampler: EpisodeSampler) -> Params:
        return classifier(context, sampler)

    def losses(self, step: Step) -> dict[str, Tensor]:
        return {"supervised": supervised(step.context.engine, step.params, step.weighed, step.numbers)}


def classifier(context: Context, sampler: EpisodeSampler) -> Params:
    """The classifier at its start, by the context's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        return classifier_start(context.engine, sampler.classes)
