"""What to beware of in a column: infinite numbers, and cells that can teach nothing about a new sample."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from metamodal.data.cells import is_absent
from metamodal.data.raw_column import RawColumn
from metamodal.data.string_kinds import is_word

__all__ = ["beyond_limits", "worthless"]


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
    unique = len(distinct) == len(keys) > 20 and kind in ("text", "tabular")
    if unique and all(isinstance(c, str) and is_word(c) for c in cells):
        return "it differs in every row, as an id does"
    if labels is None or len(distinct) < 2:
        return None
    if _same_in_class(keys, labels):
        return "it is constant within each class: it describes the class, and in a query it would give the label away"
    return None


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
