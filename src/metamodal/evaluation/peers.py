"""What users do today with labels and numbers, on the same episodes and features: scikit-learn on vectors.

The mean of the support's targets; ridge (of labels logistic) regression on the support alone; and the
same on all training rows at once, blind to the task. All modalities are concatenated, absent cells
as zeros.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.types import Batch, Episode

__all__ = ["peer_logits", "peers_of"]

_ALPHAS = np.logspace(-2, 5, 8)
_EDGE = 1e-3  # how near to 0 or 1 a frequency counts as

Answer = Callable[[np.ndarray], np.ndarray]


def peers_of(kind: str, crowd: Batch | None) -> tuple[str, ...]:
    """The names of the baselines for labels or numbers; the last needs the training rows, `crowd`."""
    method = "logistic" if kind == "multilabel" else "ridge"
    names = ("support_mean", f"{method}_on_support", f"{method}_on_training_rows")
    return names if crowd is not None else names[:2]


def peer_logits(
    name: str, kind: str, episodes: Episode, crowd: Batch | None = None
) -> Float[Tensor, "t q k"]:
    """Log-odds of labels or standardised numbers for each query row; 0 where nothing is known.

    Args:
        episodes: a stack of episodes whose inputs are one vector a modality, `(t, n, f)`.
        crowd: the training rows, for the baseline that learns from all of them.
    """
    from threadpoolctl import threadpool_limits

    query = _vectors(episodes.query)
    with threadpool_limits(1):  # the fits are tiny: more threads only wait for each other
        if name.endswith("training_rows"):
            assert crowd is not None
            answer = _fitted(kind, _vectors(crowd), crowd.targets.numpy(), tuned=True)
            found = answer(query.reshape(-1, query.shape[-1])).reshape(*query.shape[:2], -1)
        else:
            found = np.stack(list(_by_support(name, kind, episodes.support, query)))
    return torch.from_numpy(found).float()


def _by_support(name: str, kind: str, support: Batch, query: np.ndarray) -> Iterator[np.ndarray]:
    vectors, targets = _vectors(support), support.targets.numpy()
    seen = torch.stack(list(support.present.values())).any(0).numpy()
    for x, y, there, asked in zip(vectors, targets, seen, query):
        if name == "support_mean":
            yield np.broadcast_to(_mean(kind, y[there]), (len(asked), y.shape[1]))
        else:
            yield _fitted(kind, x[there], y[there])(asked)


def _vectors(batch: Batch) -> np.ndarray:
    parts = [x * batch.present[m][..., None] for m, x in batch.inputs.items()]
    return torch.cat(parts, -1).double().numpy()


def _mean(kind: str, y: np.ndarray) -> np.ndarray:
    known = ~np.isnan(y)
    mean = np.where(known, y, 0).sum(0) / np.maximum(known.sum(0), 1)
    if kind == "regression":
        return mean
    share = np.clip(mean, _EDGE, 1 - _EDGE)
    return np.where(known.any(0), np.log(share / (1 - share)), 0.0)


def _fitted(kind: str, x: np.ndarray, y: np.ndarray, *, tuned: bool = False) -> Answer:
    """Predictions of each output from the rows that know it; outputs that know the same rows at once."""
    fit = _logistic if kind == "multilabel" else _ridge
    known = ~np.isnan(y)
    if kind == "regression" and known.all() and len(x):
        return fit(x, y, tuned)
    each = [fit(x[known[:, k]], y[known[:, k], k : k + 1], tuned) for k in range(y.shape[1])]
    return lambda query: np.concatenate([answer(query) for answer in each], 1)


def _ridge(x: np.ndarray, y: np.ndarray, tuned: bool) -> Answer:
    from sklearn.linear_model import Ridge, RidgeCV

    if len(x) < 2:
        return _constant(_mean("regression", y))
    model: Any = RidgeCV(alphas=_ALPHAS) if tuned else Ridge()
    model.fit(x, y)
    return lambda query: model.predict(query).reshape(len(query), -1)


def _logistic(x: np.ndarray, y: np.ndarray, tuned: bool) -> Answer:
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(y)) < 2:
        return _constant(_mean("multilabel", y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegression(C=0.1 if tuned else 1.0, max_iter=200).fit(x, y[:, 0])
    return lambda query: model.decision_function(query)[:, None]


def _constant(values: np.ndarray) -> Answer:
    return lambda query: np.broadcast_to(values, (len(query), len(values)))
