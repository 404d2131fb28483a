"""A protocol, and everything that is measured on it, as values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metamodal.data.dataset import Dataset
from metamodal.data.schema.targets import Targets
from metamodal.data.tasks.episodes import Shape
from metamodal.errors import OptionError
from metamodal.evaluation.metrics import SCORES, interval
from metamodal.evaluation.results import Result, named
from metamodal.evaluation.retrieval import Recall

__all__ = ["Evaluation", "Protocol", "Showcase"]


@dataclass(frozen=True)
class Protocol:
    """What is drawn, and what is measured on it.

    Args:
        way, shot, query: the episodes' shape; a class with fewer rows gives fewer queries. At shot 0 the
            model knows of a class what it is told alone: a description, or a name it has learned. Of
            labels and numbers `shot` are all support rows, maybe none, and `way` says nothing.
        subsets: measure every subset of the modalities, not only all and each.
        cross: measure also query rows of other modalities than the support's: each single one where the
            support has all, and each where it has another alone.
        missing: measure also with this share of the cells absent, in support and query.
        baselines: measure scikit-learn's answers to the same episodes. At shot 0 it has none.
        retrieval: among how many candidates to look for a row's other modalities, in as many draws as there
            are episodes; 0 for not at all.
    """

    way: int = 5
    shot: int = 1
    query: int = 15
    episodes: int = 600
    seed: int = 0
    subsets: bool = False
    missing: float = 0.0
    baselines: bool = False
    cross: bool = False
    retrieval: int = 0

    def __post_init__(self) -> None:
        if self.episodes < 2:
            raise OptionError(f"episodes={self.episodes}: an interval needs 2 or more. Give e.g. 600.")
        if not 0 <= self.missing < 1:
            raise OptionError(f"missing={self.missing}: no share of cells. Give a number from 0 to below 1.")
        if self.retrieval and self.retrieval < 2:
            raise OptionError(f"retrieval={self.retrieval}: too few candidates. Give 2 or more, e.g. 100.")

    @property
    def shape(self) -> Shape:
        return Shape(self.way, self.shot, self.query)

    @property
    def classless_shape(self) -> Shape:
        """The shape of multilabel and regression episodes."""
        return Shape(1, self.shot, self.query, has_classes=False)


@dataclass(frozen=True)
class Showcase:
    """One episode as a person may look at it: row positions, true and predicted class names."""

    support: np.ndarray
    support_names: tuple[str, ...]
    query: np.ndarray
    query_names: tuple[str, ...]
    predicted: tuple[str, ...]
    confidence: tuple[float, ...]


@dataclass(frozen=True)
class Evaluation:
    """Everything measured on one protocol.

    Of labels and numbers, which have no classes, `unseen_classes` says that no task was seen in
    training, `population` is the model's answer without support rows, and `answers` are true and
    predicted targets `(n, 2, k)` of some query rows, in their own unit. `table` is what was evaluated on.
    """

    protocol: Protocol
    unseen_classes: bool
    results: tuple[Result, ...]
    baselines: tuple[Result, ...]
    confusions: Counter[tuple[str, str]]
    showcases: tuple[Showcase, ...]
    learner: str
    trained: bool
    notes: tuple[str, ...] = ()
    targets: Targets = field(default_factory=Targets)
    population: Result | None = None
    answers: np.ndarray | None = None
    retrieval: tuple[Recall, ...] = ()
    table: Dataset | None = field(default=None, repr=False, compare=False)

    def result(self, modalities: tuple[str, ...], missing: float = 0.0) -> Result:
        plain = (r for r in self.results if r.queried is None)
        return next(r for r in plain if r.modalities == modalities and r.missing == missing)

    @property
    def whole(self) -> Result:
        """All modalities, nothing missing but what the table lacks."""
        return max((r for r in self.results if r.plain), key=lambda r: len(r.modalities))

    @property
    def best_single(self) -> Result:
        singles = [r for r in self.results if len(r.modalities) == 1 and r.plain]
        return max(singles, key=lambda r: r.score[0])

    @property
    def score(self) -> str:
        """The name of the score by which results compare."""
        return SCORES[self.targets.kind]

    @property
    def fusion_gain(self) -> tuple[float, float]:
        """The score of all modalities less that of the best single one, paired by episode."""
        return interval(self.whole.scores[self.score] - self.best_single.scores[self.score])

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `evaluate --json`."""
        document = {
            "protocol": self._protocol(),
            "results": [{"learner": self.learner} | r.to_dict() for r in self.results],
            "baselines": [
                {"name": b.name, "features": b.features, "fusion": b.fusion} | b.to_dict()
                for b in self.baselines
            ],
            "best_single": self.best_single.modalities[0],
            "fusion_gain": named(self.fusion_gain),
            "notes": list(self.notes),
        }
        found = {"retrieval": [recall.to_dict() for recall in self.retrieval]}
        return document | (found if self.retrieval else {})

    def report(self, path: str | Path) -> Path:
        """Write the page of the evaluation, one HTML file; see `metamodal.write_report` for several on a page.

        Raises:
            OutputError: the file cannot be written.
        """
        from metamodal.evaluation.report import write_report  # a page shows evaluations: it is above them

        assert self.table is not None
        return write_report(Path(path), self.table, [self], None)

    def to_frame(self) -> pd.DataFrame:
        """A row for each result and baseline, a column for each score and for the half-width of its 95 % interval."""
        rows = []
        for model, results in ((True, self.results), (False, self.baselines)):
            for r in results:
                row: dict[str, Any] = {
                    "method": self.learner if model else r.name,
                    "fusion": r.fusion,
                    "modalities": " + ".join(r.modalities),
                    "missing": r.missing,
                }
                for score, values in r.scores.items():
                    row[score], row[f"{score}_ci95"] = interval(values)
                rows.append(row)
        return pd.DataFrame(rows)

    def _protocol(self) -> dict[str, Any]:
        p = self.protocol
        if self.targets.kind == "classification":
            protocol = {k: getattr(p, k) for k in ("way", "shot", "query", "episodes", "seed")}
            return protocol | {"transductive": False, "unseen_classes": self.unseen_classes}
        protocol = {k: getattr(p, k) for k in ("shot", "query", "episodes", "seed")}
        protocol |= {"transductive": False, "unseen_tasks": self.unseen_classes}
        return protocol | {
            "target": self.targets.kind,
            "outputs": list(self.targets.names),
            "score": self.score,
        }
