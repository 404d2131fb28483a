"""Baselines fitted to rows as they are: with classes that have none, targets unknown, and cells absent."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.evaluation.baselines.mean import constant
from metamodal.evaluation.baselines.protocol import Baseline, FitRows, Predict, TrainedOn
from metamodal.types import Batch, Episode

__all__ = ["class_fit", "output_fit", "quiet", "rows_seen", "support_logits", "vectors"]


@contextmanager
def quiet() -> Iterator[None]:
    """Without scikit-learn's warnings of fits that have not converged, and on one thread.

    The fits are tiny: more threads only wait for each other.
    """
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        yield


def support_logits(
    baseline: Baseline, kind: str, episodes: Episode, fusion: str | None = None
) -> Float[Tensor, "t q k"]:
    """A baseline's logits of each query row, fitted to the support of its episode.

    Uniform where the support has one class; the mean where a label or number has one value.

    Args:
        episodes: a stack of episodes whose inputs are one vector a modality, `(t, n, f)`.
        fusion: `late` to fit each modality by itself.
    """
    predict = _late if fusion == "late" else _together
    with quiet():
        rows = [
            predict(baseline, kind, *(batch.some(t) for batch in episodes))
            for t in range(len(episodes.query.targets))
        ]
    return torch.from_numpy(np.stack(rows)).float()


def class_fit(
    baseline: Baseline,
    x: np.ndarray,
    labels: np.ndarray,
    trained_on: TrainedOn,
    validation: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, Predict]:
    """The classes that rows have, sorted, and what gives the log-probability of each."""
    names, codes = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        return names, lambda query: np.zeros((len(query), len(names)))
    predict = baseline.fit(FitRows(x, codes, "classification", trained_on, validation, seed))

    def log_probabilities(query: np.ndarray) -> np.ndarray:
        scores = predict(query)
        return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)

    return names, log_probabilities


def output_fit(
    baseline: Baseline, kind: str, x: np.ndarray, y: np.ndarray, trained_on: TrainedOn, seed: int = 0
) -> Predict:
    """What gives labels or numbers, each fitted to the rows that know it; NaN is unknown."""
    known = ~np.isnan(y)
    if baseline.several_outputs and known.all() and len(x) > 1:
        return baseline.fit(FitRows(x, y, kind, trained_on, seed=seed))

    def one(x: np.ndarray, y: np.ndarray) -> Predict:
        if len(x) < 2 or (kind == "multilabel" and len(np.unique(y)) < 2):
            return constant(kind, y)
        return baseline.fit(FitRows(x, y, kind, trained_on, seed=seed))

    each = [one(x[known[:, k]], y[known[:, k], k : k + 1]) for k in range(y.shape[1])]
    return lambda query: np.concatenate([predict(query) for predict in each], 1)


def vectors(batch: Batch, kind: str) -> np.ndarray:
    """All modalities side by side, `(*n, f)`, absent cells as zeros: the mean of standardised features."""
    x = torch.cat([x * batch.present[m][..., None] for m, x in batch.inputs.items()], -1)
    return (x if kind == "classification" else x.double()).numpy()


def rows_seen(batch: Batch) -> np.ndarray:
    """Which rows have at least one modality."""
    return torch.stack(list(batch.present.values())).any(0).numpy()


def _together(baseline: Baseline, kind: str, support: Batch, query: Batch) -> np.ndarray:
    seen = rows_seen(support)
    x, targets, queries = vectors(support, kind)[seen], support.targets.numpy()[seen], vectors(query, kind)
    if kind == "classification":
        return _of_classes(baseline, x, targets, queries)
    return output_fit(baseline, kind, x, targets, "support")(queries)


def _late(baseline: Baseline, kind: str, support: Batch, query: Batch) -> np.ndarray:
    """The mean of the log-probabilities of the modalities that a row has."""
    total = np.zeros((len(query.targets), support.targets.shape[1]))
    counts = np.zeros((len(query.targets), 1))
    for m, x in support.inputs.items():
        seen, present = support.present[m], query.present[m].numpy()[:, None]
        y, queries = support.targets[seen].numpy(), query.inputs[m].numpy()
        log_p = _of_classes(baseline, x[seen].numpy(), y, queries)
        total += present * log_p
        counts += present
    mean = total / np.maximum(counts, 1)
    return mean - np.logaddexp.reduce(mean, axis=1, keepdims=True)


def _of_classes(baseline: Baseline, x: np.ndarray, targets: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Log-probabilities `(q, k)`; a class without a support row gets the uniform share."""
    classes = targets.shape[1]
    log_p = np.full((len(query), classes), -np.log(classes))
    known, predict = class_fit(baseline, x, targets.argmax(1), "support")
    if len(known) > 1:
        log_p[:, known] = predict(query) + np.log(len(known) / classes)
    return log_p
