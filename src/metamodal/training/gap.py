"""The gap between new tasks and those trained on: the losses on episodes of one shape of either."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from metamodal.training.judge import Judge
from metamodal.training.material import Material
from metamodal.training.objectives import where_present
from metamodal.training.weighing import Gap
from metamodal.types import Params

__all__ = ["Gauge"]

_EPISODES = 10  # of either: every row of them is encoded anew at each validation


class Gauge:
    """The same training and the same validation episodes every time, and the losses on them.

    Args:
        names: the losses, of which the joint one and each modality's own mean something for new tasks.
    """

    def __init__(self, material: Material, names: tuple[str, ...]) -> None:
        self.material, self.names = material.judged_by(_EPISODES), names

    def __call__(self, params: Params) -> Gap:
        return Gap(self._losses(self._learned, params), self._losses(self._new, params))

    @cached_property
    def _new(self) -> Judge:
        return Judge(self.material)

    @cached_property
    def _learned(self) -> Judge:
        tasks = self.material.tasks
        return Judge(replace(self.material, tasks=replace(tasks, valid=tasks.train or tasks.pseudo)))

    def _losses(self, judge: Judge, params: Params) -> Tensor:
        engine = judge.material.engine
        with torch.no_grad():
            episodes = judge.episodes(params)
            found = []
            for name in self.names:
                room, _, modality = name.partition(".")
                if room not in ("episodic", "alone"):
                    found.append(torch.tensor(torch.nan))
                    continue
                seen = episodes.only([modality]) if modality else episodes
                targets = seen.query.targets
                if modality:
                    targets = where_present(engine.output, targets, seen.query.present[modality])
                found.append(engine.output.loss(engine.logits(params, seen), targets))
        return torch.stack(found)
