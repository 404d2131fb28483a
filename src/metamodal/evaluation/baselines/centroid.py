"""Nearest centroid: the class whose mean is nearest."""

from __future__ import annotations

import numpy as np

from metamodal.evaluation.baselines.protocol import Baseline, FitRows, Predict, baselines

__all__ = ["nearest_centroid"]


def _fit(rows: FitRows) -> Predict:
    """Scores are negative squared distances to the class means."""
    means = np.stack([rows.x[rows.y == k].mean(0) for k in range(rows.y.max() + 1)])
    return lambda query: -np.square(query[:, None] - means).sum(-1)


nearest_centroid = baselines.register("nearest_centroid")(Baseline(_fit))
"""The class whose mean is nearest; scores are negative squared distances."""
