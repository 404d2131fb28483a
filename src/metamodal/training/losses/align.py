"""The alignment loss: tokens of one row, or of one class, find each other across modalities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from metamodal.errors import OptionError
from metamodal.mappings.alignment import START, contrast
from metamodal.training.context import Context
from metamodal.training.episodes.sampler import EpisodeSampler
from metamodal.training.losses.protocol import objectives
from metamodal.training.losses.step import Step
from metamodal.traits import declared
from metamodal.types import Params

__all__ = ["Align"]

_SCALE = "outer.log_scale"


@objectives.register("align")
@dataclass(frozen=True)
class Align:
    """`contrast` over the tokens of a step's rows, with a learned temperature.

    Rows of an unlabelled episode, and those whose targets are labels or numbers, have no class: their
    positives are the row itself.

    Args:
        by: what belongs together: rows of a class, where there are classes, or a row alone.
    """

    weight: Annotated[float, Field(ge=0)] = 0.0
    by: Literal["class", "row"] = "class"

    def weights(self, context: Context, sampler: EpisodeSampler) -> dict[str, float]:
        if not self.weight or not context.engine.dim:
            return {}
        if len(context.rows.inputs) < 2:
            raise OptionError(
                f"train.losses.align={self.weight}: there is one modality, and nothing to align it with. Leave it out, or name more with --use."
            )
        return {"align": self.weight}

    def start(self, context: Context, sampler: EpisodeSampler) -> Params:
        return {_SCALE: declared(torch.tensor(START), rate=20.0)}

    def losses(self, step: Step) -> dict[str, Tensor]:
        by_row = self.by == "row" or step.drawn.unlabelled or not step.context.engine.output.has_classes
        tokens = step.tokens
        present = {m: p & step.real for m, p in tokens.present.items()}
        codes = step.rows if by_row else step.classes
        return {"align": contrast(tokens.inputs, present, codes, step.params[_SCALE])}
