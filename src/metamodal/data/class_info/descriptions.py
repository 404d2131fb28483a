"""Descriptions of classes: which one a class has, and how it becomes a vector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from metamodal.data.dataset import Dataset
from metamodal.data.features.digests import digest
from metamodal.data.features.encode import fit_options, fitted_from
from metamodal.data.features.encoders import Encoders, reopened
from metamodal.data.features.extractors import Extractor
from metamodal.data.features.reading import read_cells
from metamodal.data.modalities import Modality, modalities
from metamodal.data.tables.cells import is_absent
from metamodal.types import Space

__all__ = ["DESCRIPTION", "DescriptionReader", "described_classes"]

DESCRIPTION = "description"
"""The name of the space of descriptions."""


@dataclass(frozen=True)
class DescriptionReader:
    """How a class's description becomes a vector: its kind, what was fitted, and its encoder."""

    kind: str
    fitted: Modality
    encoder: Extractor | None = None

    @classmethod
    def fit(
        cls, dataset: Dataset, options: Mapping[str, Mapping[str, Any]], encoder: Extractor | None
    ) -> DescriptionReader | None:
        """Fitted to the descriptions of a table's classes; none where the table has none."""
        column = dataset.schema.role("describe")
        kind = next((c.kind for c in dataset.schema.columns if c.name == column), None)
        positions = list(described_classes(dataset)[0].values())
        if not kind or not positions:
            return None
        cells = _cells(dataset.rows(np.array(positions)), str(column), kind, encoder)
        settings = fit_options(dataset, options)
        read_as = "embedding" if encoder else kind
        return cls(kind, modalities[read_as].fit(cells, **settings.get(read_as, {})), encoder)

    @property
    def space(self) -> Space:
        return Space(DESCRIPTION, self.fitted.shape)

    def tensor(self, dataset: Dataset, column: str) -> Tensor:
        """The descriptions in a column without empty cells, `(n, f)`."""
        return self.fitted.tensor(_cells(dataset, column, self.kind, self.encoder))

    def to_dict(self) -> dict[str, Any]:
        """Everything fitted, as JSON values."""
        record: dict[str, Any] = {"kind": self.kind, "fitted": asdict(self.fitted)}  # type: ignore[call-overload]
        if self.encoder is not None:
            record["encoder"] = Encoders({DESCRIPTION: self.encoder}).record(DESCRIPTION)
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], given: Any = None) -> DescriptionReader:
        """The inverse of `to_dict`; `given` is an encoder that is code.

        Raises:
            ArtifactError: the encoder is another than in training, or is code and not given.
        """
        saved = record.get("encoder")
        encoder = reopened(saved, record["kind"], DESCRIPTION, given) if saved else None
        kind = "embedding" if encoder else record["kind"]
        return cls(record["kind"], fitted_from(kind, record["fitted"]), encoder)


def described_classes(
    dataset: Dataset, *, per_task: bool = True
) -> tuple[dict[tuple[Any, Any], int], list[str]]:
    """For each class, as (task, label), the row whose description most of its rows have; and notes."""
    column = dataset.schema.role("describe")
    if column is None or dataset.schema.target is None:
        return {}, []
    counts: dict[tuple[Any, Any], Counter[bytes]] = {}
    first: dict[tuple[tuple[Any, Any], bytes], int] = {}
    for row, (task, label, cell) in enumerate(zip(dataset.tasks(), dataset.labels(), dataset.frame[column])):
        if label is None or is_absent(cell):
            continue
        key, content = (task if per_task else None, label), digest(cell)
        counts.setdefault(key, Counter())[content] += 1
        first.setdefault((key, content), row)
    torn = sum(len(each) > 1 for each in counts.values())
    notes = [f"{torn} classes have rows whose descriptions differ: the most common is used"] if torn else []
    return {key: first[key, each.most_common(1)[0][0]] for key, each in counts.items()}, notes


def _cells(dataset: Dataset, column: str, kind: str, encoder: Extractor | None) -> list[Any]:
    encoders = Encoders({DESCRIPTION: encoder} if encoder else {})
    return read_cells(dataset, {DESCRIPTION: (kind, (column,))}, encoders=encoders).values[DESCRIPTION]
