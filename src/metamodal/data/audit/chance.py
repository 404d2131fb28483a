"""Whether rows that are alike are so by chance: a table of few colours and sizes has many equal rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import stats

from metamodal.data.audit.cells import ColumnCells
from metamodal.data.dataset import Dataset
from metamodal.data.tables.scalars import number_of

__all__ = ["by_chance"]

_LIKELY = 0.01  # that chance makes as many equal rows
_DISTINCT = 0.9  # of a column's values, above which one that repeats may be the copy that is looked for


def by_chance(dataset: Dataset, columns: dict[str, ColumnCells], sets: int) -> bool:
    """Whether `sets` sets of equal rows are no more than columns that know nothing of each other make.

    Two rows of a class are equal in a column with a probability that its other repeats tell, or, where a
    number hardly repeats, the number of decimals that it is written with; in all columns with the product
    of these. So two irises of the same length and width to the millimetre are no copies.
    """
    expected = 0.0
    for at in _classes(dataset):
        pairs = len(at) * (len(at) - 1) / 2
        for name, cells in columns.items():
            if pairs:
                pairs *= _equal(dataset.frame[name].to_numpy(dtype=object)[at], cells.digests[at])
        expected += pairs
    return float(stats.poisson.sf(sets - 1, expected)) >= _LIKELY


def _classes(dataset: Dataset) -> Iterator[np.ndarray]:
    """The positions of each class; of all rows where there are no classes."""
    if dataset.schema.target is None or not dataset.has_classes:
        yield np.arange(len(dataset))
        return
    _, which = np.unique([str(label) for label in dataset.labels()], return_inverse=True)
    for k in range(which.max() + 1):
        yield np.flatnonzero(which == k)


def _equal(values: np.ndarray, digests: np.ndarray) -> float:
    """The probability that two rows have the same value in a column."""
    n = len(values)
    counts = np.unique(digests, return_counts=True)[1].astype(float)
    if len(counts) < _DISTINCT * n or n < 2:
        return float((counts * (counts - 1)).sum() / max(1, n * (n - 1)))
    step, spread = _resolution(values)
    density = step / (2 * math.sqrt(math.pi) * spread) if spread > 0 else 0.0  # of a normal distribution
    return min(1.0, density) if step else 1 / n**2


def _resolution(values: np.ndarray) -> tuple[float, float]:
    """The step in which numbers are written, and their deviation; 0 where they are none."""
    numbers = [_number(v) for v in values]
    found = np.array([x for x in numbers if x is not None and math.isfinite(x)])
    if len(found) < len(values) or len(found) < 2:
        return 0.0, 0.0
    decimals = max(len(repr(x).partition(".")[2]) if x != round(x) else 0 for x in found.tolist())
    return 10.0**-decimals, float(found.std())


def _number(cell: Any) -> float | None:
    cell = number_of(cell) if isinstance(cell, str) else cell
    return float(cell) if isinstance(cell, (int, float)) and not isinstance(cell, bool) else None
