"""From raw cells to tensors: what each modality learned of the training cells, applied to any rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metamodal.data.cells import is_absent, number_of
from metamodal.data.dataset import Dataset
from metamodal.data.modalities import Modality, modalities
from metamodal.data.modalities.protocol import CellError, Kind
from metamodal.data.modalities.tabular import infinite
from metamodal.data.schema import NUMBERS_AS_TEXT
from metamodal.errors import DataError, OptionError
from metamodal.types import Batch

__all__ = ["Cells", "Preprocessor", "read_cells"]


_CHUNK = 1024  # rows that features are computed of at a time
_READ_CHUNK = 32  # cells that a thread reads at a time


@dataclass(frozen=True)
class Cells:
    """The read cells of a data set: values by modality, `None` where absent."""

    values: dict[str, list[Any]]
    kinds: dict[str, str]
    dataset: Dataset

    def rows(self, index: np.ndarray) -> Cells:
        """Some of the rows, nothing read again."""
        at = np.arange(len(self.dataset))[index]
        values = {m: [cells[i] for i in at] for m, cells in self.values.items()}
        return Cells(values, self.kinds, self.dataset.rows(index))


def read_cells(
    dataset: Dataset,
    wanted: dict[str, tuple[str, tuple[str, ...]]] | None = None,
    unreadable: str = "error",
    limits: frozenset[str] = frozenset(),
) -> Cells:
    """Every cell of the wanted modalities, opened and read; by default those of the schema.

    A wanted modality whose columns are not in the table, or not in use, is absent in every row.

    Args:
        unreadable: `"error"`, or `"absent"` to treat a cell that cannot be read as an empty one.
        limits: columns of numbers that may be infinite, besides those of the schema.

    Raises:
        DataError: a cell cannot be read, naming its file, row, column and the remedy.
    """
    if unreadable not in ("error", "absent"):
        raise OptionError(f"unreadable={unreadable!r}: no such choice. Say error or absent.")
    values, kinds = {}, {}
    for name, (kind, columns) in (dataset.schema.modalities if wanted is None else wanted).items():
        if kind not in modalities:
            raise OptionError(
                f"{dataset.name}, column {columns[0]}: {kind} cannot be read by this version. "
                f"Name other columns with --use (readable kinds: {', '.join(modalities)})."
            )
        there = [c for c in columns if c in dataset.frame.columns and c not in dataset.schema.unused]
        kinds[name] = kind
        allowed = limits | dataset.schema.limits
        values[name] = _read_modality(dataset, modalities[kind], there, unreadable == "absent", allowed)
    return Cells(values, kinds, dataset)


def _read_modality(
    dataset: Dataset, kind: Kind, columns: list[str], lenient: bool, limits: frozenset[str]
) -> list[Any]:
    if not columns:
        return [None] * len(dataset)
    tabular = kind is modalities["tabular"]
    rows = _joined(dataset, columns, as_records=tabular)
    if kind is modalities["graph"] and any(isinstance(cell, str) for cell in rows):
        rows = _neighbourhoods(dataset, columns[0], rows)

    def read(position: int, cell: Any) -> Any:
        if cell is None:
            return None
        try:
            value = kind.read(cell() if callable(cell) else cell, dataset.base)
            if tabular:
                _check_finite(value, limits)
            return value
        except CellError as error:
            if lenient:
                return None
            column = next((c for c in columns if str(error).startswith(f"{c} is ")), ", ".join(columns))
            raise _located(dataset, position, column, error) from None

    def read_some(start: int) -> list[Any]:
        return [read(start + i, cell) for i, cell in enumerate(rows[start : start + _READ_CHUNK])]

    starts = range(0, len(rows), _READ_CHUNK)
    if getattr(kind, "threaded", False):
        with ThreadPoolExecutor(4) as pool:
            return [value for values in pool.map(read_some, starts) for value in values]
    return [value for start in starts for value in read_some(start)]


def _check_finite(record: dict[str, Any], limits: frozenset[str]) -> None:
    for name, value in record.items():
        if isinstance(value, float) and math.isinf(value) and name not in limits:
            raise infinite(name, value)


def _neighbourhoods(dataset: Dataset, column: str, rows: list[Any]) -> list[Any]:
    """Entities as calls that give their neighbourhood, without edges to the row's other entities."""
    triples = dataset.triples
    if triples is None:
        raise OptionError(
            f"{dataset.name}, column {column}: its cells are names of entities. Say where their relations stand: --triples FILE."
        )
    named = [c for c in dataset.schema.columns if c.kind == "graph" and c.name in dataset.frame.columns]
    named += [c for c in dataset.schema.columns if c.role == "target" and c.name in dataset.frame.columns]
    others = list(zip(*(dataset.frame[c.name].tolist() for c in named if c.name != column)))
    around = [frozenset(c for c in row if isinstance(c, str)) for row in others] or [frozenset()] * len(rows)
    return [
        partial(triples.around, cell, avoid) if isinstance(cell, str) else cell
        for cell, avoid in zip(rows, around)
    ]


def _joined(dataset: Dataset, columns: list[str], as_records: bool) -> list[Any]:
    """One cell a row: the column's own, or a record of the scalars in several columns."""
    if not as_records:
        return [None if is_absent(cell) else cell for cell in dataset.frame[columns[0]]]
    spelled = {c.name for c in dataset.schema.columns if c.evidence.startswith(NUMBERS_AS_TEXT)}
    rows = zip(*(map(_number if c in spelled else _same, dataset.frame[c].tolist()) for c in columns))
    records = [
        row[0] if isinstance(row[0], dict) and len(row) == 1 else dict(zip(columns, row)) for row in rows
    ]
    return [None if all(is_absent(c) for c in r.values()) else r for r in records]


def _number(cell: Any) -> Any:
    return number_of(cell) if isinstance(cell, str) else cell


def _same(cell: Any) -> Any:
    return cell


def _located(dataset: Dataset, position: int, column: str, error: CellError) -> DataError:
    return DataError(f"{dataset.name} row {dataset.numbers[position]}, column {column}: {error}.")


@dataclass(frozen=True)
class Preprocessor:
    """The fitted modalities of a model, in order, with the columns each is read from."""

    fitted: dict[str, Modality]
    wanted: dict[str, tuple[str, tuple[str, ...]]]

    @classmethod
    def fit(cls, cells: Cells, options: dict[str, dict[str, Any]] | None = None) -> Preprocessor:
        """Each modality fitted to the cells that are present; one that never is, is left out."""
        wanted = cells.dataset.schema.modalities
        options = dict(options or {}) | {"tabular": {"limits": tuple(sorted(cells.dataset.schema.limits))}}
        fitted = {}
        for name, values in cells.values.items():
            present = [v for v in values if v is not None]
            if present:
                kind = cells.kinds[name]
                with _explained(cells, name, values):
                    fitted[name] = modalities[kind].fit(present, **options.get(kind, {}))
        if not fitted:
            raise DataError(
                f"{cells.dataset.name}: every modality is empty in the rows to learn from. Name others with --use."
            )
        return cls(fitted, {name: wanted[name] for name in fitted})

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.fitted)

    @property
    def kinds(self) -> dict[str, str]:
        return {name: kind for name, (kind, _) in self.wanted.items()}

    def read(self, dataset: Dataset, unreadable: str = "error") -> Cells:
        """The cells of this model's modalities in any table that has some of their columns."""
        limits = frozenset(c for m in self.fitted.values() for c in getattr(m, "limits", ()))
        return read_cells(dataset, self.wanted, unreadable, limits)

    def encode(self, cells: Cells) -> Batch:
        """All rows as tensors, zeros where a cell is absent; `targets` is `(n, 0)`."""
        inputs, present = {}, {}
        n = len(cells.dataset)
        for name, modality in self.fitted.items():
            values = cells.values.get(name, [None] * n)
            there = torch.tensor([v is not None for v in values], dtype=torch.bool)
            x = torch.zeros(n, *modality.shape)
            if there.any():
                with _explained(cells, name, values, modality):
                    x[there] = modality.tensor([v for v in values if v is not None])
            inputs[name], present[name] = x, there
        return Batch(inputs, present, torch.zeros(n, 0))

    def features(self, batch: Batch) -> Batch:
        """The same rows as generic features, zeros where a cell is absent."""
        return self._mapped(
            batch, lambda modality, x: torch.cat([modality.features(part) for part in x.split(_CHUNK)])
        )

    def augment(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The same rows as they might have come out another time."""
        return self._mapped(batch, lambda modality, x: modality.augment(x, generator))

    @property
    def variants(self) -> int:
        """How many versions of a class its symmetries give, the class itself included."""
        return max(modality.variants for modality in self.fitted.values())

    def variant(self, batch: Batch, number: int) -> Batch:
        """The rows under symmetry `number`; a modality without it stays as it is."""
        if number == 0:
            return batch
        return self._mapped(batch, lambda m, x: m.variant(x, number) if number < m.variants else x)

    def _mapped(self, batch: Batch, change: Callable[[Modality, Tensor], Tensor]) -> Batch:
        inputs = {}
        for name, x in batch.inputs.items():
            there = batch.present[name].view(-1, *[1] * (x.dim() - 1))
            y = change(self.fitted[name], x)
            inputs[name] = torch.where(there.view(-1, *[1] * (y.dim() - 1)), y, torch.zeros_like(y))
        return batch._replace(inputs=inputs)

    def to_dict(self) -> dict[str, Any]:
        """Everything fitted, as JSON values."""
        return {
            name: {"kind": kind, "columns": list(columns), "fitted": asdict(self.fitted[name])}  # type: ignore[call-overload]
            for name, (kind, columns) in self.wanted.items()
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Preprocessor:
        """The inverse of `to_dict`."""
        fitted, wanted = {}, {}
        for name, entry in record.items():
            fitted[name] = modalities[entry["kind"]](**_tuples(entry["fitted"]))
            wanted[name] = (entry["kind"], tuple(entry["columns"]))
        return cls(fitted, wanted)


def _tuples(value: Any) -> Any:
    """JSON lists back as the tuples that frozen dataclasses hold."""
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


@contextmanager
def _explained(
    cells: Cells, name: str, values: list[Any], modality: Modality | None = None
) -> Iterator[None]:
    """A cell that reads but does not fit the others, named by its row and column."""
    try:
        yield
    except CellError as error:
        for position, value in enumerate(values):
            try:
                if value is not None and modality is not None:
                    modality.tensor([value])
            except CellError as found:
                raise _located(cells.dataset, position, name, found) from None
        raise DataError(f"{cells.dataset.name}, column {name}: {error}.") from None
