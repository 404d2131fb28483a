"""The answer of one modality where it has one: what is left where all together do worse."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.components import OneOf
from metamodal.meta.learners.per_modality import PerModality
from metamodal.meta.learners.protocol import Fusing, learners, seen
from metamodal.types import Batch, Embed, Learner, Params, Setting

__all__ = ["UnimodalFallback"]


@learners.register("unimodal_fallback")
@dataclass(frozen=True)
class UnimodalFallback:
    """A base learner that sees `modality` alone wherever that can answer, and all modalities elsewhere.

    It answers for query rows that have the modality, if every class (of labels and numbers, every
    row) that the support shows is shown in it. Training falls back on this where fusion does worse
    than the modality on validation tasks (see `metamodal.training.after.fallback`). A modality that a batch
    does not have changes nothing.
    """

    modality: str = ""
    base: Annotated[Learner, OneOf(learners, "ridge")] = field(default_factory=PerModality)

    @property
    def reads(self) -> str:
        return self.base.reads

    def parameters(self, setting: Setting) -> Params:
        return self.base.parameters(setting)

    def adapt(self, fn: Embed, params: Params, support: Batch) -> dict[str, Any]:
        """The base's state with all modalities, that with the one, and whether the one can answer `(*t)`."""
        state = {"all": self.base.adapt(fn, params, support)}
        if self.modality not in support.inputs:
            return state
        there = support.present[self.modality]
        if not fn.output.has_classes:
            able = (there | ~seen(support)).all(-1)
        else:
            shown, able_classes = (
                (support.targets * rows[..., None]).sum(-2) for rows in (seen(support), there)
            )
            able = ((shown == 0) | (able_classes > 0)).all(-1)
        return state | {"one": self.base.adapt(fn, params, support.only([self.modality])), "able": able}

    def fusion_weights(self, adapted: dict[str, Any]) -> dict[str, float]:
        """The modality alone where the support lets it answer, else the weights of the base learner."""
        if "one" in adapted and bool(adapted["able"]):
            return {self.modality: 1.0}
        return self.base.fusion_weights(adapted["all"]) if isinstance(self.base, Fusing) else {}

    def predict(
        self, fn: Embed, params: Params, adapted: dict[str, Any], query: Batch
    ) -> Float[Tensor, "*t q k"]:
        everything = self.base.predict(fn, params, adapted["all"], query)
        if "one" not in adapted or self.modality not in query.inputs:
            return everything
        alone = self.base.predict(fn, params, adapted["one"], query.only([self.modality]))
        trusted = query.present[self.modality] & adapted["able"][..., None]
        return torch.where(trusted[..., None], alone, everything)
