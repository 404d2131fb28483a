"""Baselines of retrieval: canonical correlation and ridge regression between the generic features of two modalities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metamodal.registry import Registry
from metamodal.types import Batch

__all__ = ["Pair", "RetrievalBaseline", "retrieval_baselines"]

Pair = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From the features of queries and of cells to vectors of one space."""

RetrievalBaseline = Callable[[Batch, str, str], Pair | None]
"""From training rows and the names of two modalities to a pair; `None` where too few rows have both."""

retrieval_baselines: Registry[RetrievalBaseline] = Registry("retrieval_baseline")
"""Baselines of retrieval by name: from training rows and two modalities to a pair of functions into one space."""

_FEWEST = 20  # training rows with both modalities
_WIDEST = 256  # principal components of one modality
_WIDTHS = (8, 16, 32, 64, 128, 256)
_PENALTIES = np.logspace(-4, 2, 7)


@retrieval_baselines.register("cca")
def cca(rows: Batch, a: str, b: str) -> Pair | None:
    """Canonical variates of both, weighted by their correlation (Hotelling, 1936): whitened principal
    components, and the singular value decomposition of what they have in common.

    The number of components is the one that ranks a fifth of the training rows best, fitted to the others.
    """
    x, y = _both(rows, a, b)
    if len(x) < _FEWEST:
        return None
    order = np.random.default_rng(0).permutation(len(x))
    held, rest = order[: len(x) // 5], order[len(x) // 5 :]
    widths = [w for w in _WIDTHS if w <= min(len(rest) // 2, x.shape[1], y.shape[1])] or [1]

    def score(width: int) -> float:
        u, v = _canonical(x[rest], y[rest], width)(x[held], y[held])
        scores = _unit(u) @ _unit(v).T
        return float(np.mean(1 / (1 + (scores > np.diag(scores)[:, None]).sum(1))))

    return _on_tensors(_canonical(x, y, max(widths, key=score)))


@retrieval_baselines.register("ridge_regression")
def ridge_regression(rows: Batch, a: str, b: str) -> Pair | None:
    """The target's features predicted from the source's principal components, penalty by leave-one-out;
    both are compared less their mean."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import RidgeCV

    x, y = _both(rows, a, b)
    if len(x) < _FEWEST:
        return None
    components = PCA(min(_WIDEST, *x.shape), random_state=0).fit(x)
    ridge = RidgeCV(alphas=_PENALTIES).fit(components.transform(x), y)
    mean = y.mean(0)
    return _on_tensors(
        lambda x, y: (ridge.predict(components.transform(x)).reshape(y.shape) - mean, y - mean)
    )


_Arrays = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _canonical(x: np.ndarray, y: np.ndarray, width: int) -> _Arrays:
    from sklearn.decomposition import PCA

    sides: list[Any] = [PCA(width, whiten=True, random_state=0).fit(z) for z in (x, y)]
    u, shared, vt = np.linalg.svd(sides[0].transform(x).T @ sides[1].transform(y) / len(x))
    return lambda x, y: (sides[0].transform(x) @ u * shared, sides[1].transform(y) @ vt.T * shared)


def _both(rows: Batch, a: str, b: str) -> tuple[np.ndarray, np.ndarray]:
    both = rows.present[a] & rows.present[b]
    return rows.inputs[a][both].double().numpy(), rows.inputs[b][both].double().numpy()


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _on_tensors(project: _Arrays) -> Pair:
    def pair(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        x, y = project(a.double().numpy(), b.double().numpy())
        return torch.from_numpy(x), torch.from_numpy(y)

    return pair
