"""What is wrong with a cell or a whole row, as a value: for whoever wants all of them, not the first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from metamodal.errors import one_line

__all__ = ["Problem", "Report", "short"]

_LENGTH = 40


@dataclass(frozen=True)
class Problem:
    """A bad cell, or a bad row where `column` is `None`.

    `row` counts from 1 in the file and is `None` for what is no single row's fault. `reason` says
    what is wrong and, after its last full stop, the remedy, as the messages of `CellError` do.

    >>> print(Problem(7, "photo", "'a.png'", "'a.png' does not exist. Fix the path"))
    row 7, column photo: 'a.png' does not exist. Fix the path.
    """

    row: int | None
    column: str | None
    value: str
    reason: str

    def __str__(self) -> str:
        where = [f"row {self.row}"] if self.row is not None else []
        where += [f"column {self.column}"] if self.column is not None else []
        return one_line(f"{', '.join(where) or 'the table'}: {self.reason.rstrip('.')}.")

    @property
    def remedy(self) -> str:
        """What to do about it.

        >>> Problem(7, "photo", "'a.png'", "'a.png' does not exist. Fix the path").remedy
        'Fix the path'
        """
        return self._parts[1]

    @property
    def fault(self) -> str:
        """The reason without the remedy."""
        return self._parts[0]

    @property
    def _parts(self) -> tuple[str, str]:
        fault, stop, remedy = self.reason.rstrip(".").rpartition(". ")
        return (fault, remedy) if stop else (remedy, "")

    def to_dict(self) -> dict[str, Any]:
        """Row, column, value, reason and remedy, as JSON values."""
        return {
            "row": self.row,
            "column": self.column,
            "value": self.value,
            "reason": self.fault,
            "remedy": self.remedy,
        }


Report = Callable[[Problem], None]
"""Receives problems one by one, where otherwise the first would be raised."""


def short(cell: Any) -> str:
    """A cell in at most 40 characters."""
    if isinstance(cell, (bytes, bytearray, memoryview)):
        return f"{len(cell)} bytes"
    try:
        text = repr(cell)
    except Exception:  # an object of the user's own
        text = f"a {type(cell).__name__}"
    return text if len(text) <= _LENGTH else text[: _LENGTH - 1] + "…"
