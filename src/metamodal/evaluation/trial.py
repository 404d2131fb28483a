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

__all__ = ["Trial", "population_result", "results"]


@dataclass(frozen=True)
class Trial:
    """The drawn episodes of encoded rows, as the model sees them and answers.

    `about` is what the model is told of the drawn classes.
    """

    model: MetaModel
    tokens: Batch
    draw: Draw
    protocol: Protocol
    about: dict[str, Tensor]

    @property
    def whole(self) -> Condition:
        """All modalities that occur, and nothing missing."""
        return Condition(occurring(self.tokens))

    @cached_property
    def episodes(self) -> Episode:
        """The episodes with all that the rows have and all that is told."""
        return episodes_under(self.tokens, self.draw, self.whole, self.about)

    @cached_property
    def logits(self) -> Tensor:
        """The answers to these."""
        return self.answered(self.episodes)

    def answered(self, episodes: Episode) -> Tensor:
        with torch.no_grad():
            return self.model.engine.logits(self.model.params, episodes)


def results(trial: Trial) -> Iterator[Result]:
    """Every condition's result; where the model is told of classes, what it answers without comes last."""
    told, targets = bool(trial.about), trial.model.targets
    for condition in conditions(trial.whole.modalities, trial.protocol):
        if condition == trial.whole:
            episodes, logits = trial.episodes, trial.logits
        else:
            episodes = episodes_under(trial.tokens, trial.draw, condition, trial.about)
            logits = trial.answered(episodes)
        found = _result(trial, condition, logits, episodes, told=told)
        if not targets.has_classes:
            blind = episodes_under(trial.tokens, trial.draw.knowing(0), condition)
            found = found.beside(_result(trial, condition, trial.answered(blind), episodes))
        yield found
    if told and trial.protocol.shot:
        episodes = episodes_under(trial.tokens, trial.draw, trial.whole)
        yield _result(trial, trial.whole, trial.answered(episodes), episodes)


def population_result(trial: Trial) -> Result:
    """The answer without support rows, to the same queries."""
    episodes = episodes_under(trial.tokens, trial.draw.knowing(0), trial.whole)
    return _result(trial, trial.whole, trial.answered(episodes), episodes, "population")


def _result(
    trial: Trial, shown: Condition, logits: Tensor, episodes: Episode, name: str = "", *, told: bool = False
) -> Result:
    return scored(
        name,
        shown,
        logits,
        episodes.query.targets,
        trial.model.targets,
        "untrained" if trial.model.generic else "learned",
        told=told,
    )
