"""The mean of the targets, the same for every query row."""

from __future__ import annotations

import numpy as np

from metamodal.evaluation.baselines.protocol import Baseline, FitRows, Predict, baselines

__all__ = ["constant", "support_mean"]

_EDGE = 1e-3  # how near to 0 or 1 a frequency counts as


def constant(kind: str, y: np.ndarray) -> Predict:
    """The mean of `y` `(n, k)`, of labels as log-odds; 0 without rows."""
    mean = y.sum(0) / max(len(y), 1)
    if kind == "multilabel":
        share = np.clip(mean, _EDGE, 1 - _EDGE)
        mean = np.log(share / (1 - share)) if len(y) else np.zeros_like(mean)
    return lambda query: np.broadcast_to(mean, (len(query), len(mean)))


def _fit(rows: FitRows) -> Predict:
    return constant(rows.kind, rows.y)


support_mean = baselines.register("support_mean")(
    Baseline(_fit, targets=("multilabel", "regression"), reads_modalities=False)
)
"""The mean of the support's labels or numbers, the same for every query row."""
