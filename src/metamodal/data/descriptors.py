"""What is known of classes before any row of them: descriptions in a column, names that tasks share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from metamodal.data.dataset import Dataset
from metamodal.data.features.digests import digest, fingerprint
from metamodal.data.features.encode import fit_options, fitted_from
from metamodal.data.features.encoders import Encoders, reopened
from metamodal.data.features.extractors import Extractor
from metamodal.data.features.reading import read_cells
from metamodal.data.modalities import Modality, modalities
from metamodal.data.schema.inference import Schema
from metamodal.data.tables.cells import is_absent
from metamodal.errors import OptionError
from metamodal.types import Space

__all__ = ["ClassTable", "Descriptors", "Reader"]

_NAME = "description"


@dataclass(frozen=True)
class Reader:
    """How a class's description becomes a vector: its kind, what was fitted, and its encoder."""

    kind: str
    fitted: Modality
    encoder: Extractor | None = None

    @classmethod
    def fit(
        cls, dataset: Dataset, options: Mapping[str, Mapping[str, Any]], encoder: Extractor | None
    ) -> Reader | None:
        """Fitted to the descriptions of a table's classes; none where the table has none."""
        column = dataset.schema.role("describe")
        kind = next((c.kind for c in dataset.schema.columns if c.name == column), None)
        positions = list(_described(dataset)[0].values())
        if not kind or not positions:
            return None
        cells = _cells(dataset.rows(np.array(positions)), str(column), kind, encoder)
        settings = fit_options(dataset, options)
        found = "embedding" if encoder else kind
        return cls(kind, modalities[found].fit(cells, **settings.get(found, {})), encoder)

    @property
    def space(self) -> Space:
        return Space(_NAME, self.fitted.shape)

    def tensor(self, dataset: Dataset, column: str) -> Tensor:
        """The descriptions in a column without empty cells, `(n, f)`."""
        return self.fitted.tensor(_cells(dataset, column, self.kind, self.encoder))

    def to_dict(self) -> dict[str, Any]:
        """Everything fitted, as JSON values."""
        record: dict[str, Any] = {"kind": self.kind, "fitted": asdict(self.fitted)}  # type: ignore[call-overload]
        if self.encoder is not None:
            record["encoder"] = Encoders({_NAME: self.encoder}).record(_NAME)
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], given: Any = None) -> Reader:
        """The inverse of `to_dict`; `given` is an encoder that is code.

        Raises:
            ArtifactError: the encoder is another than in training, or is code and not given.
        """
        said = record.get("encoder")
        encoder = reopened(said, record["kind"], _NAME, given) if said else None
        kind = "embedding" if encoder else record["kind"]
        return cls(record["kind"], fitted_from(kind, record["fitted"]), encoder)


@dataclass(frozen=True)
class ClassTable:
    """What is known of the class of each row of a table.

    `text` `(c, f)` holds the descriptions, `described` `(n)` which of them a row's class has, `named`
    `(n)` the number of its name; -1 where there is none.
    """

    text: Tensor | None
    described: Tensor
    named: Tensor | None
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is known of any class."""
        return not self.told.any()

    @property
    def told(self) -> Tensor:
        """Of which rows' classes something is known, `(n)`."""
        told = self.described >= 0
        return told if self.named is None else told | (self.named >= 0)

    def of(self, rows: Tensor) -> dict[str, Tensor]:
        """`Batch.about` of the classes that have these rows, `(*t, k)`."""
        about = {}
        if self.text is not None:
            at = self.described[rows]
            about["texts"] = at >= 0
            about["text"] = self.text[at.clamp(min=0)] * about["texts"][..., None]
        if self.named is not None:
            about["name"] = self.named[rows]
        return about

    def take(self, rows: np.ndarray) -> ClassTable:
        """What is known of some of the rows."""
        at = torch.as_tensor(rows)
        named = None if self.named is None else self.named[at]
        return ClassTable(self.text, self.described[at], named, self.notes)


@dataclass(frozen=True)
class Descriptors:
    """What a model can be told of classes: descriptions, and the names it learned, as fingerprints."""

    reader: Reader | None = None
    names: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.reader is not None or bool(self.names)

    def table(self, dataset: Dataset, *, named: bool = True) -> ClassTable:
        """What a table says of its rows' classes.

        Rows of one class whose descriptions differ go by the most common one, and a note says so.

        Args:
            named: whether the labels are of the target that the names were learned of.
        """
        labels = dataset.labels() if dataset.schema.target else np.full(len(dataset), None)
        numbers = self._numbers(labels) if self.names and named else None
        nowhere = torch.full((len(dataset),), -1)
        positions, notes = _described(dataset) if self.reader else ({}, [])
        if self.reader is None or not positions:
            return ClassTable(None, nowhere, numbers)
        place = {key: i for i, key in enumerate(positions)}
        described = [place.get(key, -1) for key in zip(dataset.tasks(), labels)]
        column = str(dataset.schema.role("describe"))
        text = self.reader.tensor(dataset.rows(np.array(list(positions.values()))), column)
        return ClassTable(text, torch.tensor(described), numbers, tuple(notes))

    @property
    def space(self) -> Space | None:
        """The space of descriptions."""
        return self.reader.space if self.reader else None

    @property
    def fitted(self) -> Modality | None:
        """What was fitted to descriptions."""
        return self.reader.fitted if self.reader else None

    def described(self, dataset: Dataset) -> dict[str, Any]:
        """The descriptions in a table of one task, by label; none if the model knows none."""
        column = dataset.schema.role("describe")
        if self.reader is None or column is None:
            return {}
        cells = dataset.frame[column]
        return {label: cells[row] for (_, label), row in _described(dataset, per_task=False)[0].items()}

    def about(
        self, labels: Sequence[str], descriptions: Mapping[str, Any], *, named: bool = True
    ) -> dict[str, Tensor]:
        """`Batch.about` of one task's classes from their descriptions, absent ones left out.

        Raises:
            OptionError: descriptions for a model that was trained without any.
        """
        about: dict[str, Tensor] = {}
        there = [k for k, label in enumerate(labels) if not is_absent(descriptions.get(label))]
        if there and self.reader is None:
            raise OptionError(
                "describe: this model was trained without descriptions. Train it with --describe C."
            )
        if self.reader is not None:
            frame = pd.DataFrame({_NAME: pd.Series([descriptions[labels[k]] for k in there], dtype=object)})
            told = Dataset(frame, Schema(()), "describe", Path(), np.arange(1, len(frame) + 1))
            about["text"] = torch.zeros(len(labels), *self.reader.space.shape)
            about["texts"] = torch.zeros(len(labels), dtype=torch.bool)
            if there:
                about["text"][there] = self.reader.tensor(told, _NAME)
                about["texts"][there] = True
        if self.names and named:
            about["name"] = self._numbers(np.array(labels, dtype=object))
        return about

    def _numbers(self, labels: np.ndarray) -> Tensor:
        known = {name: i for i, name in enumerate(self.names)}
        number = {label: known.get(fingerprint(label), -1) for label in {*labels} - {None}}
        return torch.tensor([number.get(label, -1) for label in labels], dtype=torch.long)

    def to_dict(self) -> dict[str, Any]:
        """Everything known, as JSON values."""
        return {"reader": self.reader.to_dict() if self.reader else None, "names": list(self.names)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], given: Any = None) -> Descriptors:
        """The inverse of `to_dict`; `given` is an encoder of descriptions that is code."""
        reader = record.get("reader")
        return cls(Reader.from_dict(reader, given) if reader else None, tuple(record.get("names", ())))


def _described(dataset: Dataset, *, per_task: bool = True) -> tuple[dict[tuple[Any, Any], int], list[str]]:
    """For each class, as (task, label), the row whose description most of its rows have; and notes."""
    column = dataset.schema.role("describe")
    if column is None or dataset.schema.target is None:
        return {}, []
    found: dict[tuple[Any, Any], Counter[bytes]] = {}
    first: dict[tuple[tuple[Any, Any], bytes], int] = {}
    for row, (task, label, cell) in enumerate(zip(dataset.tasks(), dataset.labels(), dataset.frame[column])):
        if label is None or is_absent(cell):
            continue
        key, content = (task if per_task else None, label), digest(cell)
        found.setdefault(key, Counter())[content] += 1
        first.setdefault((key, content), row)
    torn = sum(len(counts) > 1 for counts in found.values())
    notes = [f"{torn} classes have rows whose descriptions differ: the most common is used"] if torn else []
    return {key: first[key, counts.most_common(1)[0][0]] for key, counts in found.items()}, notes


def _cells(dataset: Dataset, column: str, kind: str, encoder: Extractor | None) -> list[Any]:
    encoders = Encoders({_NAME: encoder} if encoder else {})
    return read_cells(dataset, {_NAME: (kind, (column,))}, encoders=encoders).values[_NAME]
