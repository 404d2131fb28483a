"""Which of three kinds a table's target is (classes, labels or numbers), and what one cell of it says."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from metamodal.data.schema.conventions import MISSING_WORDS, Convention
from metamodal.data.tables.cells import NUMBERS, is_absent
from metamodal.data.tables.problems import short
from metamodal.data.tables.scalars import number_of
from metamodal.errors import DataError, OptionError, suggestion
from metamodal.outputs import RENAMED, outputs

__all__ = [
    "LARGEST_TARGET",
    "SEPARATOR",
    "Inference",
    "flag_of",
    "is_empty",
    "kind_of_target",
    "labels_of",
    "number_in",
    "target_number",
    "whole_numbers",
]

SEPARATOR = ";"
"""What stands between labels that are written in one string."""

_LISTS = (list, tuple, set, frozenset, np.ndarray)
_FLAGS = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0}
LARGEST_TARGET = 1e150
"""Beyond it the square of a number, and so its deviation, is infinite."""
_PADDED = re.compile(r"[+-]?0\d")  # an id or a postal code
_FEW_CLASSES = 20
_FEW_ROWS = 3  # a class below which codes may as well be amounts
_MANY_ROWS = 10
_EVEN = 0.5  # of the variance that counts of rows drawn at random have
_ALONE = 0.2
_FILLED = 0.5  # of the range from the least to the greatest, in steps of their own
_MOST = 0.8  # of a column's cells; what the others are not, is wrong with them


@dataclass(frozen=True)
class Inference:
    """The kind of a target, the evidence for it, and a warning where it could as well be another."""

    kind: str
    evidence: str
    warning: str | None = None


def kind_of_target(
    frame: pd.DataFrame,
    columns: Sequence[str],
    said: str | None,
    name: str,
    conventions: Mapping[str, Convention] | None = None,
) -> Inference:
    """The kind of the target in `columns`, as it was said or as the cells tell, with the evidence.

    Lists of strings are labels. Numbers of which one has a fraction are numbers; whole ones are numbers
    or names of classes by how they are spread (`whole_numbers`), and all else are names of classes.
    Numbers may be written in the `conventions` of their columns, and words for a missing one be among them.
    Several columns are labels if all cells are true, false, 0 or 1, and numbers if all are numbers.

    Raises:
        OptionError: no such kind, or classes in several columns.
        DataError: several columns that are neither all labels nor all numbers.
    """
    if said is not None and said not in outputs:
        remedy = f"It is {RENAMED[said]} now." if said in RENAMED else suggestion(said, outputs)
        raise OptionError(f"--target-kind {said}: no such kind. {remedy}")
    if said == "classification" and len(columns) > 1:
        raise OptionError(
            f"{name}: --target names {len(columns)} columns, and classification has one. Name one, or pass --target-kind multilabel or regression."
        )
    if said is not None:
        return Inference(said, "kind given by the caller")
    if len(columns) > 1:
        return _kind_of_several(frame, columns, name, conventions or {})
    cells = [c for c in frame[columns[0]] if not is_empty(c)]
    if cells and all(isinstance(c, _LISTS) and all(isinstance(x, str) for x in c) for c in cells):
        return Inference("multilabel", "lists of strings")
    written = (conventions or {}).get(columns[0])
    cells = [c for c in cells if not _means_none(c)] or cells
    found = [number for c in cells if (number := number_in(c, written)) is not None]
    if len(found) >= _MOST * max(1, len(cells)) and any(x != round(x) for x in found):
        return Inference("regression", "numbers with fractions")
    padded = any(isinstance(c, str) and _PADDED.match(c.strip()) for c in cells)
    if cells and len(found) == len(cells) and not padded:
        return whole_numbers(found)
    return Inference("classification", "one name in a cell")


def whole_numbers(numbers: Sequence[float]) -> Inference:
    """Whether whole numbers are amounts or names of classes, by how they are spread.

    They are classes if there are at most 20 different ones; if they count from 0 or 1 without a gap, as
    codes of classes do; or if each stands in about as many rows as any other, two at the least, as in a
    table that was collected class by class. Of the others they are numbers if a fifth or more stand in one
    row alone, or if they fill most of their range. Where the evidence is thin, the warning says so.
    """
    counts = Counter(numbers)
    distinct, rows = len(counts), np.array(list(counts.values()))
    alone = float((rows == 1).mean())
    apart = np.diff(np.sort(np.array(list(counts))))
    gaps = bool(distinct > 1 and (apart != 1).any())
    shape = f"{distinct} whole numbers in {len(numbers)} rows, {100 * alone:.0f} % of them once"
    if distinct <= _FEW_CLASSES:
        return Inference("classification", "one name in a cell")
    ask = "pass --target-kind {} if they are {}"
    if not gaps and min(counts) in (0, 1):
        few = rows.mean() < _FEW_ROWS
        doubt = f"{shape}, are taken for classes: " + ask.format("regression", "amounts")
        return Inference(
            "classification",
            f"{shape}, counting from {min(counts):.0f} without a gap",
            doubt if few else None,
        )
    if rows.min() > 1 and rows.var() < _EVEN * rows.mean():
        doubt = f"{shape}, are taken for classes: " + ask.format("regression", "amounts")
        many = gaps and rows.mean() >= _MANY_ROWS
        return Inference(
            "classification", f"{shape}, each in about {rows.mean():.0f} rows", None if many else doubt
        )
    step = np.gcd.reduce(apart.astype(np.int64)) if apart.max() < 2**62 else 1
    filled = (distinct - 1) * float(step) / float(apart.sum())
    if alone >= _ALONE or filled >= _FILLED:
        doubt = f"{shape}, are taken for numbers: " + ask.format("classification", "names of classes")
        clear = alone >= 2 * _ALONE or distinct >= 0.5 * len(numbers) >= 50
        return Inference(
            "regression", f"{shape}, {'with' if gaps else 'without'} gaps", None if clear else doubt
        )
    doubt = f"{shape}, are taken for classes: " + ask.format("regression", "amounts")
    return Inference("classification", f"{shape}, with gaps", doubt)


def is_empty(cell: Any) -> bool:
    """Whether a cell says nothing of its target: empty, or not a number (NaN)."""
    return is_absent(cell) or (isinstance(cell, float) and math.isnan(cell))


def number_in(cell: Any, convention: Convention | None) -> float | None:
    """The number that a cell holds, or spells in the convention of its column; else `None`."""
    if convention is not None and isinstance(cell, str):
        cell = convention.parse(cell)
    return target_number(cell)


def _means_none(cell: Any) -> bool:
    return isinstance(cell, str) and cell.strip().lower() in MISSING_WORDS


def target_number(cell: Any) -> float | None:
    """The finite number that a cell holds or spells, else `None`; true and false are none."""
    if isinstance(cell, str):
        cell = number_of(cell)
    if cell is None or isinstance(cell, (bool, np.bool_)) or not isinstance(cell, NUMBERS):
        return None
    try:
        number = float(cell)
    except OverflowError:  # 10 ** 400
        return None
    return number if abs(number) <= LARGEST_TARGET else None


def flag_of(cell: Any) -> float | None:
    """0 or 1 for a cell that says no or yes, else `None`."""
    if isinstance(cell, str):
        return _FLAGS.get(cell.strip().lower())
    if isinstance(cell, (bool, np.bool_, *NUMBERS)) and float(cell) in (0.0, 1.0):
        return float(cell)
    return None


def labels_of(cell: Any) -> list[str] | None:
    """The labels that a cell lists, or writes in one string with `;` between them, else `None`.

    >>> labels_of("sea; sun"), labels_of([]), labels_of(3)
    (['sea', 'sun'], [], None)
    """
    if isinstance(cell, str):
        cell = [label.strip() for label in cell.split(SEPARATOR)]
        return [label for label in cell if label]
    if not isinstance(cell, _LISTS) or not all(isinstance(label, str) for label in cell):
        return None
    return list(dict.fromkeys(map(str, sorted(cell) if isinstance(cell, (set, frozenset)) else cell)))


def _kind_of_several(
    frame: pd.DataFrame, columns: Sequence[str], name: str, conventions: Mapping[str, Convention]
) -> Inference:
    def number(column: str, cell: Any) -> float | None:
        return number_in(cell, conventions.get(column))

    cells = [(column, c) for column in columns for c in frame[column] if not is_empty(c)]
    cells = [(column, c) for column, c in cells if not _means_none(c)] or cells
    if cells and all(flag_of(c) is not None for _, c in cells):
        return Inference("multilabel", "0 or 1 in several columns")
    numeric = sum(number(column, c) is not None for column, c in cells)
    if cells and numeric >= _MOST * len(cells):
        return Inference("regression", "numbers in several columns")
    odd = next(((column, c) for column, c in cells if number(column, c) is None), (columns[0], None))
    raise DataError(
        f"{name}, column {odd[0]}: {short(odd[1])} is no number and neither 0 nor 1. Several target columns are all "
        "numbers, or all 0 and 1. Name other columns, or pass --target-kind."
    )
