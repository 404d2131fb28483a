"""What is odd about the labels: words for none, classes too small, classes that lack a modality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from metamodal.data.audit.cells import ABSENT, PRESENT, ColumnCells
from metamodal.data.audit.findings import Balance, Coverage, Finding, some
from metamodal.data.dataset import Dataset
from metamodal.data.schema.target_kinds import flag_of, is_empty, labels_of, number_in
from metamodal.data.tables.problems import Problem, Report, short

__all__ = [
    "balance",
    "balance_findings",
    "class_findings",
    "coverage",
    "coverage_findings",
    "missing_words",
    "odd_targets",
]

_NO_LABEL = {"na", "n/a", "n.a.", "#n/a", "none", "null", "nil", "nan", "missing", "-", "--", "?", "."}
_FEW = 5  # rows of a class, below which 5 shots leave no query
_MEASURE = 10  # different numbers, not all whole, that are no names of classes
_UNEVEN = 10.0  # largest over smallest
_NAME = 3  # letters of a name; of a shorter one, A and a are two classes
_SLIPS = 0.3  # of the classes; more that differ in case alone are meant to
_ONE = {"classes": "class", "tasks": "task", "modalities": "modality"}
_ALPHA = 0.01
_EFFECT = 0.1  # Cramér's V that is worth telling
_DRAWS = 9999
_SMALL = 5  # an expected count below which the chi-square distribution does not hold


def missing_words(dataset: Dataset, report: Report) -> None:
    """Reports labels that are words for "there is none", which are read as any other word."""
    column = dataset.schema.target
    for number, cell in zip(dataset.numbers, dataset.frame[column]):
        if isinstance(cell, str) and cell.strip().casefold() in _NO_LABEL:
            reason = (
                f"{short(cell)} is read as the name of a class, but may mean that there is no label. "
                "Leave the cell empty if so, else write another word"
            )
            report(Problem(int(number), column, short(cell), reason))


def odd_targets(dataset: Dataset, report: Report) -> None:
    """Reports cells of labels or numbers that are neither."""
    numbers = dataset.schema.target_kind == "regression"
    for column in dataset.schema.targets:
        written = dataset.schema.conventions.get(column)
        for number, cell in zip(dataset.numbers, dataset.frame[column]):
            known = number_in(cell, written) is not None if numbers else _is_label(cell)
            if not known and not is_empty(cell):
                what = "no number" if numbers else "no label: neither a list of strings nor 0 or 1"
                report(
                    Problem(
                        int(number),
                        column,
                        short(cell),
                        f"{short(cell)} is {what}. Fix the cell, or leave it empty",
                    )
                )


def _is_label(cell: Any) -> bool:
    return flag_of(cell) is not None or labels_of(cell) is not None


def class_findings(dataset: Dataset) -> Iterator[Finding]:
    """Classes too small for few-shot learning, names written in two ways, measures taken for classes."""
    labels = dataset.labels()
    column = dataset.schema.target
    counts = Counter(label for label in labels if label is not None)
    if empty := int(sum(label is None for label in labels)):
        yield Finding(
            "unlabelled",
            column,
            f"{empty:,} rows have no label. They are left out of tasks",
            (),
            {"rows": empty},
        )
    if _is_measure(dataset, counts):
        text = f"{column} has {len(counts):,} different numbers: a measure, it seems, where a label is needed. Sort them into classes"
        yield Finding("measure", column, text, (), {"values": len(counts)})
        return
    few = sorted(c for c, n in counts.items() if n < _FEW)
    lone = sorted(c for c in few if counts[c] == 1)
    if few:
        text = f"{len(few):,} of {len(counts):,} classes {'has' if len(few) == 1 else 'have'} fewer than {_FEW} rows ({some(few, 4)})"
        text += f", {len(lone):,} of them a single one, which no task can use" if lone else ""
        facts = {"classes": len(few), "lone": len(lone), "of": len(counts)}
        yield Finding("small_classes", column, f"{text}. Add rows, or lower --shot and --query", (), facts)
    written: dict[str, list[str]] = {}
    for name in counts:
        written.setdefault(" ".join(name.casefold().split()), []).append(name)
    twice = [sorted(names) for key, names in written.items() if len(names) > 1 and len(key) >= _NAME]
    if twice and len(twice) < _SLIPS * len(counts):
        pairs = some(" and ".join(map(repr, names)) for names in twice)
        text = f"{len(twice)} classes are written in several ways: {pairs}. Write them alike"
        yield Finding("labels_alike", column, text, (), {"classes": len(twice)})


def _is_measure(dataset: Dataset, counts: Counter[str]) -> bool:
    cells = [c for c in dataset.frame[dataset.schema.target] if isinstance(c, float)]
    return len(counts) > _MEASURE and any(c != round(c) for c in cells if np.isfinite(c))


def balance(dataset: Dataset, columns: dict[str, ColumnCells]) -> list[Balance]:
    """How rows are shared out among classes and tasks, and cells among modalities."""
    found = []
    for of, names in (
        ("classes", dataset.labels() if dataset.schema.target and dataset.has_classes else np.array([])),
        ("tasks", dataset.tasks()),
        ("groups", dataset.groups()),
    ):
        counts = Counter(str(n) for n in names if n is not None)
        if counts:
            found.append(Balance(of, dict(counts.most_common())))
    there = {
        name: int(np.any([columns[c].states == PRESENT for c in of], axis=0).sum())
        for name, (_, of) in dataset.schema.modalities.items()
    }
    if there:
        found.append(Balance("modalities", there))
    return found


def balance_findings(shares: list[Balance]) -> Iterator[Finding]:
    """Classes, tasks or modalities of which one has ten times as much as another."""
    for share in shares:
        if share.ratio >= _UNEVEN and share.of != "groups":
            most, least = (
                max(share.counts, key=share.counts.__getitem__),
                min(share.counts, key=share.counts.__getitem__),
            )
            what = "cells" if share.of == "modalities" else "rows"
            text = (
                f"the {share.of} are uneven: {most} has {share.counts[most]:,} {what}, {least} {share.counts[least]:,}; "
                f"{len(share.counts):,} {share.of} count as {share.effective:,.1f} even ones. Look at scores by {_ONE[share.of]}"
            )
            facts = {"ratio": share.ratio, "effective": share.effective, "number": len(share.counts)}
            yield Finding("imbalance", None, text, (), facts)


class _Test(NamedTuple):
    name: str
    p: float
    v: float


def coverage(dataset: Dataset, columns: dict[str, ColumnCells], seed: int) -> list[Coverage]:
    """Of each column that some rows lack: how often each class has it, and a test whether that is chance."""
    labels = dataset.labels()
    labelled = np.array([label is not None for label in labels])
    names, which = np.unique(labels[labelled].astype(str), return_inverse=True)
    rows = np.bincount(which, minlength=len(names))
    found: list[tuple[str, np.ndarray, _Test | None]] = []
    for name, cells in columns.items():
        there = (cells.states != ABSENT)[labelled]
        if cells.column.role not in ("modality", "ignored") or there.all() or not there.any():
            continue
        counts = np.bincount(which[there], minlength=len(names))
        found.append((name, counts, _tested(counts, rows, seed) if len(names) > 1 else None))
    corrected = _holm([t.p for _, _, t in found if t])
    told = []
    for name, counts, test in found:
        classes = {str(c): (int(n), int(of)) for c, n, of in zip(names, counts, rows)}
        p_holm = corrected.pop(0) if test else None
        told.append(Coverage(name, classes, *((test.name, test.p, p_holm, test.v) if test else (None,) * 4)))
    return told


def coverage_findings(covered: list[Coverage]) -> Iterator[Finding]:
    """Columns whose absence hangs on the class; those that are absent alike are told of together."""
    alike: dict[tuple[tuple[str, tuple[int, int]], ...], list[Coverage]] = {}
    for c in covered:
        if c.p_holm is not None and c.v is not None and c.p_holm < _ALPHA and c.v >= _EFFECT:
            alike.setdefault(tuple(c.classes.items()), []).append(c)
    for classes, columns in alike.items():
        first = columns[0]
        shares = {name: there / rows for name, (there, rows) in classes}
        most, least = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
        names = [c.column for c in columns]
        text = (
            f"whether {some(names)} {'is' if len(names) == 1 else 'are'} there hangs on the class: {most} in "
            f"{100 * shares[most]:.0f} % of rows, {least} in {100 * shares[least]:.0f} % (Cramér's V {first.v:.2f}, "
            f"p {_p(first.p_holm or 0.0)}). Scores may come from what is absent: compare with --missing"
        )
        yield Finding(
            "missing_by_class",
            first.column,
            text,
            (),
            {"columns": names, "cramers_v": first.v, "p_holm": first.p_holm},
        )


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _tested(there: np.ndarray, rows: np.ndarray, seed: int) -> _Test:
    """Whether presence hangs on the class: chi-square, exact or by permutation where counts are small."""
    n, share = rows.sum(), there.sum() / rows.sum()
    expected = np.outer([share, 1 - share], rows)
    v = float(np.sqrt(_chi_square(there, rows) / n))
    table = np.stack([there, rows - there])
    if expected.min() >= _SMALL:
        p = float(stats.chi2.sf(n * v * v, len(rows) - 1))
        return _Test("chi-square", p, v)
    if len(rows) == 2:
        return _Test("Fisher's exact", float(stats.fisher_exact(table)[1]), v)
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(rows, int(there.sum()), size=_DRAWS)
    above = int((_chi_square(drawn, rows) >= n * v * v - 1e-9).sum())
    return _Test("permutation", (above + 1) / (_DRAWS + 1), v)


def _chi_square(there: np.ndarray, rows: np.ndarray) -> Any:
    """The statistic of each of several tables, of which the last axis is the class."""
    share = there.sum(-1, keepdims=True) / rows.sum()
    return (np.square(there - rows * share) / (rows * share * (1 - share))).sum(-1)


def _holm(p: list[float]) -> list[float]:
    """Values of p corrected for their number (Holm, 1979)."""
    corrected, worst = [0.0] * len(p), 0.0
    for rank, i in enumerate(np.argsort(p)):
        worst = max(worst, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = worst
    return corrected
