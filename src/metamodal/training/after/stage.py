"""What a stage after training is: a function that fits something to a trained model and reports what it did."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from metamodal.components import Auto
from metamodal.mappings.maps import Map
from metamodal.model import MetaModel
from metamodal.training.context import Context, EncodedTable
from metamodal.training.loop.progress import Progress
from metamodal.training.options import TrainOptions
from metamodal.training.selection.trials import context_of

__all__ = ["Report", "Stage", "Work"]

_SHARE = 0.25  # of the budget, within which a stage begins another comparison


@dataclass(frozen=True)
class Work:
    """What the stages of a run share.

    Args:
        options: those of the trained model.
        mapping: the kind of cross-modal maps, or which to choose among.
        interrupted: whether training was interrupted, after which nothing more is trained.
        outcome: what the stages before reported.
    """

    table: EncodedTable
    options: TrainOptions
    watch: Callable[[Progress], None] = lambda progress: None
    mapping: Map | Auto = field(default_factory=Auto)
    replaceable: bool = False
    interrupted: bool = False
    outcome: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """After how many a stage begins no other comparison; no end where the steps of training are set, so that
        the same seed gives the same model."""
        return math.inf if self.options.steps is not None else _SHARE * self.options.budget

    def context(self, model: MetaModel, seed: int | None = None) -> Context:
        """A model on the table of this run."""
        return context_of(self.table, model, self.options, seed)


@dataclass(frozen=True)
class Report:
    """What a stage adds to the outcome of training, and the notes for the user."""

    outcome: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Stage(Protocol):
    """Fits something to a trained model, on training rows, and keeps it if validation tasks are better with it."""

    def __call__(self, work: Work, model: MetaModel) -> tuple[MetaModel, Report]: ...
