"""The gap between new tasks and those trained on: the losses on episodes of one shape of either."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from metamodal.training.context import Context
from metamodal.training.losses import where_present
from metamodal.training.losses.weighing import Gap
from metamodal.training.selection.validation import ValidationEpisodes
from metamodal.types import Params

__all__ = ["GapMeter"]

_EPISODES = 10  # of either: every row of them is encoded anew at each validation


class GapMeter:
    """The same training and the same validation episodes every time, and the losses on them.

    Args:
        names: the losses, of which the joint one and each modality's own mean something for new tasks.
    """

    def __init__(self, context: Context, names: tuple[str, ...]) -> None:
        self.context, self.names = context.validated_on(_EPISODES), names

    def __call__(self, params: Params) -> Gap:
        return Gap(self._losses(self._learned, params), self._losses(self._new, params))

    @cached_property
    def _new(self) -> ValidationEpisodes:
        return ValidationEpisodes(self.context)

    @cached_property
    def _learned(self) -> ValidationEpisodes:
        pools = self.context.pools
        return ValidationEpisodes(
            replace(self.context, pools=replace(pools, valid=pools.train or pools.pseudo))
        )

    def _losses(self, validation: ValidationEpisodes, params: Params) -> Tensor:
        engine = validation.context.engine
        with torch.no_grad():
            episodes = validation.episodes(params)
            found = []
            for name in self.names:
                room, _, modality = name.partition(".")
                if room not in ("episodic", "unimodal"):
                    found.append(episodes.query.targets.new_tensor(torch.nan))
                    continue
                seen = episodes.only([modality]) if modality else episodes
                targets = seen.query.targets
                if modality:
                    targets = where_present(engine.output, targets, seen.query.present[modality])
                found.append(engine.output.loss(engine.logits(params, seen), targets))
        return torch.stack(found).cpu()
