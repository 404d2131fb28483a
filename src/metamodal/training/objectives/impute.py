"""The imputer's loss: how well each token is told from every other one of its row."""

from __future__ import annotations

from torch import Tensor

from metamodal.mappings.fusion import surprise
from metamodal.training.material import Material
from metamodal.training.objectives.protocol import objectives
from metamodal.training.objectives.step import Step
from metamodal.training.supply import Supply
from metamodal.types import Params

__all__ = ["Impute"]


@objectives.register("impute")
class Impute:
    """`surprise` over a step's rows, of a model that imputes and has two modalities or more.

    Tokens are constants, those that are told and those that are told from: the imputer reads the shared
    space and this loss does not shape it. Tokens that were to be foretold would become what is easily
    foretold, the same in every row; `align` is there to bring modalities together. Through the
    episodes encoders and imputer learn of each other all the same.
    """

    def weights(self, material: Material, supply: Supply) -> dict[str, float]:
        weight = material.options.impute
        several = len(material.rows.inputs) > 1
        able = several and getattr(material.engine.model, "imputes", False)
        return {"impute": weight} if weight and able else {}

    def start(self, material: Material, supply: Supply) -> Params:
        return {}

    def losses(self, step: Step) -> dict[str, Tensor]:
        tokens = step.tokens._replace(
            inputs={m: z.detach() for m, z in step.tokens.inputs.items()},
            present={m: p & step.real for m, p in step.tokens.present.items()},
        )
        return {"impute": surprise(step.material.engine.impute(step.params, tokens))}
