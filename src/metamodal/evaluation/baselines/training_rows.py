"""Baselines that are fitted to the rows that a model was trained on, of all tasks at once, without the support.

A task with few rows should not be worse than these, where training had its classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.data.tasks.episodes import Draw
from metamodal.evaluation.baselines.fitting import class_fit, output_fit, quiet, rows_seen, vectors
from metamodal.evaluation.baselines.protocol import Predict, baselines
from metamodal.types import Batch

__all__ = ["TrainingRows"]

_NOTHING = -50.0  # a log-probability that no known class falls below


@dataclass(frozen=True)
class TrainingRows:
    """The rows that a model was trained and validated on.

    One fit a baseline and set of modalities serves every condition and protocol.

    Args:
        spaces: the rows as one vector a modality, by what made the vectors.
        labels: the class of each row, of classes.
        validation: which of the rows are validation rows. They choose settings of a fit to classes; labels and
            numbers are fitted to the others alone.
    """

    spaces: dict[str, Batch]
    labels: np.ndarray
    validation: np.ndarray
    _fits: dict[tuple[str, str, frozenset[str]], tuple[np.ndarray, Predict]] = field(default_factory=dict)

    def without_validation(self, features: str) -> Batch:
        """The rows to fit to where none choose."""
        return self.spaces[features].take(torch.from_numpy(np.flatnonzero(~self.validation)))

    def class_logits(self, name: str, features: str, query: Batch, draw: Draw) -> Float[Tensor, "t q k"]:
        """Log-probabilities of each query row among its episode's classes; next to none for a class that
        training did not have.

        Args:
            query: a stack `(t, q)` of rows, one vector a modality, of modalities that the training rows have.
        """
        classes, predict = self._fitted(name, "classification", features, query)
        scores = self._predicted(predict, "classification", query)
        place = {label: i for i, label in enumerate(classes)}
        result = np.full(query.targets.shape, _NOTHING)
        for t, names in enumerate(draw.names):
            known = [k for k, label in enumerate(names) if label in place]
            result[t][:, known] = np.maximum(scores[t][:, [place[names[k]] for k in known]], _NOTHING)
        return torch.from_numpy(result).float()

    def output_logits(self, name: str, kind: str, features: str, query: Batch) -> Float[Tensor, "t q k"]:
        """Log-odds of labels or standardised numbers of each query row."""
        _, predict = self._fitted(name, kind, features, query)
        return torch.from_numpy(self._predicted(predict, kind, query)).float()

    def _predicted(self, predict: Predict, kind: str, query: Batch) -> np.ndarray:
        x = vectors(query, kind)
        with quiet():
            return predict(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:2], -1)

    def _fitted(self, name: str, kind: str, features: str, query: Batch) -> tuple[np.ndarray, Predict]:
        key = (name, features, frozenset(query.inputs))
        if key not in self._fits:
            with quiet():
                self._fits[key] = self._fit(name, kind, features, query)
        return self._fits[key]

    def _fit(self, name: str, kind: str, features: str, query: Batch) -> tuple[np.ndarray, Predict]:
        baseline, modalities = baselines[name], list(query.inputs)
        if kind != "classification":  # rows without these modalities still teach the mean
            rows = self.without_validation(features).only(modalities)
            x, y = vectors(rows, kind), rows.targets.numpy()
            return np.arange(0), output_fit(baseline, kind, x, y, "training rows")
        rows = self.spaces[features].only(modalities)
        seen = rows_seen(rows)
        x, valid = vectors(rows, kind)[seen], self.validation[seen]
        return class_fit(baseline, x, self.labels[seen], "training rows", valid)
