"""A protocol, and everything that is measured on it, as values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from importlib import import_module
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
    """What an evaluation draws and measures: the shape of its episodes, and the conditions.

    Standard few-shot classification is 600 episodes of 5 classes with 1 support row each, the defaults. A
    protocol is a value; `evaluate` takes several and reads the table once.

    >>> import metamodal as mm
    >>> one, five = mm.Protocol(), mm.Protocol(shot=5, baselines=True)
    >>> one.way, one.shot, one.query, five.shot
    (5, 1, 15, 5)

    Args:
        way, shot, query: classes of an episode, support rows of a class, query rows of a class. A class with
            fewer rows gives fewer queries. At shot 0 the model predicts from class information alone: a
            description, or a name that it learned. For labels and numbers `shot` counts all support rows and
            may be 0, and `way` has no effect.
        episodes: how many are drawn, 2 or more; an interval shrinks with the square root of their number.
        seed: decides the episodes; models compared under one seed meet the same ones.
        subsets: measure every subset of the modalities, not only all of them and each alone.
        missing: also measure with this share of the cells absent, in support and query; 0 to below 1.
        baselines: also measure scikit-learn on the same episodes. At shot 0 only baselines fitted to training
            rows are measured.
        cross: also measure query rows of other modalities than the support's: each single one where the
            support has all, and each where the support has another alone.
        retrieval: number of candidates among which a row's other modalities are looked for, in as many draws as
            there are episodes; 0 for none.

    Raises:
        OptionError: fewer than 2 episodes, a share outside its range, fewer than 2 candidates.
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
    """Everything measured under one `Protocol`: scores of the model and the baselines with 95 % intervals.

    `MetaLearner.evaluate` and `evaluate` return it. `to_frame()` has a row for each result, `to_dict()` is
    the document of `evaluate --json`, and `report(path)` writes one HTML page.

    >>> import pandas as pd, metamodal as mm
    >>> pets = pd.DataFrame({"height": range(80), "pet": [f"pet{i // 4:02}" for i in range(80)]})
    >>> data = mm.read_table(pets, target="pet", use=["height"])
    >>> found = mm.MetaLearner().evaluate(data, way=2, shot=3, episodes=20)
    >>> mean, half_width = found.whole.accuracy
    >>> 0.5 < mean <= 1 and half_width < 0.2
    True

    Attributes:
        results, baselines: a `Result` for each condition: its modalities, share of missing cells and scores.
        whole: the result with all modalities and nothing removed.
        best_single: the best result with one modality.
        fusion_gain: mean and half-width of the score of all modalities less the best single one, paired by episode.
        unseen_classes: whether training saw none of the classes (of labels and numbers: none of the tasks).
        without_support: for labels and numbers, the result of the model without support rows.
        answers: for labels and numbers, true and predicted targets `(n, 2, k)` of some query rows, in their own unit.
        confusions, showcases: how often each pair of classes was confused; whole episodes to look at.
        learner, trained, notes: what was measured, and what was left out.
        table: the data set that was evaluated.

    Source: intervals are Student's t over episodes.
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
    without_support: Result | None = None
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
                {"name": b.name, "trained_on": b.trained_on, "features": b.features, "fusion": b.fusion}
                | b.to_dict()
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
        pages = import_module("metamodal")  # pages are made by a room above, reached by its public name

        assert self.table is not None
        return pages.write_report(Path(path), self.table, [self], None)

    def to_frame(self) -> pd.DataFrame:
        """A row for each result and baseline, a column for each score and for the half-width of its 95 % interval."""
        rows = []
        for model, results in ((True, self.results), (False, self.baselines)):
            for r in results:
                row: dict[str, Any] = {
                    "method": self.learner if model else r.name,
                    "trained_on": r.trained_on,
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
