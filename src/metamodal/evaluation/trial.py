"""A model on the episodes of one draw, and its results under every condition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from metamodal.data.tasks.episodes import Draw
from metamodal.evaluation.conditions import conditions, episodes_under, occurring
from metamodal.evaluation.protocol import Protocol
from metamodal.evaluation.results import Condition, Result, scored
from metamodal.model import MetaModel
from metamodal.types import Batch, Episode

__all__ = ["Trial", "results", "without_support"]


@dataclass(frozen=True)
class Trial:
    """The drawn episodes of encoded rows, as the model sees them and answers.

    `class_info` is the class information of the drawn classes.
    """

    model: MetaModel
    tokens: Batch
    draw: Draw
    protocol: Protocol
    class_info: dict[str, Tensor]

    @property
    def whole(self) -> Condition:
        """All modalities that occur, and nothing missing."""
        return Condition(occurring(self.tokens))

    @cached_property
    def episodes(self) -> Episode:
        """The episodes with all that the rows have and all class information."""
        return episodes_under(self.tokens, self.draw, self.whole, self.class_info)

    @cached_property
    def logits(self) -> Tensor:
        """The answers to these."""
        return self.answered(self.episodes)

    def answered(self, episodes: Episode) -> Tensor:
        with torch.no_grad():
            return self.model.engine.logits(self.model.params, episodes).cpu()


def results(trial: Trial) -> Iterator[Result]:
    """Every condition's result; where the model has class information, its answers without it come last."""
    known, targets = bool(trial.class_info), trial.model.targets
    for condition in conditions(trial.whole.modalities, trial.protocol):
        if condition == trial.whole:
            episodes, logits = trial.episodes, trial.logits
        else:
            episodes = episodes_under(trial.tokens, trial.draw, condition, trial.class_info)
            logits = trial.answered(episodes)
        found = _result(trial, condition, logits, episodes, class_info=known)
        if not targets.has_classes:
            empty = episodes_under(trial.tokens, trial.draw.knowing(0), condition)
            found = found.compared_with(_result(trial, condition, trial.answered(empty), episodes))
        yield found
    if known and trial.protocol.shot:
        episodes = episodes_under(trial.tokens, trial.draw, trial.whole)
        yield _result(trial, trial.whole, trial.answered(episodes), episodes)


def without_support(trial: Trial) -> Result:
    """The result of the model without support rows, on the same queries."""
    episodes = episodes_under(trial.tokens, trial.draw.knowing(0), trial.whole)
    return _result(trial, trial.whole, trial.answered(episodes), episodes, "without_support")


def _result(
    trial: Trial,
    shown: Condition,
    logits: Tensor,
    episodes: Episode,
    name: str = "",
    *,
    class_info: bool = False,
) -> Result:
    return scored(
        name,
        shown,
        logits,
        episodes.query.targets,
        trial.model.targets,
        "untrained" if trial.model.generic else "learned",
        class_info=class_info,
    )
