"""What to beware of in a column: infinite numbers, and cells that can teach nothing about a new sample."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from metamodal.data.modalities.capabilities import capabilities_of
from metamodal.data.schema.raw_column import RawColumn
from metamodal.data.schema.string_kinds import is_word
from metamodal.data.tables.cells import NUMBERS, is_absent
from metamodal.data.tables.problems import short
from metamodal.data.tables.scalars import number_of

__all__ = ["beyond_limits", "counts_along", "printed_lists", "row_numbers", "worthless"]

_SAVED_INDEX = re.compile(r"__index_level_\d+__")
_NAMELESS = re.compile(r"|Unnamed: \d+")
_INSIDE = r"""\s*(['"\d.+-]|[\[({]|nan|inf|None|True|False|array|tensor)"""
_PRINTED = re.compile(
    rf"\s*(\[{_INSIDE}.*\]|\({_INSIDE}.*,.*\)|\{{{_INSIDE}.*\}}|(array|tensor)\(.*\))\s*", re.S
)
_PRINTED_SHARE = 0.2  # of a column's cells
_MANY = 20  # rows, in fewer of which a column may differ in every row, or count, by chance
_STEADY = 0.8  # of the steps of a row number, the others being where rows were dropped


def beyond_limits(column: RawColumn) -> tuple[tuple[str, ...], str | None]:
    """The numbers of a column of which two or more are infinite, and what is made of them."""
    found: dict[str, list[float]] = {}
    for cell in column.present:
        for name, value in cell.items() if isinstance(cell, dict) else ((column.name, cell),):
            infinity = _infinity(value)
            if infinity:
                found.setdefault(str(name), []).append(infinity)
    limits = tuple(name for name, values in found.items() if len(values) > 1)
    below = sum(value < 0 for name in limits for value in found[name])
    above = sum(len(found[name]) for name in limits) - below
    note = f"{below} values are -inf and {above} are +inf: they are read as beyond the limits of detection"
    return limits, note if limits else None


def worthless(column: RawColumn, labels: Sequence[Any] | None, kind: str | None) -> str | None:
    """Why a column can teach nothing about a new sample, if so."""
    cells = column.present
    keys = [None if is_absent(c) else _key(c) for c in column.cells]
    distinct = {k for k in keys if k is not None}
    if len(distinct) == 1 and len(cells) == len(keys) > 1:
        return "it is constant"
    unique = len(distinct) == len(keys) > _MANY and capabilities_of(kind).strings
    if unique and all(isinstance(c, str) and is_word(c) for c in cells):
        return "it differs in every row, as an id does"
    if labels is None or len(distinct) < 2:
        return None
    if len(keys) > _MANY and counts_along(column.cells):
        return "it counts along the rows: it says where a row stood in the table, nothing of a new sample"
    if _same_in_class(keys, labels):
        return "it is constant within each class: it describes the class, and in a query it would give the label away"
    return None


def counts_along(cells: Sequence[Any]) -> bool:
    """Whether a column counts along the rows: whole numbers, up or down in steady steps, gaps apart.

    >>> counts_along([0, 1, 2, 4, 5, 6, 7]), counts_along(["30", "20", "10"]), counts_along([3, 1, 2])
    (True, True, False)
    """
    numbers = _whole_numbers(cells)
    if numbers is None or len(numbers) < 3:
        return False
    steps = Counter(after - before for before, after in pairwise(numbers))
    ((usual, times),) = steps.most_common(1)
    return all(step * usual > 0 for step in steps) and times >= _STEADY * steps.total()


def row_numbers(column: RawColumn, index: Collection[str] = ()) -> bool:
    """Whether a column is the index that pandas saved: by what the file says, by its name, or a nameless one
    of whole numbers that are all different.
    """
    if column.name in index or _SAVED_INDEX.fullmatch(column.name):
        return True
    if not _NAMELESS.fullmatch(column.name):
        return False
    numbers = _whole_numbers(column.cells)
    return numbers is not None and len(set(numbers)) == len(numbers)


def printed_lists(column: RawColumn) -> str | None:
    """What to beware of where cells are lists, arrays or records as Python prints them, not as JSON."""
    cells = [c for c in column.present if not isinstance(c, str) or c.strip()]
    printed = [c for c in cells if isinstance(c, str) and _PRINTED.fullmatch(c)]
    bare = sum(isinstance(c, (list, dict)) and not c for c in cells)  # "[]" and "{}" are JSON, too
    if not printed or len(printed) + bare < _PRINTED_SHARE * len(cells):
        return None
    return (
        f"{len(printed)} cells look like lists as Python prints them ({short(printed[0])}) and are read as words: "
        "write them as JSON, or save the table as Parquet"
    )


def _whole_numbers(cells: Sequence[Any]) -> list[int] | None:
    """All cells as whole numbers, else `None`."""
    found = []
    for cell in cells:
        number: Any = number_of(cell) if isinstance(cell, str) else cell
        real = isinstance(number, NUMBERS) and not isinstance(number, (bool, np.bool_))
        if not real or not math.isfinite(number) or number != int(number):
            return None
        found.append(int(number))
    return found


def _infinity(value: Any) -> float | None:
    if isinstance(value, str):
        if value.strip().lstrip("+-").lower() not in ("inf", "infinity"):
            return None
        value = float(value)
    return float(value) if isinstance(value, (float, np.floating)) and math.isinf(value) else None


def _same_in_class(keys: list[Any], labels: Sequence[Any]) -> bool:
    """Whether all rows of a class have the same key, and there are classes of several rows."""
    of_class: dict[Any, set[Any]] = {}
    rows: Counter[Any] = Counter()
    for key, label in zip(keys, labels):
        if not is_absent(label) and key is not None:
            label = _key(label)
            of_class.setdefault(label, set()).add(key)
            rows[label] += 1
    repeated = [label for label, n in rows.items() if n > 1]
    return bool(repeated) and all(len(of_class[label]) == 1 for label in repeated)


def _key(cell: Any) -> Any:
    if isinstance(cell, np.ndarray):
        return cell.tobytes()
    try:
        hash(cell)
    except TypeError:
        return repr(cell)
    return cell
