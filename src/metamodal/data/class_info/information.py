"""What a model can know of classes besides their rows: descriptions, and the names that it learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from metamodal.data.class_info.descriptions import DESCRIPTION, DescriptionReader, described_classes
from metamodal.data.class_info.table import ClassTable
from metamodal.data.dataset import Dataset
from metamodal.data.features.digests import fingerprint
from metamodal.data.modalities import Modality
from metamodal.data.schema.inference import Schema
from metamodal.data.tables.cells import is_absent
from metamodal.errors import OptionError
from metamodal.types import Space

__all__ = ["ClassInfo"]


@dataclass(frozen=True)
class ClassInfo:
    """What a model can know of classes: how it reads descriptions, and the names that it learned, as fingerprints."""

    reader: DescriptionReader | None = None
    names: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.reader is not None or bool(self.names)

    def table(self, dataset: Dataset, *, named: bool = True) -> ClassTable:
        """The class information of a table's rows.

        Rows of one class whose descriptions differ go by the most common one, and a note says so.

        Args:
            named: whether the labels are of the target that the names were learned of.
        """
        labels = dataset.labels() if dataset.schema.target else np.full(len(dataset), None)
        numbers = self._numbers(labels) if self.names and named else None
        nowhere = torch.full((len(dataset),), -1)
        positions, notes = described_classes(dataset) if self.reader else ({}, [])
        if self.reader is None or not positions:
            return ClassTable(None, nowhere, numbers)
        place = {key: i for i, key in enumerate(positions)}
        described = [place.get(key, -1) for key in zip(dataset.tasks(), labels)]
        column = str(dataset.schema.role("describe"))
        descriptions = self.reader.tensor(dataset.rows(np.array(list(positions.values()))), column)
        return ClassTable(descriptions, torch.tensor(described), numbers, tuple(notes))

    @property
    def space(self) -> Space | None:
        """The space of descriptions."""
        return self.reader.space if self.reader else None

    @property
    def fitted(self) -> Modality | None:
        """What was fitted to descriptions."""
        return self.reader.fitted if self.reader else None

    def descriptions(self, dataset: Dataset) -> dict[str, Any]:
        """The descriptions in a table of one task, by label; none if the model reads none."""
        column = dataset.schema.role("describe")
        if self.reader is None or column is None:
            return {}
        cells = dataset.frame[column]
        rows, _ = described_classes(dataset, per_task=False)
        return {label: cells[row] for (_, label), row in rows.items()}

    def of(
        self, labels: Sequence[str], descriptions: Mapping[str, Any], *, named: bool = True
    ) -> dict[str, Tensor]:
        """`Batch.class_info` of one task's classes from their descriptions, absent ones left out.

        Raises:
            OptionError: descriptions for a model that was trained without any.
        """
        result: dict[str, Tensor] = {}
        given = [k for k, label in enumerate(labels) if not is_absent(descriptions.get(label))]
        if given and self.reader is None:
            raise OptionError(
                "describe: this model was trained without descriptions. Train it with --describe C."
            )
        if self.reader is not None:
            cells = pd.Series([descriptions[labels[k]] for k in given], dtype=object)
            frame = pd.DataFrame({DESCRIPTION: cells})
            table = Dataset(frame, Schema(()), "describe", Path(), np.arange(1, len(frame) + 1))
            result["description"] = torch.zeros(len(labels), *self.reader.space.shape)
            result["described"] = torch.zeros(len(labels), dtype=torch.bool)
            if given:
                result["description"][given] = self.reader.tensor(table, DESCRIPTION)
                result["described"][given] = True
        if self.names and named:
            result["name"] = self._numbers(np.array(labels, dtype=object))
        return result

    def _numbers(self, labels: np.ndarray) -> Tensor:
        known = {name: i for i, name in enumerate(self.names)}
        number = {label: known.get(fingerprint(label), -1) for label in {*labels} - {None}}
        return torch.tensor([number.get(label, -1) for label in labels], dtype=torch.long)

    def to_dict(self) -> dict[str, Any]:
        """Everything known, as JSON values."""
        return {"reader": self.reader.to_dict() if self.reader else None, "names": list(self.names)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], given: Any = None) -> ClassInfo:
        """The inverse of `to_dict`; `given` is an encoder of descriptions that is code."""
        reader = record.get("reader")
        return cls(
            DescriptionReader.from_dict(reader, given) if reader else None, tuple(record.get("names", ()))
        )
