"""Embeddings as bars: the dimensions of a vector against the mean of its column."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from markupsafe import Markup

from metamodal.reporting.pictures.svg import coordinate, svg

__all__ = ["embedding_brush"]

_BARS = 32


def embedding_brush(values: Iterator[np.ndarray]) -> Callable[[np.ndarray], Markup]:
    """What draws the vectors of a column of which `values` are some."""
    vectors = list(values)
    alike = [v for v in vectors if len(v) == len(vectors[0])]
    if not alike:
        return partial(_bars, np.zeros(0), np.zeros(0))
    return partial(_bars, np.mean(alike, axis=0), np.std(alike, axis=0))


def _bars(mean: np.ndarray, std: np.ndarray, value: np.ndarray) -> Markup:
    """How far dimensions are from the column's mean, neighbours as one bar, up or down from the middle."""
    if value.shape == mean.shape:
        value = np.divide(value - mean, std, out=np.zeros_like(value), where=std > 0)
    parts = np.array([part.mean() for part in np.array_split(value, min(_BARS, len(value)))])
    heights = parts / max(float(np.abs(parts).max()), 1e-9) * 22
    width = 72 / len(heights)
    path = "".join(
        f"M{coordinate((i + 0.5) * width)} 24v{coordinate(-h)}" for i, h in enumerate(heights.tolist())
    )
    drawing = Markup('<path class="bars" stroke-width="{}" d="{}"/>').format(coordinate(0.7 * width), path)
    return svg(72, 48, drawing, f"{len(value)} numbers")
