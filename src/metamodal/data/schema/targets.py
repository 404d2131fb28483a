"""What a model predicts, fitted to its training rows: from cells to tensors of targets, and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.data.dataset import Dataset
from metamodal.data.modalities.protocol import check_scales
from metamodal.data.schema.conventions import MISSING_WORDS
from metamodal.data.schema.label_type import LabelType
from metamodal.data.schema.string_kinds import na_remedy
from metamodal.data.schema.target_kinds import (
    LARGEST_TARGET,
    SEPARATOR,
    flag_of,
    is_empty,
    labels_of,
    number_in,
)
from metamodal.data.tables.problems import short
from metamodal.errors import DataError, suggestion
from metamodal.outputs import Output, outputs

__all__ = ["Targets"]


@dataclass(frozen=True)
class Targets:
    """The kind of a target, the names of its outputs, and of numbers mean and deviation in training.

    Classes are each task's own and have no names here. `listed` says that labels stand as lists in
    one column, not as 0 and 1 in a column each. `labels` is the dtype in which classes are given back.
    """

    kind: str = "classification"
    names: tuple[str, ...] = ()
    listed: bool = False
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    labels: LabelType = field(default_factory=LabelType)

    def __post_init__(self) -> None:
        if self.mean or self.scale:
            check_scales("targets", self.mean, self.scale, *self.scale)
            check_scales("targets", self.names, self.scale)

    @classmethod
    def fit(cls, dataset: Dataset, rows: np.ndarray) -> Targets:
        """The target of a table, numbers standardised by some of its rows, those for training.

        Raises:
            DataError: a cell that is no number or no label; an output that no training row knows.
        """
        kind, columns = dataset.schema.target_kind, dataset.schema.targets
        if kind == "classification":
            return cls(labels=dataset.label_type)
        listed = kind == "multilabel" and len(columns) == 1 and not _flags(dataset, columns[0])
        if listed:
            lists = _lists(dataset, columns[0])
            names = tuple(sorted({label for labels in lists if labels is not None for label in labels}))
            if not names:
                raise DataError(f"{dataset.name}, column {columns[0]}: no row has a label. Fill some cells.")
            if odd := next((name for name in names if SEPARATOR in name), None):
                raise DataError(
                    f"{dataset.name}, column {columns[0]}: the label {odd!r} holds {SEPARATOR!r}, which stands between "
                    "labels where they are written in one string. Rename it."
                )
            return cls(kind, names, listed=True)
        raw = cls(kind, columns).raw(dataset)[rows]
        for column, known in zip(columns, ~np.isnan(raw.T)):
            if not known.any():
                raise DataError(
                    f"{dataset.name}, column {column}: no training row has a value. Fill some cells, or name other targets."
                )
        if kind == "multilabel":
            return cls(kind, columns)
        mean, scale = np.nanmean(raw, 0), np.nanstd(raw, 0)
        scale = np.where(scale > 0, scale, 1.0)
        return cls(kind, columns, mean=tuple(mean.tolist()), scale=tuple(scale.tolist()))

    def labelled(self, dataset: Dataset) -> Targets:
        """The same with the classes in the dtype of another table's labels."""
        known = self.kind == "classification" and dataset.schema.target is not None
        return replace(self, labels=dataset.label_type) if known else self

    @property
    def output(self) -> Output:
        """The kind as the learners know it."""
        return outputs[self.kind]

    @property
    def has_classes(self) -> bool:
        """Whether the task is classification."""
        return self.output.has_classes

    @property
    def outputs(self) -> int:
        """How many outputs all tasks share, 0 of classification."""
        return len(self.names)

    def raw(self, dataset: Dataset) -> Float[np.ndarray, "n k"]:
        """The labels (0 or 1) or numbers of each row in their own unit, NaN where unknown.

        Raises:
            DataError: a cell that is none of them, by row and column.
        """
        if self.listed:
            return self._listed(dataset)
        columns = self._columns(dataset)
        numbers = self.kind != "multilabel"
        what = "no number" if numbers else "neither 0 nor 1"
        found = np.full((len(dataset), len(columns)), np.nan)
        for k, column in enumerate(columns):
            written = dataset.schema.conventions.get(column or "")
            for i, cell in enumerate(dataset.frame[column] if column else ()):
                if not is_empty(cell):
                    value = number_in(cell, written) if numbers else flag_of(cell)
                    if value is None:
                        huge = numbers and isinstance(cell, (int, float))
                        what = f"no finite number within ±{LARGEST_TARGET:g}" if huge else what
                        raise DataError(
                            f"{dataset.name} row {dataset.numbers[i]}, column {column}: {short(cell)} is {what}. "
                            f"{_remedy(cell)}."
                        )
                    found[i, k] = value
        return found

    def encode(self, dataset: Dataset) -> Float[Tensor, "n k"]:
        """The targets of each row as learners read them: numbers standardised, NaN where unknown."""
        return torch.from_numpy((self.raw(dataset) - self.centre) / self.deviation).float()

    def decode(self, logits: Float[Tensor, "*n k"]) -> Float[np.ndarray, "*n k"]:
        """Probabilities of labels, or numbers in their own unit."""
        return self.output.link(logits).double().numpy() * self.deviation + self.centre

    def text(self, answers: Float[np.ndarray, "k"]) -> str:
        """A row's decoded answers in words: the likely labels, or the numbers; `?` where unknown."""
        if self.kind == "multilabel":
            return f"{SEPARATOR} ".join(name for name, share in zip(self.names, answers) if share > 0.5)
        return ", ".join("?" if np.isnan(number) else f"{number:.4g}" for number in answers)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any] | None) -> Targets:
        """The inverse of `to_dict`; without a record, classes."""
        if record is None:
            return cls()
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        return cls(**fields | {"labels": LabelType.from_dict(record.get("labels"))})

    @property
    def centre(self) -> Float[np.ndarray, "k"]:
        """What is subtracted of each output; 0 of labels."""
        return np.array(self.mean or [0.0] * len(self.names))

    @property
    def deviation(self) -> Float[np.ndarray, "k"]:
        """What each output is divided by; 1 of labels."""
        return np.array(self.scale or [1.0] * len(self.names))

    def _columns(self, dataset: Dataset) -> list[str | None]:
        """The column of each output in this table, `None` where it has none."""
        there = dataset.schema.targets
        if not set(there) & set(self.names) and len(there) == len(self.names):
            return list(there)
        for column in there:
            if column not in self.names:
                raise DataError(
                    f"{dataset.name}, column {column}: the model predicts no such target. {suggestion(column, self.names)}"
                )
        return [name if name in there else None for name in self.names]

    def _listed(self, dataset: Dataset) -> np.ndarray:
        column = str(dataset.schema.target)
        found = np.zeros((len(dataset), len(self.names)))
        place = {name: k for k, name in enumerate(self.names)}
        for i, labels in enumerate(_lists(dataset, column)):
            if labels is None:
                found[i] = np.nan
            for label in labels or ():
                if label not in place:
                    raise DataError(
                        f"{dataset.name} row {dataset.numbers[i]}, column {column}: the label {label!r} is not known from training. "
                        f"{suggestion(label, self.names)}"
                    )
                found[i, place[label]] = 1
        return found


def _remedy(cell: Any) -> str:
    if isinstance(cell, str) and cell.strip().lower() in MISSING_WORDS:
        return na_remedy([cell.strip()])
    return "Fix the cell or leave it empty; or pass another --target-kind"


def _flags(dataset: Dataset, column: str) -> bool:
    """Whether a single column of labels says yes or no."""
    cells = [c for c in dataset.frame[column] if not is_empty(c)]
    return bool(cells) and all(flag_of(c) is not None for c in cells)


def _lists(dataset: Dataset, column: str) -> list[list[str] | None]:
    found = []
    for number, cell in zip(dataset.numbers, dataset.frame[column]):
        labels = None if is_empty(cell) else labels_of(cell)
        if labels is None and not is_empty(cell):
            raise DataError(
                f"{dataset.name} row {number}, column {column}: {short(cell)} is no list of labels. "
                "Write a list of strings, or one string with ; between labels."
            )
        found.append(labels)
    return found
