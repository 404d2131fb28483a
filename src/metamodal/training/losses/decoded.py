"""The losses of decoders: each modality from its own token, and from every other modality's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from metamodal.errors import OptionError
from metamodal.mappings.objectives import reconstruction, translation
from metamodal.training.context import Context
from metamodal.training.episodes.sampler import EpisodeSampler
from metamodal.training.losses.protocol import objectives
from metamodal.training.losses.step import Step
from metamodal.types import Params

__all__ = ["Reconstruct", "Translate"]


@objectives.register("reconstruct")
@dataclass(frozen=True)
class Reconstruct:
    """`reconstruction` of a step's rows; needs model.decoders=true."""

    weight: Annotated[float, Field(ge=0)] = 0.0

    def weights(self, context: Context, sampler: EpisodeSampler) -> dict[str, float]:
        return _weights(context, "reconstruct", self.weight)

    def start(self, context: Context, sampler: EpisodeSampler) -> Params:
        return {}

    def losses(self, step: Step) -> dict[str, Tensor]:
        present = {m: p & step.real for m, p in step.tokens.present.items()}
        return {"reconstruct": reconstruction(step.decoded, step.inputs.inputs, present)}


@objectives.register("translate")
@dataclass(frozen=True)
class Translate:
    """`translation` between the modalities of a step's rows; needs model.decoders=true."""

    weight: Annotated[float, Field(ge=0)] = 0.0

    def weights(self, context: Context, sampler: EpisodeSampler) -> dict[str, float]:
        found = _weights(context, "translate", self.weight)
        if found and len(context.rows.inputs) < 2:
            raise OptionError(
                f"train.losses.translate={self.weight}: there is one modality, and none to translate it to. "
                "Leave it out, or name more with --use."
            )
        return found

    def start(self, context: Context, sampler: EpisodeSampler) -> Params:
        return {}

    def losses(self, step: Step) -> dict[str, Tensor]:
        present = {m: p & step.real for m, p in step.tokens.present.items()}
        return {"translate": translation(step.decoded, step.inputs.inputs, present)}


def _weights(context: Context, name: str, weight: float) -> dict[str, float]:
    if not weight or not context.engine.dim:
        return {}
    if not context.engine.model.decoded:
        raise OptionError(
            f"train.losses.{name}={weight}: the model decodes nothing. Set model.decoders=true; images, series and vectors "
            "have decoders, unless a pretrained network reads them."
        )
    return {name: weight}
