"""What retrieval is compared with: canonical correlation and ridge regression on generic features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metamodal.types import Batch

__all__ = ["PROJECTIONS", "Pair"]

Pair = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Queries and cells as vectors of one space."""

_FEWEST = 20  # training rows with both modalities
_WIDEST = 256  # principal components of one modality
_WIDTHS = (8, 16, 32, 64, 128, 256)
_PENALTIES = np.logspace(-4, 2, 7)


def cca(known: Batch, a: str, b: str) -> Pair | None:
    """Canonical variates of both, weighed by their correlation (Hotelling, 1936): whitened principal
    components, and the singular value decomposition of what they have in common.

    How many components there are is what finds most of a fifth of the training rows, fitted to the others.
    """
    x, y = _both(known, a, b)
    if len(x) < _FEWEST:
        return None
    order = np.random.default_rng(0).permutation(len(x))
    held, rest = order[: len(x) // 5], order[len(x) // 5 :]
    widths = [w for w in _WIDTHS if w <= min(len(rest) // 2, x.shape[1], y.shape[1])] or [1]

    def found(width: int) -> float:
        u, v = _canonical(x[rest], y[rest], width)(x[held], y[held])
        scores = _unit(u) @ _unit(v).T
        return float(np.mean(1 / (1 + (scores > np.diag(scores)[:, None]).sum(1))))

    return _on_tensors(_canonical(x, y, max(widths, key=found)))


def ridge_regression(known: Batch, a: str, b: str) -> Pair | None:
    """The target's features predicted from the source's principal components, penalty by leave-one-out;
    both are compared less their mean."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import RidgeCV

    x, y = _both(known, a, b)
    if len(x) < _FEWEST:
        return None
    components = PCA(min(_WIDEST, *x.shape), random_state=0).fit(x)
    ridge = RidgeCV(alphas=_PENALTIES).fit(components.transform(x), y)
    mean = y.mean(0)
    return _on_tensors(
        lambda x, y: (ridge.predict(components.transform(x)).reshape(y.shape) - mean, y - mean)
    )


PROJECTIONS: dict[str, Callable[[Batch, str, str], Pair | None]] = {
    "cca": cca,
    "ridge_regression": ridge_regression,
}
"""Fits to training rows by name; `None` where too few rows have both modalities."""

_Arrays = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _canonical(x: np.ndarray, y: np.ndarray, width: int) -> _Arrays:
    from sklearn.decomposition import PCA

    sides: list[Any] = [PCA(width, whiten=True, random_state=0).fit(z) for z in (x, y)]
    u, shared, vt = np.linalg.svd(sides[0].transform(x).T @ sides[1].transform(y) / len(x))
    return lambda x, y: (sides[0].transform(x) @ u * shared, sides[1].transform(y) @ vt.T * shared)


def _both(known: Batch, a: str, b: str) -> tuple[np.ndarray, np.ndarray]:
    there = known.present[a] & known.present[b]
    return known.inputs[a][there].double().numpy(), known.inputs[b][there].double().numpy()


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _on_tensors(project: _Arrays) -> Pair:
    def pair(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        x, y = project(a.double().numpy(), b.double().numpy())
        return torch.from_numpy(x), torch.from_numpy(y)

    return pair
