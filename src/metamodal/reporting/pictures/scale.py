"""What is usual in a column of steps, and steps as a heat map on that scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from metamodal.reporting.pictures.pixels import shaded, shrunk

__all__ = ["heat", "scaled", "usual_range"]


def usual_range(values: Sequence[np.ndarray]) -> np.ndarray:
    """The 1 % and 99 % quantiles of each channel, `(2, channels)`, of cells of steps × channels.

    Cells of other channels than the first do not count; NaN is no value.
    """
    alike = [np.asarray(v) for v in values if v.shape[1] == values[0].shape[1]]
    if not alike:
        return np.zeros((2, 0))
    channels = (c[~np.isnan(c)] for c in np.concatenate(alike).astype(np.float64).T)
    low, high = np.array([np.quantile(c, [0.01, 0.99]) if len(c) else [0.0, 1.0] for c in channels]).T
    return np.stack([low, np.where(high > low, high, low + 1)])


def scaled(usual: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Values between 0 and 1; a cell with other channels than its column goes by its own extremes."""
    low, high = usual if value.shape[1] == usual.shape[1] else usual_range([value])
    return np.clip((np.asarray(value, dtype=np.float64) - low) / np.maximum(high - low, 1e-9), 0, 1)


def heat(usual: np.ndarray, value: np.ndarray, title: str) -> Markup:
    """Steps from left to right, a row of pixels for each channel, dark where high."""
    return shaded(shrunk(scaled(usual, value).T, 48, 72), title)
