"""What the command predict writes: frames, and the rows of a JSON document, for each kind of target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from metamodal.data.dataset import Dataset, open_table
from metamodal.data.formats import Chunk
from metamodal.data.roles import Roles
from metamodal.data.source import Source
from metamodal.data.target_kinds import SEPARATOR
from metamodal.data.writing import write_frames
from metamodal.predictor import Answers, Predictor

__all__ = ["Predicting", "names_in_json"]

_ROWS = 4096  # of a table that are in memory at a time
REASON = "reason"
"""The column that says why a row has no answer; only where a row has none."""


def names_in_json(predictor: Predictor) -> list[Any]:
    """The classes as values of JSON, numbers and booleans as such; names of labels and of numbers as they are."""
    known = predictor.model.targets
    return known.labels.python(predictor.labels) if known.kind == "classification" else list(predictor.labels)


class Predicting:
    """A predictor's answers to a table of any size, a part of its rows at a time.

    A row that cannot be predicted has missing values and a reason; `lacking` counts them.
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
        if not _write(self, target, reasons=self.unreadable == "absent"):
            _write(self, target, reasons=True)

    def document(self) -> list[dict[str, Any]]:
        """The rows of a JSON document."""
        row_of = _DOCUMENTS[self.predictor.kind]
        rows = []
        for answers in self.answers():
            for row, reason in zip(row_of(answers), answers.reasons):
                rows.append(row if reason is None else {**dict.fromkeys(row), REASON: reason})
        return rows


class _LateReasonError(Exception):
    """A row has a reason, and the rows before were written without the column for it."""


def _write(work: Predicting, target: str, *, reasons: bool) -> bool:
    """Whether all could be written with, or without, a column for reasons."""
    frame_of = _FRAMES[work.predictor.kind]

    def frames() -> Iterator[pd.DataFrame]:
        shown = reasons
        for number, answers in enumerate(work.answers()):
            lacks = answers.lacking.any()
            if lacks and not shown and number and target != "-":
                raise _LateReasonError
            shown |= bool(lacks) and not number
            frame = frame_of(answers)
            yield frame.assign(**{REASON: pd.array(answers.reasons, dtype="string")}) if shown else frame

    try:
        write_frames(frames(), target)
    except _LateReasonError:
        return False
    return True


def _table(predictor: Predictor, source: Source, chunk: Chunk) -> Dataset:
    """Some rows of the source of which only the modalities are looked at."""
    part = Source(source.name, source.base, lambda rows, report: iter([chunk]))
    return open_table(part, Roles(), predictor.model.roles.of_modalities())


def _class_frame(answers: Answers) -> pd.DataFrame:
    """The likeliest class with its probability, and that of each."""
    probabilities = answers.probabilities().reset_index(drop=True)
    frame = pd.DataFrame({"label": answers.labels()})
    frame["probability"] = probabilities.to_numpy().max(1)
    return pd.concat([frame, _named(probabilities)], axis=1)


def _class_rows(answers: Answers) -> Iterator[dict[str, Any]]:
    names = names_in_json(answers.predictor)
    for row in answers.probabilities().to_numpy():
        best = 0 if np.isnan(row).any() else int(row.argmax())
        yield {"label": names[best], "probabilities": dict(zip(names, map(float, row)))}


def _label_frame(answers: Answers) -> pd.DataFrame:
    """The labels above their thresholds, as one string, and the probability of each label."""
    names = [
        None if lacks else f"{SEPARATOR} ".join(row) for row, lacks in zip(_given(answers), answers.lacking)
    ]
    probabilities = answers.probabilities().reset_index(drop=True)
    return pd.concat([pd.DataFrame({"labels": names}), _named(probabilities)], axis=1)


def _label_rows(answers: Answers) -> Iterator[dict[str, Any]]:
    labels = answers.predictor.labels
    for names, row in zip(_given(answers), answers.probabilities().to_numpy()):
        yield {"labels": names, "probabilities": dict(zip(labels, map(float, row)))}


def _given(answers: Answers) -> list[list[str]]:
    labels = answers.predictor.labels
    return [[name for name, given in zip(labels, row) if given] for row in answers.labels()]


def _number_frame(answers: Answers) -> pd.DataFrame:
    """One column a number."""
    labels = list(answers.predictor.labels)
    return pd.DataFrame(np.asarray(answers.labels()).reshape(-1, len(labels)), columns=labels)


def _number_rows(answers: Answers) -> Iterator[dict[str, Any]]:
    for row in _number_frame(answers).to_dict("records"):
        yield {str(name): float(value) for name, value in row.items()}


def _named(probabilities: pd.DataFrame) -> pd.DataFrame:
    return probabilities.set_axis([f"p({label})" for label in probabilities.columns], axis=1)


_FRAMES: dict[str, Callable[[Answers], pd.DataFrame]] = {
    "classification": _class_frame,
    "multilabel": _label_frame,
    "regression": _number_frame,
}
_DOCUMENTS: dict[str, Callable[[Answers], Iterator[dict[str, Any]]]] = {
    "classification": _class_rows,
    "multilabel": _label_rows,
    "regression": _number_rows,
}
