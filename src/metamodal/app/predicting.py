"""What the command predict writes: a frame, and the rows of a JSON document, for each kind of target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from metamodal.data.dataset import Dataset
from metamodal.data.target_kinds import SEPARATOR
from metamodal.predictor import Predictor

__all__ = ["PREDICTED", "names_in_json"]


def names_in_json(predictor: Predictor) -> list[Any]:
    """The classes as values of JSON, numbers and booleans as such; names of labels and of numbers as they are."""
    known = predictor.model.targets
    return known.labels.python(predictor.labels) if known.kind == "classes" else list(predictor.labels)


Predicted = tuple[pd.DataFrame, list[dict[str, Any]]]


def _classes(predictor: Predictor, table: Dataset) -> Predicted:
    """The likeliest class with its probability, and that of each."""
    probabilities = predictor.predict_proba(table)
    labels = names_in_json(predictor)
    best = probabilities.to_numpy().argmax(1)
    frame = pd.DataFrame({"label": predictor.classes[best]})
    frame["probability"] = probabilities.to_numpy().max(1)
    rows = [
        {"label": labels[i], "probabilities": dict(zip(labels, map(float, row)))}
        for i, row in zip(best, probabilities.to_numpy())
    ]
    return pd.concat([frame, _named(probabilities)], axis=1), rows


def _labels(predictor: Predictor, table: Dataset) -> Predicted:
    """The labels likelier than not, as one string, and the probability of each label."""
    probabilities = predictor.predict_proba(table)
    limits = predictor.thresholds or (0.5,) * len(predictor.labels)
    found = [
        [name for name, share, limit in zip(predictor.labels, row, limits) if share > limit]
        for row in probabilities.to_numpy()
    ]
    frame = pd.DataFrame({"labels": [f"{SEPARATOR} ".join(names) for names in found]})
    rows = [
        {"labels": names, "probabilities": dict(zip(predictor.labels, map(float, row)))}
        for names, row in zip(found, probabilities.to_numpy())
    ]
    return pd.concat([frame, _named(probabilities)], axis=1), rows


def _numbers(predictor: Predictor, table: Dataset) -> Predicted:
    """One column a number."""
    values = np.asarray(predictor.predict(table)).reshape(len(table), -1)
    frame = pd.DataFrame(values, columns=list(predictor.labels))
    return frame, [dict(zip(predictor.labels, map(float, row))) for row in values]


def _named(probabilities: pd.DataFrame) -> pd.DataFrame:
    return probabilities.set_axis([f"p({label})" for label in probabilities.columns], axis=1)


PREDICTED: dict[str, Callable[[Predictor, Dataset], Predicted]] = {
    "classes": _classes,
    "labels": _labels,
    "numbers": _numbers,
}
"""What is written of a predictor's answers, by the kind of its target."""
