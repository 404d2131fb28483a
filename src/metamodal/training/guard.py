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


@dataclass(frozen=True)
class Verdict:
    """By how much the best `modality` alone beats all of them, with its 95 % interval, paired by episode.

    `sure` says that it does beyond doubt; then training falls back on it.
    """

    modality: str
    gain: float
    ci95: float

    @property
    def sure(self) -> bool:
        return self.gain > self.ci95

    def to_dict(self) -> dict[str, Any]:
        return {"best_single": self.modality, "gain": self.gain, "ci95": self.ci95, "fell_back": self.sure}

    def __str__(self) -> str:
        return (
            f"on validation tasks {self.modality} alone does {100 * self.gain:.1f} ± {100 * self.ci95:.1f} points better "
            f"than all modalities together: rows that have it are answered by it alone. train.guard=false leaves this out"
        )


def verdict(material: Material, params: Params) -> Verdict | None:
    """What validation tasks say at one support row a class and at several; nothing where there is one
    modality, or the engine is guarded."""
    engine = material.engine
    if len(engine.modalities) < 2 or isinstance(engine.learner, Guarded) or material.tasks.blind:
        return None
    whole: list[Tensor] = []
    alone: dict[str, list[Tensor]] = {name: [] for name in engine.modalities}
    for judge in judges(material):
        episodes = judge.episodes(params)
        whole.append(judge.rated(params, episodes))
        for name in engine.modalities:
            alone[name].append(judge.rated(params, episodes, fallen_back(engine, name)))
    gains = {name: interval(torch.cat(found) - torch.cat(whole)) for name, found in alone.items()}
    best = max(gains, key=lambda name: gains[name][0])
    return Verdict(best, *gains[best])


def unguarded(engine: Engine) -> Engine:
    """The engine before it fell back, to be trained on."""
    return engine.under(engine.learner.base) if isinstance(engine.learner, Guarded) else engine


def fallen_back(engine: Engine, modality: str) -> Engine:
    """The engine that answers by one modality alone where that can."""
    return engine.under(Guarded(modality, engine.learner))
