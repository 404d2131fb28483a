"""From raw cells to tensors: what each modality learned of the training cells, applied to any rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metamodal.data.cells import is_absent
from metamodal.data.dataset import Dataset
from metamodal.data.encoders import Encoders, Tuned
from metamodal.data.extraction import Features
from metamodal.data.extractors import Extractor
from metamodal.data.modalities import modalities
from metamodal.data.modalities.protocol import CellError, Fitted, Kind
from metamodal.errors import DataError, OptionError
from metamodal.types import Batch, Space

__all__ = ["Cells", "Preprocessor", "read_cells"]


_CHUNK = 1024  # rows that features are computed of at a time


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
    encoders: Encoders | None = None,
) -> Cells:
    """Every cell of the wanted modalities, opened and read; by default those of the schema.

    A wanted modality whose columns are not in the table, or not in use, is absent in every row.

    Args:
        encoders: the encoders that some modalities' cells go through, by modality.
        unreadable: `"error"`, or `"absent"` to treat a cell that cannot be read as an empty one.

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
        kinds[name], lenient = kind, unreadable == "absent"
        if encoders and name in encoders.frozen:
            kinds[name] = "embedding"
            values[name] = _encoded(dataset, encoders.frozen[name], there, lenient)
        else:
            opener = encoders.tuned[name].open if encoders and name in encoders.tuned else None
            values[name] = _read_modality(dataset, modalities[kind], there, lenient, opener)
    return Cells(values, kinds, dataset)


def _read_modality(
    dataset: Dataset,
    kind: Kind,
    columns: list[str],
    lenient: bool,
    opener: Callable[[Any, Path], Any] | None = None,
) -> list[Any]:
    opened = opener or kind.read
    if not columns:
        return [None] * len(dataset)
    rows = _joined(dataset, columns, as_records=kind is modalities["tabular"])

    def read(item: tuple[int, Any]) -> Any:
        position, cell = item
        if cell is None:
            return None
        try:
            return opened(cell, dataset.base)
        except CellError as error:
            if lenient:
                return None
            raise _located(dataset, position, ", ".join(columns), error) from None

    if kind is modalities["image"]:
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(read, enumerate(rows)))
    return [read(item) for item in enumerate(rows)]


def _encoded(dataset: Dataset, encoder: Extractor, columns: list[str], lenient: bool) -> list[Any]:
    """The cells' vectors by an encoder, computed or found where they are kept."""
    if not columns:
        return [None] * len(dataset)

    def failed(position: int, error: CellError) -> None:
        if not lenient:
            raise _located(dataset, position, ", ".join(columns), error) from None

    return Features(encoder)(_joined(dataset, columns, as_records=False), dataset.base, failed)


def _joined(dataset: Dataset, columns: list[str], as_records: bool) -> list[Any]:
    """One cell a row: the column's own, or a record of the scalars in several columns."""
    rows = zip(*(dataset.frame[c].tolist() for c in columns))
    if not as_records:
        return [None if is_absent(cell) else cell for (cell,) in rows]
    records = [
        row[0] if isinstance(row[0], dict) and len(row) == 1 else dict(zip(columns, row)) for row in rows
    ]
    return [None if all(is_absent(c) for c in r.values()) else r for r in records]


def _located(dataset: Dataset, position: int, column: str, error: CellError) -> DataError:
    return DataError(f"{dataset.name} row {dataset.numbers[position]}, column {column}: {error}.")


@dataclass(frozen=True)
class Preprocessor:
    """The fitted modalities of a model, in order, with the columns each is read from."""

    fitted: dict[str, Fitted]
    wanted: dict[str, tuple[str, tuple[str, ...]]]
    encoders: Encoders = field(default_factory=Encoders)

    @classmethod
    def fit(
        cls,
        cells: Cells,
        options: dict[str, dict[str, Any]] | None = None,
        encoders: Encoders | None = None,
    ) -> Preprocessor:
        """Each modality fitted to the cells that are present; one that never is, is left out.

        Args:
            options: of each kind's `fit`.
            encoders: those that the cells were read with.
        """
        wanted = cells.dataset.schema.modalities
        encoders = encoders or Encoders()
        fitted: dict[str, Fitted] = {}
        for name, values in cells.values.items():
            present = [v for v in values if v is not None]
            if present and name in encoders.tuned:
                fitted[name] = Tuned.of(encoders.tuned[name], present)
            elif present:
                kind = cells.kinds[name]
                with _explained(cells, name, values):
                    fitted[name] = modalities[kind].fit(present, **(options or {}).get(kind, {}))
        if not fitted:
            raise DataError(
                f"{cells.dataset.name}: every modality is empty in the rows to learn from. Name others with --use."
            )
        return cls(fitted, {name: wanted[name] for name in fitted}, encoders)

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.fitted)

    @property
    def spaces(self) -> dict[str, tuple[str, Space]]:
        """Kind and space of each modality's tensor: `embedding` behind a frozen encoder."""
        return {
            name: (
                "embedding" if name in self.encoders.frozen else kind,
                Space(name, self.fitted[name].shape),
            )
            for name, (kind, _) in self.wanted.items()
        }

    def read(self, dataset: Dataset, unreadable: str = "error") -> Cells:
        """The cells of this model's modalities in any table that has some of their columns."""
        return read_cells(dataset, self.wanted, unreadable, self.encoders)

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

    def _mapped(self, batch: Batch, change: Callable[[Fitted, Tensor], Tensor]) -> Batch:
        inputs = {}
        for name, x in batch.inputs.items():
            there = batch.present[name].view(-1, *[1] * (x.dim() - 1))
            y = change(self.fitted[name], x)
            inputs[name] = torch.where(there.view(-1, *[1] * (y.dim() - 1)), y, torch.zeros_like(y))
        return batch._replace(inputs=inputs)

    def to_dict(self) -> dict[str, Any]:
        """Everything fitted, as JSON values; of an encoder its name and what tells whether it is the same.

        Raises:
            OptionError: an encoder that is an object of this process alone.
        """
        record: dict[str, Any] = {}
        for name, (kind, columns) in self.wanted.items():
            entry: dict[str, Any] = {"kind": kind, "columns": list(columns)}
            if name in self.encoders:
                entry["encoder"] = self.encoders.record(name)
            modality = self.fitted[name]
            tuned = isinstance(modality, Tuned)
            entry["fitted"] = {"shape": list(modality.shape)} if tuned else asdict(modality)  # type: ignore[call-overload]
            record[name] = entry
        return record

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Preprocessor:
        """The inverse of `to_dict`."""
        fitted: dict[str, Fitted] = {}
        wanted = {name: (entry["kind"], tuple(entry["columns"])) for name, entry in record.items()}
        encoders = Encoders.from_record(record)
        for name, entry in record.items():
            if name in encoders.tuned:
                fitted[name] = Tuned(encoders.tuned[name], tuple(entry["fitted"]["shape"]))
            else:
                kind = "embedding" if name in encoders.frozen else entry["kind"]
                fitted[name] = modalities[kind](**_tuples(entry["fitted"]))
        return cls(fitted, wanted, encoders)


def _tuples(value: Any) -> Any:
    """JSON lists back as the tuples that frozen dataclasses hold."""
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


@contextmanager
def _explained(cells: Cells, name: str, values: list[Any], modality: Fitted | None = None) -> Iterator[None]:
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
