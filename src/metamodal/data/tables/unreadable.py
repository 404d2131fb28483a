"""Cells as they come in: one meaning in one form, and those that no reader can make anything of.

An empty string is an empty cell, and a number of any type is Python's, whatever the format of the table.
What is nested without end, holds half a character, is a number or a date beyond all bounds or a record that
only looks like a file becomes an `Unreadable`: a value with a reason. Whatever looks at it later
(kinds, labels, readers, the audit) then meets a small harmless value, and who reads the cell gets the
reason with its row and column.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, date, datetime, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from metamodal.data.tables.cells import canonical, has_lone_surrogate, is_absent, plain
from metamodal.data.tables.problems import Problem
from metamodal.errors import MetamodalWarning

__all__ = ["FAR_DATE", "HALF_CHARACTER", "Unreadable", "checked", "with_unreadable", "without_unreadable"]

HALF_CHARACTER = "holds half a character (a lone surrogate, as of an emoji cut in two). Write the text anew"
FAR_DATE = "is a date outside the years 1 to 9999. Give one within them, or leave the cell empty"
_DEEPEST = 64
_LARGEST = int(1.7e308)
_FILE_KEYS = {"bytes", "path"}


@dataclass(frozen=True)
class Unreadable:
    """A cell that cannot be read; `reason` goes on from the column's name and ends in the remedy."""

    value: str
    reason: str

    def __repr__(self) -> str:
        return self.value


def checked(cell: Any) -> Any:
    """The cell, `None` for an empty string, or an `Unreadable` that says what is wrong with it.

    >>> checked("fine"), checked(" "), checked({"bytes": 3}).reason
    ('fine', None, 'is a file whose bytes are int. Give bytes, or a path')
    """
    if isinstance(cell, str):
        if not cell or cell.isspace():
            return None
        return Unreadable(_shown(cell), HALF_CHARACTER) if has_lone_surrogate(cell) else cell
    if isinstance(cell, bool):
        return cell
    if isinstance(cell, int):
        wide = abs(cell) > _LARGEST
        return (
            Unreadable("a huge number", "is no number within range. Give one below 1e308") if wide else cell
        )
    if isinstance(cell, (np.generic, Decimal, Fraction)) and (same := plain(cell)) is not cell:
        return checked(same)
    if isinstance(cell, (date, np.datetime64)):
        return _dated(cell)
    if isinstance(cell, np.ndarray) and cell.ndim == 0:
        return checked(canonical(cell.item()))
    if isinstance(cell, np.ndarray) and cell.dtype == object:
        return _walked(cell)
    return _walked(cell) if isinstance(cell, (dict, list, tuple, set, frozenset)) else cell


def without_unreadable(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame whose unreadable cells are empty."""
    return pd.DataFrame(
        {
            name: pd.Series([None if isinstance(c, Unreadable) else c for c in cells], dtype=object)
            for name, cells in frame.items()
        }
    )


def _walked(cell: Any) -> Any:
    """A list or record after a look at everything in it, level by level: nothing here may recurse."""
    if isinstance(cell, dict) and cell and cell.keys() <= _FILE_KEYS and (reason := _no_file(cell)):
        return Unreadable("a record of a file", reason)
    level: list[Any] = [cell]
    for _ in range(_DEEPEST):
        deeper: list[Any] = []
        for part in level:
            for element in _elements(part):
                if isinstance(element, Unreadable):
                    return element
                if isinstance(element, str):
                    if has_lone_surrogate(element):
                        return Unreadable(_shown(element), HALF_CHARACTER)
                elif isinstance(element, (dict, list, tuple, set, frozenset)):
                    deeper.append(element)
                elif isinstance(element, date) and isinstance(far := _dated(element), Unreadable):
                    return far
                elif isinstance(element, int) and abs(element) > _LARGEST:
                    return Unreadable("a huge number", "holds a number beyond 1e308. Give smaller ones")
                elif isinstance(element, np.ndarray) and element.dtype == object:
                    deeper.append(element)
        if not deeper:
            return cell
        level = deeper
    return Unreadable("a nested list", f"is nested more than {_DEEPEST} deep. Give lists of lists at most")


def _dated(cell: Any) -> Any:
    """A date as it is, numpy's as pandas has it; an `Unreadable` outside the years that Python's calendar has."""
    try:
        cell = pd.Timestamp(cell) if isinstance(cell, np.datetime64) else cell
        if is_absent(cell) or (MINYEAR <= cell.year <= MAXYEAR and _in_utc(cell)):
            return cell
    except (ValueError, OverflowError):
        pass
    return Unreadable(str(cell), FAR_DATE)


def _in_utc(cell: date) -> bool:
    """True; OverflowError where an offset leads out of the calendar."""
    return not isinstance(cell, datetime) or cell.tzinfo is None or bool(cell.astimezone(timezone.utc))


def _elements(part: Any) -> Any:
    if isinstance(part, dict):
        return [*part, *part.values()]
    return part.ravel().tolist() if isinstance(part, np.ndarray) else part


def _no_file(record: dict[str, Any]) -> str | None:
    """Why a record of `bytes` and `path` is no file, if so."""
    held, path = record.get("bytes"), record.get("path")
    if held is not None and not isinstance(held, (bytes, bytearray, memoryview, str, np.ndarray)):
        return f"is a file whose bytes are {type(held).__name__}. Give bytes, or a path"
    if path is not None and not isinstance(path, str):
        return f"is a file whose path is a {type(path).__name__}. Give a string"
    return None


def _shown(text: str) -> str:
    return repr(text if len(text) < 40 else text[:39] + "…")


def with_unreadable(frame: pd.DataFrame, odd: Sequence[Problem], name: str) -> pd.DataFrame:
    """The table with these cells as cells that cannot be read: they are of another kind than their column's. A warning
    counts them.

    Args:
        odd: their problems, rows counted from 1 in this table.
    """
    found = frame.copy()
    for problem in odd:
        place = (problem.row or 1) - 1, list(found.columns).index(str(problem.column))
        found.iat[place] = Unreadable(problem.value, problem.reason)  # type: ignore[assignment]
    for column in dict.fromkeys(str(problem.column) for problem in odd):
        rows = [problem.row for problem in odd if problem.column == column]
        warnings.warn(
            f"{name}, column {column}: {len(rows)} of {len(frame)} cells are of another kind than most and count as absent, "
            f"the first in row {rows[0]}. metamodal audit names them all",
            MetamodalWarning,
            stacklevel=2,
        )
    return found
