"""The population's answer: a linear classifier of all training rows of the classes, blind to the support.

What a task with few rows should not be worse than, where training knew its classes. It is logistic regression, or where
that would take minutes, for there are hundreds of classes, linear discriminant analysis, which is solved at once.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.data.dataset import Dataset
from metamodal.data.features.reading import Cells
from metamodal.data.tasks.episodes import Draw
from metamodal.data.tasks.splits import rows_of
from metamodal.evaluation.spaces import Encoding
from metamodal.model import MetaModel
from metamodal.types import Batch

__all__ = ["Population", "known_rows"]

_PENALTIES = (1.0, 10.0, 100.0)
_WORK = 3e8  # rows × classes × width, beyond which logistic regression takes minutes
_NOTHING = -50.0  # a log-probability that no known class falls below


@dataclass(frozen=True)
class Population:
    """Rows of classes that training knew, with their labels and which of them chose between fits.

    One fit a set of modalities serves every condition and protocol.
    """

    rows: Batch
    labels: np.ndarray
    valid: np.ndarray
    _fits: dict[frozenset[str], Any] = field(default_factory=dict)

    def logits(self, query: Batch, draw: Draw) -> Float[Tensor, "t q k"]:
        """Log-probabilities of each query row among its episode's classes; a class unknown gets next to none.

        Args:
            query: a stack `(t, q)` of rows, one vector a modality, of modalities that the rows have.
        """
        model = self._fitted(frozenset(query.inputs))
        shape, vectors = query.targets.shape, _vectors(query)
        scores = model.predict_log_proba(vectors.reshape(-1, vectors.shape[-1])).reshape(*shape[:2], -1)
        place = {label: i for i, label in enumerate(model.classes_)}
        found = np.full(shape, _NOTHING)
        for t, names in enumerate(draw.names):
            known = [k for k, name in enumerate(names) if name in place]
            found[t][:, known] = np.maximum(scores[t][:, [place[names[k]] for k in known]], _NOTHING)
        return torch.from_numpy(found).float()

    def _fitted(self, modalities: frozenset[str]) -> Any:
        if modalities not in self._fits:
            rows = self.rows.only(modalities)
            seen = _seen(rows)
            self._fits[modalities] = _fitted(_vectors(rows)[seen], self.labels[seen], self.valid[seen])
        return self._fits[modalities]


def known_rows(
    model: MetaModel, dataset: Dataset, unreadable: str, cells: Cells | None
) -> dict[str, Population]:
    """The rows that training knew, by features; none unless the model was trained on this table."""
    recorded = model.record.get("split")
    if not recorded or recorded["keys"] != dataset.keys().digest():
        return {}
    train, valid = (rows_of(recorded["rows"][part]) for part in ("train", "valid"))
    rows = np.concatenate([train, valid])
    encoding = Encoding(model, dataset, cells, unreadable, compared=True)
    _, spaces = encoding.of(encoding.raw(rows))
    chose = np.arange(len(rows)) >= len(train)
    return {features: Population(x, dataset.labels()[rows], chose) for features, x in spaces.items()}


def _fitted(x: np.ndarray, labels: np.ndarray, valid: np.ndarray) -> Any:
    """A fit to all rows with the penalty that does best on the validation rows."""
    if x.size * len(set(labels)) > _WORK:
        return _solved(x, labels)
    best = 10.0
    if valid.any() and not valid.all() and len(set(labels[~valid])) > 1:
        scores = [_fit(x[~valid], labels[~valid], c).score(x[valid], labels[valid]) for c in _PENALTIES]
        best = _PENALTIES[int(np.argmax(scores))]
    return _fit(x, labels, best)


def _fit(x: np.ndarray, labels: Sequence[str] | np.ndarray, penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LogisticRegression(C=penalty, max_iter=300).fit(x, labels)


def _solved(x: np.ndarray, labels: np.ndarray) -> Any:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x, labels)


def _vectors(batch: Batch) -> np.ndarray:
    return torch.cat([x * batch.present[m][..., None] for m, x in batch.inputs.items()], -1).numpy()


def _seen(batch: Batch) -> np.ndarray:
    return torch.stack(list(batch.present.values())).any(0).numpy()
