"""The steps of a series as a cell gives them: numbers, symbols, gaps, and times of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from metamodal.data.limits import limits
from metamodal.data.modalities.protocol import CellError
from metamodal.data.tables.forms import TIME_KEYS

__all__ = ["Steps", "read_steps"]


class Steps(np.ndarray):
    """Steps × channels of float32, NaN where a value is empty; or steps × 1 of symbols.

    `times` are those of the steps, in order, or `None` where the steps are evenly spaced.
    """

    times: np.ndarray | None

    def __array_finalize__(self, other: Any) -> None:
        self.times = None  # a part of the steps is no series


def read_steps(cell: Any) -> Steps:
    """A cell as steps; a plain list of numbers is one channel.

    Raises:
        CellError: steps of different lengths, a value that is not finite, no step at all.
    """
    if isinstance(cell, dict):
        return _timed(cell)
    if not isinstance(cell, (list, tuple, np.ndarray)) or (isinstance(cell, np.ndarray) and not cell.ndim):
        raise CellError(f"{type(cell).__name__} is no series. Give a list of steps")
    _check_steps(cell)
    symbols = len(cell) > 0 and all(isinstance(step, str) for step in cell)
    value = np.array([[str(s)] for s in cell]) if symbols else _numbers(cell)
    return value.view(Steps)


def _check_steps(cell: Any) -> None:
    """CellError if the steps are above the cap; every symbol takes as much room as the longest."""
    first = next((step for step in cell if step is not None), 0) if len(cell) else 0
    width = max(len(step) if isinstance(step, str) else 0 for step in cell) if isinstance(first, str) else 0
    channels = np.size(first) if isinstance(first, (list, tuple, np.ndarray)) else 1
    if len(cell) * max(1, width, channels) > limits().step_numbers:
        raise CellError(
            f"{len(cell)} steps of {max(1, width, channels)} values or letters are above the cap of "
            f"{limits().step_numbers}. Thin the series, or cut it into parts"
        )


def _timed(cell: dict) -> Steps:
    key = next((k for k in TIME_KEYS if cell.get(k) is not None), None)
    if key is None or cell.get("values") is None:
        raise CellError('a record is no series. Give {"time": […], "values": […]}')
    value = read_steps(cell["values"])
    times = _numbers(cell[key])
    if times.shape != (len(value), 1):
        raise CellError(f"{len(times)} times for {len(value)} steps. Give one a step")
    if np.isnan(times).any():
        raise CellError(f"time {int(np.isnan(times).argmax())} is empty. Give a finite number")
    exact = np.array([float(t) for t in np.ravel(cell[key])])
    order = np.argsort(exact, kind="stable")
    ordered = value[order].view(Steps)
    ordered.times = exact[order]
    return ordered


def _numbers(cell: Any) -> np.ndarray:
    """Finite numbers, and NaN where a value is `None` or masked."""
    gaps = np.ma.getmaskarray(cell) if isinstance(cell, np.ma.MaskedArray) else None
    try:
        value = np.asarray(cell) if _is_plain(cell) else np.stack([np.asarray(s) for s in cell])
    except (TypeError, ValueError):
        value = np.zeros((), dtype=object)  # steps of different lengths, or none at all
    if not len(cell):
        value = np.zeros((0, 1))
    elif value.dtype == object:
        value, gaps = _with_gaps(cell)
    if value.dtype.kind not in "fiub" or value.ndim not in (1, 2) or 0 in value.shape:
        what = f"an array of shape {value.shape} and type {value.dtype}"
        raise CellError(f"{what} is no series. Give steps × channels of numbers")
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
        value = value.astype(np.float32)
    value = value[:, None] if value.ndim == 1 else value
    gap = np.zeros(value.shape, dtype=bool) if gaps is None else gaps.reshape(value.shape)
    bad = ~np.isfinite(value) & ~gap
    if bad.any():
        step, channel = map(int, np.argwhere(bad)[0])
        raise CellError(f"step {step}, channel {channel} is {value[step, channel]}. Give a finite number")
    if gap.all():
        raise CellError("every value of the series is empty. Leave the whole cell empty")
    if gap.any():
        value = np.where(gap, np.float32(np.nan), value)
    return value


def _is_plain(cell: Any) -> bool:
    return isinstance(cell, np.ndarray) and cell.dtype != object


def _with_gaps(cell: Any) -> tuple[np.ndarray, np.ndarray]:
    """Steps some of whose values, or some of which as a whole, are `None`."""
    try:
        steps = [np.ma.filled(s, np.nan) if np.ma.isMaskedArray(s) else s for s in cell]
        rows = [[s] if s is None or np.ndim(s) == 0 else list(s) for s in steps]
        width = max((len(r) for r, s in zip(rows, steps) if s is not None), default=1)
        rows = [[None] * width if s is None else r for r, s in zip(rows, steps)]
        if any(len(row) != width for row in rows):
            raise CellError("the steps of a series must have one length. Fix the cell")
        gaps = np.array([[v is None for v in row] for row in rows])
        return np.array([[0.0 if v is None else float(v) for v in row] for row in rows]), gaps
    except (TypeError, ValueError, OverflowError):
        raise CellError("a step has a value that is no number. Fix the cell") from None
