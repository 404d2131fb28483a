"""The imputer's loss: how well each token is predicted from every other one of its row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from metamodal.contrib.imputation import surprise
from metamodal.training.context import Context
from metamodal.training.episodes.sampler import EpisodeSampler
from metamodal.training.losses.protocol import objectives
from metamodal.training.losses.step import Step
from metamodal.types import Params

__all__ = ["Impute"]


@objectives.register("impute")
@dataclass(frozen=True)
class Impute:
    """`surprise` over a step's rows, of a model that imputes and has two modalities or more.

    Gradients do not pass through the tokens, neither those predicted nor those predicted from: the imputer reads the
    shared space, and this loss does not shape it. Otherwise tokens would become easy to predict, the same in every
    row; `align` brings modalities together. Encoders and imputer still learn from each other through the episodes.
    """

    weight: Annotated[float, Field(ge=0)] = 1.0

    def weights(self, context: Context, sampler: EpisodeSampler) -> dict[str, float]:
        several = len(context.rows.inputs) > 1
        able = several and context.engine.model.imputes
        return {"impute": self.weight} if self.weight and able else {}

    def start(self, context: Context, sampler: EpisodeSampler) -> Params:
        return {}

    def losses(self, step: Step) -> dict[str, Tensor]:
        tokens = step.tokens._replace(
            inputs={m: z.detach() for m, z in step.tokens.inputs.items()},
            present={m: p & step.real for m, p in step.tokens.present.items()},
        )
        return {"impute": surprise(step.context.engine.impute(step.params, tokens))}
