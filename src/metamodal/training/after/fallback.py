"""Stage: the unimodal fallback. All modalities are compared with the best one alone, on validation tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from metamodal.evaluation.metrics import interval
from metamodal.meta.engine import Engine
from metamodal.meta.learners import UnimodalFallback
from metamodal.model import MetaModel
from metamodal.training.after.stage import Report, Work
from metamodal.training.context import Context
from metamodal.training.selection.validation import validations_of
from metamodal.types import Params

__all__ = ["Fallback", "fallback", "fallback_of", "with_fallback", "without_fallback"]

_SHARE = 0.25


@dataclass(frozen=True)
class Fallback:
    """The gain of the best `modality` alone over all of them, with its 95 % interval over validation rows.

    Where the other modalities score at chance on their own (`others_at_chance`), fusion is kept only when its
    gain is significant; otherwise where it scores at least as well.
    """

    modality: str
    gain: float
    ci95: float
    others_at_chance: bool = False

    @property
    def falls_back(self) -> bool:
        return self.gain > (-self.ci95 if self.others_at_chance else 0.0)

    def to_dict(self) -> dict[str, Any]:
        return {
            "best_single": self.modality,
            "gain": self.gain,
            "ci95": self.ci95,
            "others_at_chance": self.others_at_chance,
            "falls_back": self.falls_back,
        }

    def __str__(self) -> str:
        why = "the other modalities score at chance on their own" if self.others_at_chance else "no gain"
        return (
            f"unimodal fallback: on validation tasks the gain of all modalities over {self.modality} alone is "
            f"{-100 * self.gain:+.1f} ± {100 * self.ci95:.1f} points ({why}), so rows that have {self.modality} are "
            "predicted from it alone. Set train.fallback=false to keep the fusion"
        )


def fallback(work: Work, model: MetaModel) -> tuple[MetaModel, Report]:
    """The model, falling back on its best modality where that scores higher on validation tasks."""
    choice = fallback_of(work.context(model), model.params) if work.options.fallback else None
    report = Report({"fallback": choice.to_dict() if choice else None})
    if choice is None or not choice.falls_back:
        return model, report
    return with_fallback(model, choice.modality), replace(report, notes=(str(choice),))


def fallback_of(context: Context, params: Params) -> Fallback | None:
    """The comparison on validation tasks of one support row a class and of several; `None` of one modality, or where
    the model falls back already."""
    engine = context.engine
    if len(engine.modalities) < 2 or isinstance(engine.learner, UnimodalFallback) or context.pools.blind:
        return None
    shown = [(validation, validation.episodes(params)) for validation in validations_of(context)]
    if not shown:
        return None

    def evidence(under: Engine) -> tuple[Tensor, Tensor]:
        found = [validation.evidence(params, episodes, under) for validation, episodes in shown]
        hits, rows = (torch.cat(parts) for parts in zip(*found))
        return hits, rows

    whole, rows = evidence(engine)
    alone = {
        name: evidence(engine.under(UnimodalFallback(name, engine.learner)))[0] for name in engine.modalities
    }
    gains = {name: interval(found - whole, rows) for name, found in alone.items()}
    best = max(gains, key=lambda name: gains[name][0])
    return Fallback(
        best, *gains[best], engine.output.has_classes and _at_chance(alone, best, rows, shown[0][0].shape.way)
    )


def _at_chance(alone: dict[str, Tensor], best: str, rows: Tensor, way: int) -> bool:
    """Whether each other modality alone is at chance: within the interval over rows, and below a share of the best
    one's margin."""
    above = {name: interval(hits - 1 / way, rows) for name, hits in alone.items()}
    enough = _SHARE * above.pop(best)[0]
    return all(mean <= ci95 and mean < enough for mean, ci95 in above.values())


def without_fallback(model: MetaModel) -> tuple[MetaModel, str | None]:
    """The model under the learner that it falls back from, to be trained, and the modality that it falls back on."""
    learner = model.engine.learner
    if not isinstance(learner, UnimodalFallback):
        return model, None
    return model.answered_by(learner.base), learner.modality


def with_fallback(model: MetaModel, modality: str) -> MetaModel:
    """The model that answers by one modality alone where that can."""
    return model.answered_by(UnimodalFallback(modality, model.engine.learner))
