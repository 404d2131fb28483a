"""What a report shows, as plain values: the data, the scores on one axis, the confusion, whole episodes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any

import numpy as np

from metamodal.data.dataset import Dataset
from metamodal.data.tables.cells import is_absent
from metamodal.data.tables.scalars import number_of
from metamodal.data.tasks.splits import PARTS, Split
from metamodal.evaluation.pictures import Picture, painter
from metamodal.evaluation.protocol import Evaluation, Showcase
from metamodal.evaluation.results import Result
from metamodal.evaluation.text import label

__all__ = ["DataView", "episode_views", "score_views"]

_EXAMPLES = 6  # classes shown of the table
_EPISODES = 3
_CLASSES = 20  # of an episode
_SUPPORT, _QUERY = 50, 80  # rows of an episode, so that the file stays small
_NAME = 18  # letters of a name beside a matrix
_MATRIX = 25  # classes of a confusion matrix; more make a list of pairs
_CONFUSED = 15  # pairs of that list


@dataclass(frozen=True)
class _Part:
    """A part of the split: its rows, and how many classes and tasks they have."""

    name: str
    rows: int
    classes: int
    tasks: int


@dataclass(frozen=True)
class DataView:
    """A table as the page describes it."""

    table: Dataset
    split: Split | None

    @cached_property
    def draw(self) -> Callable[[int], tuple[Picture, ...]]:
        return painter(self.table)

    @cached_property
    def labels(self) -> np.ndarray:
        return self.table.labels() if self.table.schema.target else np.full(len(self.table), None)

    @cached_property
    def tasks(self) -> np.ndarray:
        return self.table.tasks()

    @property
    def counts(self) -> list[tuple[tuple[str, str], int]]:
        counts = [(("row", "rows"), len(self.table)), (("class", "classes"), self._classes(self.labels))]
        if not self.table.has_classes:
            counts.append((("target column", "target columns"), len(self.table.schema.targets)))
        counts.append((("task", "tasks"), _distinct(self.tasks)))
        counts.append((("group", "groups"), _distinct(self.table.groups())))
        return [(names, count) for names, count in counts if count]

    @property
    def parts(self) -> list[_Part]:
        rows = {name: getattr(self.split, name) for name in PARTS} if self.split else {}
        return [
            _Part(name, len(at), self._classes(self.labels[at]), _distinct(self.tasks[at]))
            for name, at in rows.items()
        ]

    def _classes(self, labels: np.ndarray) -> int:
        return 0 if not self.table.has_classes else _distinct(labels)

    @property
    def columns(self) -> list[tuple[Any, float]]:
        """Each column with the share of its cells that are empty."""
        absent = {c: np.mean([is_absent(cell) for cell in self.table.frame[c]]) for c in self.table.frame}
        return [(c, float(absent[c.name])) for c in self.table.schema.columns]

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The fullest row of each class, the first of them where there are several."""
        columns = [c for _, of in self.table.schema.modalities.values() for c in of]
        cells = [sum(not is_absent(c) for c in row) for row in self.table.frame[columns].to_numpy()]
        fullest: dict[str, int] = {}
        for row, name in enumerate(self.labels):
            if name is not None and (name not in fullest or cells[row] > cells[fullest[name]]):
                fullest[name] = row
        return fullest

    @property
    def examples(self) -> list[tuple[str, tuple[Picture, ...]]]:
        """A row of each of a few classes or targets, spread evenly over their names in order."""
        names = sorted(self.row_of, key=_magnitude if not self.table.has_classes else None)
        at = np.linspace(0, len(names) - 1, min(_EXAMPLES, len(names))).round().astype(int)
        told = [_rounded(names[i]) if not self.table.has_classes else names[i] for i in at]
        return [(name, self.draw(self.row_of[names[i]])) for name, i in zip(told, at)]


def _magnitude(name: str) -> tuple[float, str]:
    """Numbers in their order, before all else in alphabetical order."""
    number = number_of(name)
    return (math.inf if number is None else number, name)


def _rounded(name: str) -> str:
    """Numbers of a row's target in few digits."""
    numbers = [(word, number_of(word)) for word in name.split(", ")]
    return ", ".join(word if number is None else f"{number:.4g}" for word, number in numbers)


def _distinct(values: np.ndarray) -> int:
    return len({v for v in values if v is not None})


@dataclass(frozen=True)
class _Row:
    """A result as it is drawn: its numbers as in the JSON document, and places on the axis in percent."""

    label: str
    whole: bool
    scores: dict[str, Any]
    low: float
    mean: float
    high: float


@dataclass(frozen=True)
class _Test:
    """An evaluation as the page shows it; `chance` is a place on the axis, as `ticks` are."""

    evaluation: Evaluation
    rows: list[_Row]
    baselines: list[_Row]
    chance: float
    ticks: list[tuple[float, str]]
    matrix: _Matrix | None
    pairs: list[_Pair]

    @property
    def best_baseline(self) -> _Row | None:
        whole = [row for row in self.baselines if not row.scores["missing"]]
        return max(whole, key=lambda row: row.scores["accuracy"]["mean"], default=None)


def score_views(evaluations: Sequence[Evaluation], data: DataView) -> list[_Test]:
    """All evaluations of classes on one axis, so that they compare at a glance."""
    evaluations = [e for e in evaluations if e.targets.has_classes]
    lowest = [1.0]
    for evaluation in evaluations:
        lowest += [1 / evaluation.protocol.way]
        lowest += [mean - ci95 for mean, ci95 in (r.accuracy for r in _all_results(evaluation))]
    step = 0.1 if min(lowest) >= 0.4 else 0.2
    start = max(0.0, math.floor((min(lowest) - 0.01) / step) * step)
    ticks = [start + i * step for i in range(round((1 - start) / step) + 1)]

    def place(share: float) -> float:
        return round(100 * min(max((share - start) / (1 - start), 0.0), 1.0), 2)

    def row(evaluation: Evaluation, result: Result) -> _Row:
        mean, ci95 = result.accuracy
        whole = result is evaluation.whole
        places = (place(mean - ci95), place(mean), place(mean + ci95))
        return _Row(label(evaluation, result).replace(" %", "\u00a0%"), whole, result.to_dict(), *places)

    return [
        _Test(
            e,
            [row(e, r) for r in e.results],
            [row(e, r) for r in e.baselines],
            place(1 / e.protocol.way),
            [(place(tick), f"{100 * tick:.0f}") for tick in ticks],
            _matrix(e.confusions),
            _pairs(e.confusions, data),
        )
        for e in evaluations
    ]


def _all_results(evaluation: Evaluation) -> tuple[Result, ...]:
    return (*evaluation.results, *evaluation.baselines)


@dataclass(frozen=True)
class _Matrix:
    """How often each class was called each class: `rows` are its name, its queries, its counts."""

    names: list[str]
    rows: list[tuple[str, int, list[int]]]

    @property
    def reach(self) -> int:
        """Pixels that the longest name takes at most; letters of the far East are the widest."""
        return max(sum(13 if c > "\u2e80" else 8 for c in name[:_NAME]) for name in self.names)

    @property
    def upright(self) -> bool:
        """Whether names are too long to stand level above a column."""
        return self.reach > 26


@dataclass(frozen=True)
class _Pair:
    """A class, what it was called instead, how often, of how many queries, and a row of either."""

    truth: str
    called: str
    count: int
    queries: int
    pictures: tuple[tuple[Picture, ...], tuple[Picture, ...]]


def _matrix(confusions: Counter[tuple[str, str]]) -> _Matrix | None:
    names = sorted({name for pair in confusions for name in pair})
    if not 0 < len(names) <= _MATRIX:
        return None
    counts = [(true, [confusions[true, called] for called in names]) for true in names]
    return _Matrix(names, [(true, sum(row), row) for true, row in counts])


def _pairs(confusions: Counter[tuple[str, str]], data: DataView) -> list[_Pair]:
    """The pairs most often confused; those of a table of few classes are in its matrix."""
    queries: Counter[str] = Counter()
    for (true, _), count in confusions.items():
        queries[true] += count
    wrong = sorted((-count, *pair) for pair, count in confusions.items() if pair[0] != pair[1])
    return [
        _Pair(
            true,
            called,
            -count,
            queries[true],
            (data.draw(data.row_of[true]), data.draw(data.row_of[called])),
        )
        for count, true, called in wrong[:_CONFUSED]
    ]


@dataclass(frozen=True)
class _Answer:
    """A query row and what it was taken for."""

    pictures: tuple[Picture, ...]
    right: bool
    called: str
    called_shortly: str
    confidence: float


@dataclass(frozen=True)
class _Line:
    """A class of an episode: some of its rows, and how many more there are of either sort."""

    name: str
    support: list[tuple[Picture, ...]]
    answers: list[_Answer]
    more_support: int
    more_right: int
    more_wrong: int


@dataclass(frozen=True)
class _Shown:
    """An episode on the page: its classes, how many more there are, and its score."""

    lines: list[_Line]
    more_classes: int
    right: int
    queries: int


def episode_views(evaluations: Sequence[Evaluation], data: DataView) -> list[_Shown]:
    """The first episodes of the first evaluation of classes."""
    evaluations = [e for e in evaluations if e.targets.has_classes]
    return [_shown(showcase, data) for e in evaluations[:1] for showcase in e.showcases[:_EPISODES]]


def _shown(showcase: Showcase, data: DataView) -> _Shown:
    names = list(dict.fromkeys(showcase.support_names))
    shown = min(len(names), _CLASSES)
    most = (max(1, _SUPPORT // shown), max(1, _QUERY // shown))
    hits = sum(map(str.__eq__, showcase.query_names, showcase.predicted))
    shared = len(_shared_start(names))
    lines = [_line(showcase, data, name, most, shared) for name in names[:shown]]
    return _Shown(lines, len(names) - shown, hits, len(showcase.query))


def _line(showcase: Showcase, data: DataView, name: str, most: tuple[int, int], shared: int) -> _Line:
    support = [row for row, known in zip(showcase.support, showcase.support_names) if known == name]
    asked = [i for i, true in enumerate(showcase.query_names) if true == name]
    rest = [showcase.predicted[i] == name for i in asked[most[1] :]]
    answers = [
        _Answer(
            data.draw(int(showcase.query[i])),
            showcase.predicted[i] == name,
            showcase.predicted[i],
            "…" * (shared > 0) + showcase.predicted[i][shared:],
            showcase.confidence[i],
        )
        for i in asked[: most[1]]
    ]
    return _Line(
        name,
        [data.draw(int(row)) for row in support[: most[0]]],
        answers,
        max(0, len(support) - most[0]),
        sum(rest),
        len(rest) - sum(rest),
    )


def _shared_start(names: list[str]) -> str:
    """The words and signs that all names begin with; on a small tile only the rest tells them apart."""
    parts = [re.findall(r"\d+|[^\W\d]+|\W", name) for name in names]
    same = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*parts))
    shared = "".join(tokens[0] for tokens in same)
    return shared if len(shared) > 3 and shared not in names else ""
