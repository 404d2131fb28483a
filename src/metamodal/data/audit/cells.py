"""Every cell of a table opened once, a few at a time, and what is left of each column afterwards."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from metamodal.data.audit.findings import Watch
from metamodal.data.audit.signatures import LOOK, Signature, signature
from metamodal.data.dataset import Dataset
from metamodal.data.features.opening import opener
from metamodal.data.features.reading import raw_cells
from metamodal.data.modalities import modalities
from metamodal.data.modalities.capabilities import capabilities_of
from metamodal.data.schema.inference import Column
from metamodal.data.tables.cells import is_absent, is_blank
from metamodal.data.tables.forms import SCALARS, form
from metamodal.data.tables.problems import Problem, Report, short
from metamodal.data.tables.scalars import number_of
from metamodal.errors import MetamodalError

__all__ = ["ABSENT", "PRESENT", "UNREADABLE", "ColumnCells", "column_kind", "opened_cells"]

ABSENT, PRESENT, UNREADABLE = 0, 1, 2
_CHUNK = 512  # rows that are open at a time


@dataclass(frozen=True)
class ColumnCells:
    """A column after it was opened: the state of each row's cell, and its signature by row.

    `digests` are 0 where no cell is present. `looks` and `hashes` are of pictures and sounds only.
    `infinite` are the positions of infinities in a column of numbers, where there are several: what
    a laboratory writes for "beyond what can be measured".
    """

    column: Column
    kind: str | None
    opened: bool
    states: np.ndarray
    digests: np.ndarray
    hashes: np.ndarray
    looks: np.ndarray | None
    blank: np.ndarray
    infinite: tuple[int, ...]


def column_kind(column: Column) -> str | None:
    """What the cells of a column are opened as: labels and other roles as words and numbers."""
    if column.kind is None and column.role not in ("modality", "ignored"):
        return SCALARS
    return column.kind


def opened_cells(
    dataset: Dataset, odd: dict[str, set[int]], report: Report, watch: Watch | None = None
) -> dict[str, ColumnCells]:
    """All columns after each of their cells was opened; no more than 512 rows are open at once.

    Args:
        odd: positions by column whose cells are known to be bad, and are not opened again.
        report: receives each cell that cannot be read.
    """
    n = len(dataset)
    makers = [
        _Maker(dataset, column, odd.get(column.name, set()), report) for column in dataset.schema.columns
    ]
    total, done = n * len(makers), 0
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, n, _CHUNK):
            rows = range(start, min(start + _CHUNK, n))
            for maker in makers:
                maker.open(rows, pool.map if maker.threaded else map)
                done += len(rows)
                if watch is not None:
                    watch(done, total)
    return {maker.column.name: maker.finished() for maker in makers}


class _Maker:
    """A column while it is being opened."""

    def __init__(self, dataset: Dataset, column: Column, odd: set[int], report: Report) -> None:
        self.dataset, self.column, self.odd, self.report = dataset, column, odd, report
        self.kind = column_kind(column)
        unused = column.name in dataset.schema.unused
        self.opened = not unused and self.kind is not None and self.kind in modalities
        self.capabilities = capabilities_of(self.kind)
        self.threaded = self.opened and self.capabilities.threaded
        self.limits = dataset.schema.limits
        if self.capabilities.entities and self.opened:
            self.cells = raw_cells(dataset, str(self.kind), (column.name,))
        else:
            self.cells = dataset.frame[column.name].tolist()
        n = len(dataset)
        self.states, self.digests = np.zeros(n, np.uint8), np.zeros(n, np.uint64)
        self.hashes, self.blank = np.zeros(n, np.uint64), np.zeros(n, bool)
        self.widths = np.zeros(n, np.int32)
        self.looks = np.zeros((n, LOOK * LOOK), np.uint8) if self.capabilities.picture else None
        self.infinite: list[int] = []
        # Lists of labels are looked at where labels are.
        self.listed = column.role == "target" and dataset.schema.target_kind == "multilabel"
        # A label 024e7871 is a word, though it reads as a number beyond all bounds.
        self.words = self.capabilities.scalars and (column.kind is None or not self._numeric())

    def open(self, rows: range, mapped: Callable[..., Iterable[Any]]) -> None:
        cells = self.cells[rows.start : rows.stop]
        for position, cell, found in zip(rows, cells, mapped(self._seen, rows, cells)):
            if found is None:
                continue
            if isinstance(found, str):
                self._fail(position, cell, found)
                continue
            self.states[position] = PRESENT
            self.digests[position], self.hashes[position] = found.digest, found.hash
            self.widths[position], self.blank[position] = found.width, found.blank
            if self.looks is not None and found.look is not None:
                self.looks[position] = found.look.ravel()

    def _seen(self, position: int, cell: Any) -> Signature | str | None:
        """A cell's signature, `None` where it is absent, or the reason why it cannot be read."""
        if is_absent(cell) if self.column.role == "target" else is_blank(cell):
            return None
        if position in self.odd:
            self.states[position] = UNREADABLE
            return None
        if not self.opened:
            return Signature(1)
        if self.words and (isinstance(cell, str) or self.listed):
            return signature("word", cell if isinstance(cell, str) else repr(cell))
        if self.capabilities.scalars and _infinite(cell):
            self.infinite.append(position)
            return Signature(2)
        return self._read(cell)

    def _read(self, cell: Any) -> Signature | str:
        kind = str(self.kind)
        scalar = self.capabilities.scalars and form(cell) != "record"
        if scalar and isinstance(cell, str):
            cell = number_of(cell)  # of a column whose every string spells one
        try:
            value = opener(kind, self.limits)({self.column.name: cell} if scalar else cell, self.dataset.base)
            return signature(kind, value)
        except MetamodalError as error:
            return str(error).rstrip(".")
        except Exception as error:  # a reader that breaks on one cell must not hide the others
            reason = (str(error).splitlines() or [""])[0].rstrip(".")
            return f"reading failed ({type(error).__name__}: {reason}). Replace the cell or leave it empty"

    def _numeric(self) -> bool:
        """Whether every string of the column spells a number."""
        words = (c for i, c in enumerate(self.cells) if isinstance(c, str) and i not in self.odd)
        return all(number_of(c) is not None for c in words)

    def _fail(self, position: int, cell: Any, reason: str) -> None:
        self.states[position], self.digests[position] = UNREADABLE, 0
        number = int(self.dataset.numbers[position])
        self.report(Problem(number, self.column.name, short(cell), reason))

    def finished(self) -> ColumnCells:
        cells, mend = self.cells, "Give a finite number, or leave the cell empty"
        several = tuple(self.infinite) if len(self.infinite) > 1 else ()
        for position in self.infinite if not several else ():
            self._fail(position, cells[position], f"{self.column.name} is {cells[position]}. {mend}")
        there = self.states == PRESENT
        if self.capabilities.counted and self.opened and there.any():
            usual, _ = Counter(self.widths[there].tolist()).most_common(1)[0]
            for position in np.flatnonzero(there & (self.widths != usual)).tolist():
                reason = f"{self.widths[position]} {self.capabilities.counted} where the others have {usual}. Fix the cell"
                self._fail(position, cells[position], reason)
        return ColumnCells(
            self.column,
            self.kind,
            self.opened,
            self.states,
            self.digests,
            self.hashes,
            self.looks,
            self.blank & (self.states == PRESENT),
            several,
        )


def _infinite(cell: Any) -> bool:
    if isinstance(cell, str):
        return "inf" in cell.lower() and math.isinf(number_of(cell) or 0.0)
    return isinstance(cell, (float, np.floating)) and math.isinf(cell)
