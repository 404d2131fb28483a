"""What users do today, on the same episodes and features: scikit-learn on vectors.

Logistic regression and nearest centroid, on each modality, on all of them concatenated (absent
cells as zeros, the mean of standardised features), and fused late (the mean of the log-probabilities
of the modalities that a row has).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.types import Batch, Episode

__all__ = ["BASELINES", "Baseline", "baseline_logits"]

_PENALTY = 10.0


@dataclass(frozen=True)
class Baseline:
    """A peer's name and how it meets several modalities: `concatenated` or `late`."""

    name: str
    fusion: str


BASELINES = (
    Baseline("logistic_regression", "concatenated"),
    Baseline("logistic_regression", "late"),
    Baseline("nearest_centroid", "concatenated"),
)


def baseline_logits(baseline: Baseline, episodes: Episode) -> Float[Tensor, "t q k"]:
    """Log-probabilities of each query row; uniform where the baseline can say nothing.

    Args:
        episodes: a stack of episodes whose inputs are one vector a modality, `(t, n, f)`.
    """
    from threadpoolctl import threadpool_limits

    predict = _concatenated if baseline.fusion == "concatenated" else _late
    with threadpool_limits(1):  # the fits are tiny: more threads only wait for each other
        rows = [
            predict(baseline.name, *(_task(batch, t) for batch in episodes))
            for t in range(len(episodes.query.targets))
        ]
    return torch.from_numpy(np.stack(rows)).float()


def _task(batch: Batch, t: int) -> Batch:
    return Batch(
        {m: x[t] for m, x in batch.inputs.items()},
        {m: p[t] for m, p in batch.present.items()},
        batch.targets[t],
    )


def _concatenated(name: str, support: Batch, query: Batch) -> np.ndarray:
    def vectors(batch: Batch) -> np.ndarray:
        return torch.cat([x * batch.present[m][:, None] for m, x in batch.inputs.items()], 1).numpy()

    seen = torch.stack(list(support.present.values())).any(0).numpy()
    labels = support.targets.argmax(1).numpy()
    return _fitted(name, vectors(support)[seen], labels[seen], vectors(query), support.targets.shape[1])


def _late(name: str, support: Batch, query: Batch) -> np.ndarray:
    classes = support.targets.shape[1]
    total = np.zeros((len(query.targets), classes))
    voices = np.zeros((len(query.targets), 1))
    labels = support.targets.argmax(1).numpy()
    for m, x in support.inputs.items():
        seen = support.present[m].numpy()
        there = query.present[m].numpy()[:, None]
        total += there * _fitted(name, x.numpy()[seen], labels[seen], query.inputs[m].numpy(), classes)
        voices += there
    mean = total / np.maximum(voices, 1)
    return mean - np.logaddexp.reduce(mean, axis=1, keepdims=True)


def _fitted(name: str, x: np.ndarray, labels: np.ndarray, query: np.ndarray, classes: int) -> np.ndarray:
    """Log-probabilities `(q, k)`; a class without a support row gets the uniform share."""
    known = np.unique(labels)
    log_p = np.full((len(query), classes), -np.log(classes))
    if len(known) < 2:
        return log_p
    if name == "nearest_centroid":
        means = np.stack([x[labels == k].mean(0) for k in known])
        scores = -np.square(query[:, None] - means).sum(-1)
    else:
        x, query = _in_span(x, query)
        scores = _logistic(x, labels, query)
    scores = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    log_p[:, known] = scores + np.log(len(known) / classes)
    return log_p


def _in_span(x: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in the span of the support rows: the same ridge-penalised fit in fewer dimensions."""
    if x.shape[1] <= len(x):
        return x, query
    _, _, basis = np.linalg.svd(x.astype(np.float64), full_matrices=False)
    return x @ basis.T, query @ basis.T


def _logistic(x: np.ndarray, labels: np.ndarray, query: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegression(C=_PENALTY, max_iter=200).fit(x, labels)
    scores = model.decision_function(query)
    return np.stack([np.zeros_like(scores), scores], 1) if scores.ndim == 1 else scores
