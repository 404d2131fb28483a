"""The guard: all modalities together against the best one alone, on validation tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metamodal.evaluation.metrics import interval
from metamodal.meta.engine import Engine
from metamodal.meta.learners import Guarded
from metamodal.training.judge import judges
from metamodal.training.material import Material
from metamodal.types import Params

__all__ = ["Verdict", "fallen_back", "unguarded", "verdict"]

_SHARE = 0.25


@dataclass(frozen=True)
class Verdict:
    """By how much the best `modality` alone beats all of them, with the 95 % interval over validation rows.

    Training falls back on it where it does better. Where the others alone are no better than chance
    (`idle`), all of them have to do better beyond the interval: what says nothing by itself is as
    likely to cost something in the next task.
    """

    modality: str
    gain: float
    ci95: float
    idle: bool = False

    @property
    def falls_back(self) -> bool:
        return self.gain > (-self.ci95 if self.idle else 0.0)

    def to_dict(self) -> dict[str, Any]:
        return {
            "best_single": self.modality,
            "gain": self.gain,
            "ci95": self.ci95,
            "others_idle": self.idle,
            "fell_back": self.falls_back,
        }

    def __str__(self) -> str:
        why = "the others alone are no better than chance" if self.idle else "which is no gain"
        return (
            f"on validation tasks all modalities together do {-100 * self.gain:+.1f} ± {100 * self.ci95:.1f} points against "
            f"{self.modality} alone, and {why}: rows that have it are answered by it alone. train.guard=false leaves this out"
        )


def verdict(material: Material, params: Params) -> Verdict | None:
    """What validation tasks say at one support row a class and at several; nothing where there is one
    modality, or the engine is guarded."""
    engine = material.engine
    if len(engine.modalities) < 2 or isinstance(engine.learner, Guarded) or material.tasks.blind:
        return None
    shown = [(judge, judge.episodes(params)) for judge in judges(material)]
    if not shown:
        return None

    def evidence(under: Engine) -> tuple[Tensor, Tensor]:
        found = [judge.evidence(params, episodes, under) for judge, episodes in shown]
        hits, rows = (torch.cat(parts) for parts in zip(*found))
        return hits, rows

    whole, rows = evidence(engine)
    alone = {name: evidence(fallen_back(engine, name))[0] for name in engine.modalities}
    gains = {name: interval(found - whole, rows) for name, found in alone.items()}
    best = max(gains, key=lambda name: gains[name][0])
    return Verdict(
        best, *gains[best], not engine.output.fixed and _idle(alone, best, rows, shown[0][0].shape.way)
    )


def _idle(alone: dict[str, Tensor], best: str, rows: Tensor, way: int) -> bool:
    """Whether the others alone are no better than chance: not beyond the interval over rows, nor by a share of
    what the best one is."""
    above = {name: interval(hits - 1 / way, rows) for name, hits in alone.items()}
    enough = _SHARE * above.pop(best)[0]
    return all(mean <= ci95 and mean < enough for mean, ci95 in above.values())


def unguarded(engine: Engine) -> Engine:
    """The engine before it fell back, to be trained on."""
    return engine.under(engine.learner.base) if isinstance(engine.learner, Guarded) else engine


def fallen_back(engine: Engine, modality: str) -> Engine:
    """The engine that answers by one modality alone where that can."""
    return engine.under(Guarded(modality, engine.learner))
