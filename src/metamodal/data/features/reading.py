"""The cells of a table, opened and read: present, absent, or an error that names the place."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from metamodal.data.dataset import Dataset
from metamodal.data.features.encoders import Encoders
from metamodal.data.features.extraction import Features
from metamodal.data.features.extractors import Extractor
from metamodal.data.features.opening import opener, readable_part
from metamodal.data.limits import within
from metamodal.data.modalities import modalities
from metamodal.data.modalities.capabilities import capabilities_of
from metamodal.data.modalities.protocol import CellError
from metamodal.data.schema.string_kinds import NUMBERS_AS_TEXT
from metamodal.data.tables.cells import is_absent, is_blank
from metamodal.data.tables.forms import VECTORS
from metamodal.data.tables.scalars import number_of
from metamodal.data.tables.unreadable import Unreadable
from metamodal.errors import DataError, OptionError

__all__ = ["Cells", "column_of", "raw_cells", "read_cells", "refused"]

_READ_CHUNK = 64  # cells that a thread reads at a time
_THREADS = 4


@dataclass(frozen=True)
class Cells:
    """The read cells of a data set: values by modality, `None` where absent.

    `kinds` are those of the values: `embedding` behind a frozen encoder. `lenient` says that a cell that can be
    read and does not fit what was fitted counts as absent, too, and `faults` receives it, by row position.
    """

    values: dict[str, list[Any]]
    kinds: dict[str, str]
    dataset: Dataset
    lenient: bool = False
    faults: dict[int, str] | None = None

    def rows(self, index: np.ndarray) -> Cells:
        """Some of the rows, nothing read again."""
        at = np.arange(len(self.dataset))[index]
        values = {m: [cells[i] for i in at] for m, cells in self.values.items()}
        return Cells(values, self.kinds, self.dataset.rows(index), self.lenient)

    def fitting(self, name: str, columns: tuple[str, ...], tensor: Callable[[list[Any]], Any]) -> list[Any]:
        """A modality's values, each of which `tensor` takes; those that it does not are absent.

        Raises:
            DataError: there is such a value and this is not `lenient`, naming its row and column.
        """
        failed = _failure(self.dataset, columns, self.lenient, self.faults)
        return [
            readable_part(lambda v: (tensor([v]), v)[1], value, partial(failed, at))
            for at, value in enumerate(self.values[name])
        ]


def read_cells(
    dataset: Dataset,
    wanted: dict[str, tuple[str, tuple[str, ...]]] | None = None,
    unreadable: str = "error",
    *,
    encoders: Encoders | None = None,
    limits: frozenset[str] = frozenset(),
    faults: dict[int, str] | None = None,
) -> Cells:
    """Every cell of the wanted modalities, opened and read; by default those of the schema.

    A wanted modality whose columns are not in the table, or not in use, is absent in every row.

    Args:
        unreadable: `"error"`, or `"absent"` to treat a cell that cannot be read as an empty one.
        encoders: the encoders that some modalities' cells go through, by modality.
        limits: columns of numbers that may be infinite, besides those of the schema.
        faults: receives, by row position, what cannot be read in it.

    Raises:
        DataError: a cell cannot be read, naming its file, row, column and the remedy.
    """
    if unreadable not in ("error", "absent"):
        raise OptionError(f"unreadable={unreadable!r}: no such choice. Pass error or absent.")
    with within(dataset.caps):
        return _read_cells(dataset, wanted, unreadable, encoders, limits, faults)


def _read_cells(
    dataset: Dataset,
    wanted: dict[str, tuple[str, tuple[str, ...]]] | None,
    unreadable: str,
    encoders: Encoders | None,
    limits: frozenset[str],
    faults: dict[int, str] | None,
) -> Cells:
    values, kinds = {}, {}
    unused = dataset.schema.unused
    for name, (kind, columns) in (dataset.schema.modalities if wanted is None else wanted).items():
        if kind not in modalities:
            raise OptionError(
                f"{dataset.name}, column {columns[0]}: {kind} cannot be read by this version. "
                f"Name other columns with --use (readable kinds: {', '.join(modalities)})."
            )
        there = tuple(c for c in columns if c not in unused)
        cells = raw_cells(dataset, kind, there)
        failed = _failure(dataset, there, unreadable == "absent", faults)
        cells = [_readable(at, cell, failed) for at, cell in enumerate(cells)]
        kinds[name] = kind
        if encoders and name in encoders.frozen:
            kinds[name] = VECTORS
            values[name] = _encoded(encoders.frozen[name], cells, dataset.base, failed)
        else:
            tuned = encoders.tuned[name].open if encoders and name in encoders.tuned else None
            read = tuned or opener(kind, limits | dataset.schema.limits)
            values[name] = _read(cells, read, dataset.base, kind, failed)
    return Cells(values, kinds, dataset, unreadable == "absent", faults)


def raw_cells(dataset: Dataset, kind: str, columns: tuple[str, ...]) -> list[Any]:
    """The unread cells of a modality, `None` where they are empty.

    Scalars in several columns are one record a row; entities of a knowledge graph are calls that give
    their neighbourhood.
    """
    there = [c for c in columns if c in dataset.frame.columns]
    if not there:
        return [None] * len(dataset)
    if capabilities_of(kind).scalars:
        return _records(dataset, there)
    cells = [None if is_blank(cell) else cell for cell in dataset.frame[there[0]].tolist()]
    if capabilities_of(kind).entities and any(isinstance(cell, str) for cell in cells):
        return _neighbourhoods(dataset, there[0], cells)
    return cells


def column_of(error: CellError, columns: tuple[str, ...]) -> str:
    """The column of a table that an error is about; of a cell that is a record, the record's."""
    return error.column if error.column in columns else ", ".join(columns)


def refused(dataset: Dataset, position: int, column: str, error: CellError) -> DataError:
    """A bad cell as the error that names its place."""
    return DataError(f"{dataset.name} row {dataset.numbers[position]}, column {column}: {error}.")


Failure = Callable[[int, CellError], None]


def _failure(
    dataset: Dataset, columns: tuple[str, ...], lenient: bool, faults: dict[int, str] | None
) -> Failure:
    def failed(position: int, error: CellError) -> None:
        column = column_of(error, columns)
        if not lenient:
            raise refused(dataset, position, column, error) from None
        if faults is not None:
            before = f"{faults[position]}; " if position in faults else ""
            faults[position] = f"{before}column {column}: {error}"

    return failed


def _readable(position: int, cell: Any, failed: Failure) -> Any:
    if not isinstance(cell, Unreadable):
        return cell
    failed(position, CellError(f"the cell {cell.reason}"))
    return None


def _encoded(encoder: Extractor, cells: list[Any], base: Path, failed: Failure) -> list[Any]:
    """The cells' vectors by an encoder, computed or found where they are kept."""
    if all(cell is None for cell in cells):
        return cells
    return list(Features(encoder)(cells, base, failed))


def _read(
    cells: list[Any], read: Callable[[Any, Path], Any], base: Path, kind: str, failed: Failure
) -> list[Any]:
    def some(start: int) -> list[Any]:
        values = []
        for position, cell in enumerate(cells[start : start + _READ_CHUNK], start):
            values.append(readable_part(lambda c: read(c, base), cell, partial(failed, position)))
        return values

    starts = range(0, len(cells), _READ_CHUNK)
    if capabilities_of(kind).threaded:
        with ThreadPoolExecutor(_THREADS) as pool:
            return [value for values in pool.map(some, starts) for value in values]
    return [value for start in starts for value in some(start)]


def _records(dataset: Dataset, columns: list[str]) -> list[Any]:
    spelled = {c.name for c in dataset.schema.columns if c.evidence.startswith(NUMBERS_AS_TEXT)}
    rows = zip(*(map(_number if c in spelled else _unless_blank, dataset.frame[c].tolist()) for c in columns))
    records = [
        row[0] if isinstance(row[0], dict) and len(row) == 1 else dict(zip(columns, row)) for row in rows
    ]
    return [None if all(is_absent(c) for c in r.values()) else r for r in records]


def _number(cell: Any) -> Any:
    return number_of(cell) if isinstance(cell, str) else _unless_blank(cell)


def _unless_blank(cell: Any) -> Any:
    return None if is_blank(cell) else cell


def _neighbourhoods(dataset: Dataset, column: str, cells: list[Any]) -> list[Any]:
    """Entities as calls that give their neighbourhood, without edges to the row's other entities."""
    triples = dataset.triples
    if triples is None:
        raise OptionError(
            f"{dataset.name}, column {column}: its cells are names of entities. Name the file of their relations: --triples FILE."
        )
    named = [
        c
        for c in dataset.schema.columns
        if capabilities_of(c.kind).entities and c.name in dataset.frame.columns
    ]
    named += [c for c in dataset.schema.columns if c.role == "target" and c.name in dataset.frame.columns]
    others = list(zip(*(dataset.frame[c.name].tolist() for c in named if c.name != column)))
    around = [frozenset(c for c in row if isinstance(c, str)) for row in others] or [frozenset()] * len(cells)
    return [
        partial(triples.around, cell, avoid) if isinstance(cell, str) else cell
        for cell, avoid in zip(cells, around)
    ]
