"""The losses of decoders: each modality from its own token, and from every other modality's."""

from __future__ import annotations

from torch import Tensor

from metamodal.errors import OptionError
from metamodal.mappings.objectives import reconstruction, translation
from metamodal.training.material import Material
from metamodal.training.objectives.protocol import objectives
from metamodal.training.objectives.step import Step
from metamodal.training.supply import Supply
from metamodal.types import Params

__all__ = ["Reconstruct", "Translate"]


@objectives.register("reconstruct")
class Reconstruct:
    """`reconstruction` of a step's rows."""

    def weights(self, material: Material, supply: Supply) -> dict[str, float]:
        return _weights(material, "reconstruct")

    def start(self, material: Material, supply: Supply) -> Params:
        return {}

    def losses(self, step: Step) -> dict[str, Tensor]:
        present = {m: p & step.real for m, p in step.tokens.present.items()}
        return {"reconstruct": reconstruction(step.decoded, step.drawn.rows.inputs, present)}


@objectives.register("translate")
class Translate:
    """`translation` between the modalities of a step's rows."""

    def weights(self, material: Material, supply: Supply) -> dict[str, float]:
        found = _weights(material, "translate")
        if found and len(material.rows.inputs) < 2:
            raise OptionError(
                f"train.translate={material.options.translate}: there is one modality, and none to translate it to. "
                "Leave it out, or name more with --use."
            )
        return found

    def start(self, material: Material, supply: Supply) -> Params:
        return {}

    def losses(self, step: Step) -> dict[str, Tensor]:
        present = {m: p & step.real for m, p in step.tokens.present.items()}
        return {"translate": translation(step.decoded, step.drawn.rows.inputs, present)}


def _weights(material: Material, name: str) -> dict[str, float]:
    weight = getattr(material.options, name)
    if not weight or not material.engine.dim:
        return {}
    if not getattr(material.engine.model, "decoded", ()):
        raise OptionError(
            f"train.{name}={weight}: the model decodes nothing. Set model.decoders=true; images, series and vectors "
            "have decoders, unless a pretrained network reads them."
        )
    return {name: weight}
