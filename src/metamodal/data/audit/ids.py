"""Columns that should differ in every row and do not, columns that count the rows, and columns that never differ."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from metamodal.data.audit.cells import PRESENT, ColumnCells
from metamodal.data.audit.findings import Finding, some
from metamodal.data.dataset import Dataset
from metamodal.data.modalities.capabilities import capabilities_of
from metamodal.data.schema.doubts import counts_along
from metamodal.data.schema.inference import ROW_NUMBERS
from metamodal.data.tables.problems import Problem, Report, short
from metamodal.data.tables.scalars import number_of

__all__ = ["constant_findings", "counting_findings", "limit_findings", "repeated_ids"]

_DISTINCT = 0.9  # of an id's values; a column that repeats more often means to (a patient's rows)
_RUN = 1.1  # times as many numbers as rows between the least and the greatest of those that enumerate
_COUNTED = 20  # rows, in fewer of which a column may count by chance
_JUDGED = 10  # rows below which nothing is told from a column's content
_NAMED = re.compile(r"(?:.*[\W_])?(?:id|ids|uid|uuid|guid)|index|key", re.IGNORECASE)
_CAMEL = re.compile(r".*[a-z](?:Id|ID|Uid|UID|Uuid|UUID|Guid|GUID)")
_ENTITIES = (
    "account actor artist author book channel city client clinic company country course customer device "
    "doctor donor driver employee episode family film group hospital household item location machine "
    "manager member merchant movie owner parent participant patient person player product reader recording region "
    "school seller sensor series session shop show site song source speaker station store student subject supplier "
    "talk task team tenant tester track user vendor video visitor ward worker"
)
"""What an id before which one of these words stands names: it may well be in several rows."""
_CODE = re.compile(r"(\D*?)(\d+)")


def repeated_ids(dataset: Dataset, columns: dict[str, ColumnCells], report: Report) -> None:
    """Reports each cell of an id column whose value an earlier row has.

    A column holds ids if its name says so, or if its cells are codes that enumerate the rows (case-001,
    case-002, …). A number is an id by its name alone: measures repeat as they please.
    """
    for name, cells in columns.items():
        if not capabilities_of(cells.kind).strings or cells.column.role not in ("modality", "ignored"):
            continue
        if cells.column.convention is not None:  # an amount or a date, which may stand twice
            continue
        at = np.flatnonzero(cells.states == PRESENT).tolist()
        column = dataset.frame[name].tolist()
        values = [_id(column[i]) for i in at]
        if not values or None in values:
            continue
        first: dict[Any, int] = {}
        again = [(i, first[v]) for i, v in zip(at, values) if first.setdefault(v, i) != i]
        if not again or len(first) < _DISTINCT * len(values):
            continue
        if _named_id(name) or _enumerates(values):
            for position, earlier in again:
                value = short(column[position])
                reason = f"{value} is the id of row {dataset.numbers[earlier]}, too. Give each row an id of its own"
                report(Problem(int(dataset.numbers[position]), name, value, reason))


def _id(cell: Any) -> str | int | None:
    """The cell as an id may be, a word or a whole number, else `None`."""
    number = number_of(cell) if isinstance(cell, str) else cell
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return cell if isinstance(cell, str) else None
    return int(number) if math.isfinite(number) and number == int(number) else None


def _named_id(name: str) -> bool:
    """Whether a column is called the id of its rows, and not of something that may have several."""
    if not (_NAMED.fullmatch(name) or _CAMEL.fullmatch(name)):
        return False
    words = [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]
    return not set(_ENTITIES.split()) & set(words[:-1])


def _enumerates(values: list[Any]) -> bool:
    """Whether all are codes, one word and a number of as many digits, that leave out few numbers."""
    if len(values) < _JUDGED or not all(isinstance(v, str) for v in values):
        return False
    codes = [_CODE.fullmatch(v) for v in values]
    numbers = [int(code[2]) for code in codes if code]
    alike = len({(code[1].lower(), len(code[2])) for code in codes if code}) == 1
    lettered = any(c.isalpha() for c in values[0])
    return (
        len(numbers) == len(values)
        and alike
        and lettered
        and max(numbers) - min(numbers) < _RUN * len(values)
    )


def counting_findings(dataset: Dataset, columns: dict[str, ColumnCells]) -> Iterator[Finding]:
    """Columns that say where a row stood in the table: a saved index, or whatever counts along the rows."""
    for name, cells in columns.items():
        if cells.column.role not in ("modality", "ignored"):
            continue
        only = dataset.schema.modalities.keys() == {name}
        alone = only and not dataset.has_classes  # a trend over the years
        counts = len(dataset) > _COUNTED and not alone and counts_along(dataset.frame[name].tolist())
        if cells.column.evidence == ROW_NUMBERS or counts:
            text = f"{name} counts along the rows: it says where a row stood, nothing of a new sample. Leave it out"
            yield Finding("counts_along", name, text)


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
            f"{counts['above']} above the limits of detection, it seems. Write the limit instead, or keep them: they are read as beyond it"
        )
        yield Finding("beyond_limits", name, text, tuple((r,) for r in rows), counts)
