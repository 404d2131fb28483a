"""The alignment loss: tokens of one row, or of one class, find each other across modalities."""

from __future__ import annotations

import torch
from torch import Tensor

from metamodal.errors import OptionError
from metamodal.mappings.alignment import START, contrast
from metamodal.training.material import Material
from metamodal.training.objectives.protocol import objectives
from metamodal.training.objectives.step import Step
from metamodal.training.supply import Supply
from metamodal.types import Params

__all__ = ["Align"]

_SCALE = "outer.log_scale"


@objectives.register("align")
class Align:
    """`contrast` over the tokens of a step's rows, with a learned temperature.

    Rows of an unlabelled episode, and those whose targets are labels or numbers, have no class: their
    positives are the row itself.
    """

    def weights(self, material: Material, supply: Supply) -> dict[str, float]:
        options = material.options
        if not options.align or not material.engine.dim:
            return {}
        if len(material.rows.inputs) < 2:
            raise OptionError(
                f"train.align={options.align}: there is one modality, and nothing to align it with. Leave it out, or name more with --use."
            )
        return {"align": options.align}

    def start(self, material: Material, supply: Supply) -> Params:
        return {_SCALE: torch.tensor(START)}

    def losses(self, step: Step) -> dict[str, Tensor]:
        by_row = (
            step.material.options.align_by == "row"
            or step.drawn.unlabelled
            or step.material.engine.output.fixed
        )
        tokens = step.tokens
        present = {m: p & step.real for m, p in tokens.present.items()}
        codes = step.rows if by_row else step.classes
        return {"align": contrast(tokens.inputs, present, codes, step.params[_SCALE])}
