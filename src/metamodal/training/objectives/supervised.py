"""The supervised loss: one linear classifier over all training classes, beside the episodic loss."""

from __future__ import annotations

import torch
from torch import Tensor

from metamodal.errors import OptionError
from metamodal.meta.outer import classifier_start, supervised
from metamodal.training.material import Material
from metamodal.training.objectives.protocol import objectives
from metamodal.training.objectives.step import Step
from metamodal.training.supply import Supply
from metamodal.types import Params

__all__ = ["Supervised", "classifier"]


@objectives.register("supervised")
class Supervised:
    """The outer rule of that name as one summand among others, on fused embeddings."""

    def weights(self, material: Material, supply: Supply) -> dict[str, float]:
        options = material.options
        if not options.supervised or not material.engine.dim:
            return {}
        if options.outer == "supervised":
            raise OptionError(
                f"train.supervised={options.supervised}: train.outer=supervised is that loss already. Leave one of them out."
            )
        return {"supervised": options.supervised}

    def start(self, material: Material, supply: Supply) -> Params:
        return classifier(material, supply)

    def losses(self, step: Step) -> dict[str, Tensor]:
        numbers = step.supply.numbers(step.drawn)
        return {"supervised": supervised(step.material.engine, step.params, step.weighed, numbers)}


def classifier(material: Material, supply: Supply) -> Params:
    """The classifier at its start, by the material's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(material.seed)
        return classifier_start(material.engine, supply.classes)
