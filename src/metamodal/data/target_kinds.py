"""Which of three kinds a table's target is (classes, labels or numbers), and what one cell of it says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from metamodal.data.cells import is_absent, number_of
from metamodal.data.problems import short
from metamodal.errors import DataError, OptionError, suggestion
from metamodal.outputs import outputs

__all__ = ["SEPARATOR", "flag_of", "is_empty", "kind_of_target", "labels_of", "target_number"]

SEPARATOR = ";"
"""What stands between labels that are written in one string."""

_LISTS = (list, tuple, set, frozenset, np.ndarray)
_FLAGS = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0}
_MOST = 0.8  # of a column's cells; what the others are not, is wrong with them


def kind_of_target(
    frame: pd.DataFrame, columns: Sequence[str], said: str | None, name: str
) -> tuple[str, str]:
    """The kind of the target in `columns`, as it was said or as the cells tell, with the evidence.

    Lists of strings are labels. Numbers of which one has a fraction are numbers; whole ones, and all
    else, are names of classes. Several columns are labels if all cells are true, false, 0 or 1, and
    numbers if all are numbers.

    Raises:
        OptionError: no such kind, or classes in several columns.
        DataError: several columns that are neither all labels nor all numbers.
    """
    if said is not None and said not in outputs:
        raise OptionError(f"--target-kind {said}: no such kind. {suggestion(said, outputs)}")
    if said == "classes" and len(columns) > 1:
        raise OptionError(
            f"{name}: --target names {len(columns)} columns, and classes stand in one. Name one, or say --target-kind labels or numbers."
        )
    if said is not None:
        return said, "kind given by the caller"
    if len(columns) > 1:
        return _kind_of_several(frame, columns, name)
    cells = [c for c in frame[columns[0]] if not is_empty(c)]
    if cells and all(isinstance(c, _LISTS) and all(isinstance(x, str) for x in c) for c in cells):
        return "labels", "lists of strings"
    found = [number for c in cells if (number := target_number(c)) is not None]
    if len(found) >= _MOST * max(1, len(cells)) and any(x != round(x) for x in found):
        return "numbers", "numbers with fractions"
    return "classes", "one name in a cell"


def is_empty(cell: Any) -> bool:
    """Whether a cell says nothing of its target: empty, or not a number (NaN)."""
    return is_absent(cell) or (isinstance(cell, float) and math.isnan(cell))


def target_number(cell: Any) -> float | None:
    """The finite number that a cell holds or spells, else `None`; true and false are none."""
    if isinstance(cell, str):
        cell = number_of(cell)
    if cell is None or isinstance(cell, (bool, np.bool_)) or not isinstance(cell, (int, float, np.number)):
        return None
    return float(cell) if math.isfinite(cell) else None


def flag_of(cell: Any) -> float | None:
    """0 or 1 for a cell that says no or yes, else `None`."""
    if isinstance(cell, str):
        return _FLAGS.get(cell.strip().lower())
    if isinstance(cell, (bool, np.bool_, int, float, np.number)) and float(cell) in (0.0, 1.0):
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


def _kind_of_several(frame: pd.DataFrame, columns: Sequence[str], name: str) -> tuple[str, str]:
    cells = [(column, c) for column in columns for c in frame[column] if not is_empty(c)]
    if cells and all(flag_of(c) is not None for _, c in cells):
        return "labels", "0 or 1 in several columns"
    numeric = sum(target_number(c) is not None for _, c in cells)
    if cells and numeric >= _MOST * len(cells):
        return "numbers", "numbers in several columns"
    odd = next(((column, c) for column, c in cells if target_number(c) is None), (columns[0], None))
    raise DataError(
        f"{name}, column {odd[0]}: {short(odd[1])} is no number and neither 0 nor 1. Several target columns are all "
        "numbers, or all 0 and 1. Name other columns, or say --target-kind."
    )
