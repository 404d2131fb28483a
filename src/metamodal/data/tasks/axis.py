"""Whether the numbers of lists that are all as long are steps along an axis, or places without an order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["SMOOTH", "roughness"]

SMOOTH = 0.5
"""Roughness below which lists are a series: noise and embeddings have 1, a random walk 0.1."""
_SHORTEST = 8  # numbers in a list; of fewer neither an order nor its absence shows
_ROWS = 200


def roughness(cells: Sequence[Any]) -> float:
    """How much neighbouring numbers of a list differ, as a share of what any two of them do.

    The ratio of von Neumann (1941), halved: the mean squared difference of neighbours over twice the
    variance. It is the larger of two: of each list about its own mean, and of the lists with every place
    standardised over the rows, so that neither a list's level nor the scales of places pass for an order.
    1 where it is not known: in short lists, a single row, or where a number is missing.

    >>> wave = np.sin(np.linspace(0, 6, 50))
    >>> round(roughness([wave, -wave]), 2)
    0.05
    """
    try:
        lists = np.array([np.asarray(cell, dtype=float) for cell in cells[:_ROWS]])
    except (TypeError, ValueError):
        return 1.0
    if lists.ndim != 2 or lists.shape[1] < _SHORTEST or len(lists) < 2 or not np.isfinite(lists).all():
        return 1.0
    largest = float(np.abs(lists).max()) or 1.0
    lists = lists / largest
    scale = lists.std(0)
    places = (lists - lists.mean(0)) / np.where(scale > 0, scale, 1)
    return max(_ratio(lists), _ratio(places))


def _ratio(lists: np.ndarray) -> float:
    about = lists - lists.mean(1, keepdims=True)
    spread = 2 * (about**2).mean()
    return float((np.diff(about, axis=1) ** 2).mean() / spread) if spread > 1e-20 else 1.0
