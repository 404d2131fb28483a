"""A column as it was read: its cells, where they come from, and who is told of those that do not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from metamodal.data.schema.conventions import MISSING_WORDS, Finding, convention_of
from metamodal.data.tables.cells import is_blank
from metamodal.data.tables.problems import Problem, Report, short
from metamodal.data.tables.scalars import date_of, number_of
from metamodal.data.tables.unreadable import Unreadable
from metamodal.errors import DataError

__all__ = ["RawColumn"]


@dataclass(frozen=True)
class RawColumn:
    """The cells of a column of `table`, absent ones too.

    `report` receives every cell that is of another kind than most; without it the first is an error.
    """

    name: str
    cells: tuple[Any, ...]
    table: str
    report: Report | None = None

    @cached_property
    def present(self) -> list[Any]:
        """The cells that are neither blank nor unreadable."""
        return [cell for _, cell in self.numbered()]

    @cached_property
    def convention(self) -> Finding | None:
        """How its strings write numbers or dates, where they are not all plain or in ISO 8601."""
        counts = Counter(c for c in self.present if isinstance(c, str))
        meant = {c: n for c, n in counts.items() if c.strip().lower() not in MISSING_WORDS}
        plain = all(number_of(c) is not None for c in meant) or all(map(date_of, meant))
        return None if plain else convention_of(meant)

    def numbered(self) -> Iterator[tuple[int, Any]]:
        """The cells that are neither blank nor unreadable, with their rows as a file counts them, from 1."""
        there = (pair for pair in enumerate(self.cells, start=1) if not is_blank(pair[1]))
        return ((row, c) for row, c in there if not isinstance(c, Unreadable))

    def mixed(self, row: int, counts: str, mend: str) -> DataError:
        """The error of a column in two kinds, for a row whose cell is of the rarer one."""
        cell = short(self.cells[row - 1])
        return DataError(
            f"{self.table} row {row}, column {self.name}: the column has two kinds ({counts}); this cell is "
            f"{cell}. {mend}."
        )

    def untold(self, what: str) -> DataError:
        """The error of cells that could be of several kinds, or of none."""
        return DataError(
            f"{self.table}, column {self.name}: cannot tell what its {what}. Pass --kind {self.name}=KIND."
        )

    def tell(self, report: Report, reason: Callable[[Any], str | None]) -> None:
        """Report each cell that there is a reason against."""
        for row, cell in self.numbered():
            if why := reason(cell):
                report(Problem(row, self.name, short(cell), why))
