"""What the command predict writes: frames, and the rows of a JSON document, for each kind of target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from metamodal.answers import Answers
from metamodal.data.dataset import Dataset, open_table
from metamodal.data.identity import free_name
from metamodal.data.roles import Roles
from metamodal.data.schema.label_type import LabelType
from metamodal.data.schema.target_kinds import SEPARATOR
from metamodal.data.tables.chunks import Chunk
from metamodal.data.tables.source import Source
from metamodal.data.tables.writing import write_frames
from metamodal.predictor import Predictor

__all__ = ["Predicting", "names_in_json"]

_ROWS = 4096  # of a table that are in memory at a time
REASON = "reason"
"""The last column, of why a row has no answer; `reason_` where a target has that name."""


def names_in_json(predictor: Predictor) -> list[Any]:
    """The classes as values of JSON, numbers and booleans as such; names of labels and of numbers as they are."""
    known = predictor.model.targets
    return known.labels.python(predictor.labels) if known.kind == "classification" else list(predictor.labels)


class Predicting:
    """A predictor's answers to a table of any size, a part of its rows at a time.

    A row that cannot be predicted has missing values and a reason; `lacking` counts them. The columns of a
    file and their types follow from the predictor alone, whatever the rows.
    """

    def __init__(self, predictor: Predictor, source: Source, unreadable: str) -> None:
        self.predictor, self.source, self.unreadable = predictor, source, unreadable
        self.rows = self.lacking = 0
        self.first: str | None = None

    def answers(self) -> Iterator[Answers]:
        """The answers in the order of the rows."""
        self.rows = self.lacking = 0
        for chunk in self.source.chunks(_ROWS):
            table = _table(self.predictor, self.source, chunk)
            found = self.predictor.answers(table, self.unreadable)
            for number, reason in zip(chunk.numbers.tolist(), found.reasons):
                if reason is not None:
                    self.lacking += 1
                    self.first = self.first or f"row {number}: {reason}"
            self.rows += len(chunk.frame)
            yield found

    def write(self, target: str) -> None:
        """The answers as a file of rows, or as CSV on standard output."""
        classes = _classes(self.predictor, Path(target).suffix.lower())
        sample = _frame(_each_class(self.predictor), classes)
        write_frames((_frame(answers, classes) for answers in self.answers()), target, like=sample)

    def document(self) -> list[dict[str, Any]]:
        """The rows of a JSON document."""
        row_of, rows = _DOCUMENTS[self.predictor.kind], []
        for answers in self.answers():
            for row, reason in zip(row_of(answers), answers.reasons):
                gap = {**dict.fromkeys(row), free_name(REASON, row): reason}
                rows.append(row if reason is None else gap)
        return rows


def _table(predictor: Predictor, source: Source, chunk: Chunk) -> Dataset:
    """Some rows of the source of which only the modalities are looked at."""
    part = Source(source.name, source.base, lambda rows, report: iter([chunk]))
    return open_table(part, Roles(), predictor.model.roles.of_modalities())


def _classes(predictor: Predictor, suffix: str) -> Any:
    """The classes as values that a file of this ending holds: each has one spelling in all of its rows."""
    labels: LabelType = predictor.model.targets.labels
    if suffix == ".parquet":
        return predictor.classes
    spell = labels.python if suffix in (".jsonl", ".ndjson") else labels.text
    values = np.empty(len(predictor.labels), dtype=object)
    values[:] = spell(predictor.labels)
    return values


def _each_class(predictor: Predictor) -> Answers:
    """Answers of which each class is one: no rows', but of the types that all rows' have."""
    count = len(predictor.labels)
    return Answers(predictor.model.targets, predictor.labels, (), torch.eye(count), (None,) * count)


def _frame(answers: Answers, classes: Any) -> pd.DataFrame:
    frame = _FRAMES[answers.targets.kind](answers, classes)
    return frame.assign(**{free_name(REASON, frame): pd.array(answers.reasons, dtype="string")})


def _class_frame(answers: Answers, classes: Any) -> pd.DataFrame:
    """The likeliest class with its probability, and that of each."""
    probabilities = answers.probabilities()
    frame = pd.DataFrame({"label": answers.likeliest(classes)})
    frame["probability"] = probabilities.to_numpy().max(1)
    return pd.concat([frame, _named(probabilities, answers.targets.labels.text(answers.names))], axis=1)


def _class_rows(answers: Answers) -> Iterator[dict[str, Any]]:
    names = answers.targets.labels.python(answers.names)
    for row in answers.probabilities().to_numpy():
        best = 0 if np.isnan(row).any() else int(row.argmax())
        yield {"label": names[best], "probabilities": dict(zip(names, map(float, row)))}


def _label_frame(answers: Answers, classes: Any) -> pd.DataFrame:
    """The labels above their thresholds, as one string, and the probability of each label."""
    names = [
        None if lacks else f"{SEPARATOR} ".join(row) for row, lacks in zip(_given(answers), answers.lacking)
    ]
    frame = pd.DataFrame({"labels": pd.array(names, dtype="string")})
    return pd.concat([frame, _named(answers.probabilities(), answers.names)], axis=1)


def _label_rows(answers: Answers) -> Iterator[dict[str, Any]]:
    labels = answers.names
    for names, row in zip(_given(answers), answers.probabilities().to_numpy()):
        yield {"labels": names, "probabilities": dict(zip(labels, map(float, row)))}


def _given(answers: Answers) -> list[list[str]]:
    labels = answers.names
    return [[name for name, given in zip(labels, row) if given] for row in answers.labels()]


def _number_frame(answers: Answers, classes: Any = None) -> pd.DataFrame:
    """One column a number."""
    labels = list(answers.names)
    return pd.DataFrame(np.asarray(answers.labels()).reshape(-1, len(labels)), columns=labels)


def _number_rows(answers: Answers) -> Iterator[dict[str, Any]]:
    for row in _number_frame(answers).to_dict("records"):
        yield {str(name): float(value) for name, value in row.items()}


def _named(probabilities: pd.DataFrame, names: Any) -> pd.DataFrame:
    return probabilities.reset_index(drop=True).set_axis([f"p({name})" for name in names], axis=1)


_FRAMES: dict[str, Callable[[Answers, Any], pd.DataFrame]] = {
    "classification": _class_frame,
    "multilabel": _label_frame,
    "regression": _number_frame,
}
_DOCUMENTS: dict[str, Callable[[Answers], Iterator[dict[str, Any]]]] = {
    "classification": _class_rows,
    "multilabel": _label_rows,
    "regression": _number_rows,
}
