"""Where training stands, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass

from metamodal.training.episodes.balance import Tally
from metamodal.training.losses.diagnosis import Diagnosis
from metamodal.types import Params

__all__ = ["Progress", "Trained"]


@dataclass(frozen=True)
class Progress:
    """Where training stands, after each step and each validation; which candidate's, where there are several.

    `accuracy` is the validation score: of labels and numbers what `SCORES` names instead. A
    validation has a `diagnosis` of the losses.
    """

    step: int
    elapsed: float
    left: float
    loss: float
    episodes_per_second: float
    accuracy: float | None = None
    ci95: float | None = None
    best: float | None = None
    validated: bool = False
    candidate: str = ""
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True)
class Trained:
    """The best parameters by validation accuracy, the validations in order, and why it ended.

    `balance` is what training saw of classes, tasks and modalities.
    """

    params: Params
    history: tuple[Progress, ...]
    ended: str
    steps: int
    balance: tuple[Tally, ...] = ()
