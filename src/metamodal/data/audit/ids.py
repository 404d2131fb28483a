"""Columns that should differ in every row and do not, and columns that never differ."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from metamodal.data.audit.cells import PRESENT, ColumnCells
from metamodal.data.audit.findings import Finding, some
from metamodal.data.dataset import Dataset
from metamodal.data.problems import Problem, Report, short

__all__ = ["constant_findings", "limit_findings", "repeated_ids"]

_DISTINCT = 0.9  # of an id's values; a column that repeats more often means to (a patient's rows)
_ALIKE = 0.95  # of a column's words, of one pattern of letters and digits
_NAMED = re.compile(r"(^|_)(id|ids|uid|uuid|guid|key|index)$", re.IGNORECASE)
_JUDGED = 10  # rows below which nothing is told from a column's content


def repeated_ids(dataset: Dataset, columns: dict[str, ColumnCells], report: Report) -> None:
    """Reports each cell of an id column whose value an earlier row has."""
    for cells in columns.values():
        if cells.kind not in ("tabular", "text") or cells.column.role not in ("modality", "ignored"):
            continue
        if cells.column.convention is not None:  # an amount or a date, which may stand twice
            continue
        values = [
            (i, c) for i, c in enumerate(dataset.frame[cells.column.name]) if cells.states[i] == PRESENT
        ]
        if any(not isinstance(c, (str, int)) or isinstance(c, bool) for _, c in values):
            continue
        first: dict[Any, int] = {}
        again = [(i, first[c]) for i, c in values if first.setdefault(c, i) != i]
        if not again or len(first) < _DISTINCT * len(values):
            continue
        if _NAMED.search(cells.column.name) or _looks_like_ids([c for _, c in values]):
            for position, earlier in again:
                value = short(dataset.frame[cells.column.name].iat[position])
                reason = f"{value} is the id of row {dataset.numbers[earlier]}, too. Give each row an id of its own"
                report(Problem(int(dataset.numbers[position]), cells.column.name, value, reason))


def _looks_like_ids(values: list[Any]) -> bool:
    """Whether all are numbers in a run, or words of one pattern with digits in it."""
    if len(values) < _JUDGED:
        return False
    if all(isinstance(v, int) for v in values):
        return max(values) - min(values) < 1.1 * len(values)
    if not all(isinstance(v, str) and any(c.isdigit() for c in v) for v in values):
        return False
    patterns = [re.sub(r"[a-z]+", "a", re.sub(r"\d+", "0", v.lower())) for v in values]
    usual = max(patterns.count(p) for p in set(patterns[:_JUDGED]))
    hexadecimal = all(re.fullmatch(r"[0-9a-fA-F-]{8,}", v) for v in values)
    return " " not in "".join(values) and (hexadecimal or usual >= _ALIKE * len(values))


def constant_findings(columns: dict[str, ColumnCells]) -> Iterator[Finding]:
    """Columns that hold one value, or nothing."""
    for cells in columns.values():
        name, there = cells.column.name, cells.states == PRESENT
        if not there.any() and not (cells.states != 0).any():
            yield Finding("empty", name, f"{name} is empty in every row. Leave the column out")
        elif cells.opened and there.sum() > 1 and len(np.unique(cells.digests[there])) == 1:
            where = "in every row" if there.all() else f"in all {int(there.sum()):,} rows that have it"
            yield Finding("constant", name, f"{name} is the same {where}. Leave the column out")


def limit_findings(dataset: Dataset, columns: dict[str, ColumnCells]) -> Iterator[Finding]:
    """Columns of numbers with several infinities: values beyond what could be measured."""
    for cells in columns.values():
        if not cells.infinite:
            continue
        name = cells.column.name
        rows = [int(dataset.numbers[i]) for i in cells.infinite]
        signs = [float(str(dataset.frame[name].iat[i])) > 0 for i in cells.infinite]
        counts = {"above": sum(signs), "below": len(signs) - sum(signs)}
        text = (
            f"{name} is infinite in {len(rows)} rows ({some(rows)}): {counts['below']} below and "
            f"{counts['above']} above the limits of detection, it seems. Say so, or write the limit"
        )
        yield Finding("beyond_limits", name, text, tuple((r,) for r in rows), counts)
