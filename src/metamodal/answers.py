"""What is predicted of each row: logits, probabilities, labels, and why a row has no answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from metamodal.data.schema.targets import Targets

__all__ = ["Answers"]


@dataclass(frozen=True)
class Answers:
    """The logits `(n, k)` of rows; a row that has a reason has no answer.

    `names` are the classes, the labels or the columns of numbers, one a logit; `thresholds` the probability from
    which on each label is given, ½ where there are none.
    """

    targets: Targets
    names: tuple[str, ...]
    thresholds: tuple[float, ...]
    logits: Tensor
    reasons: tuple[str | None, ...]
    index: pd.Index | None = None

    @property
    def lacking(self) -> np.ndarray:
        """Which rows have no answer."""
        return np.array([reason is not None for reason in self.reasons], dtype=bool)

    def probabilities(self) -> pd.DataFrame:
        """Of classes or labels, one column each; missing values where there is no answer."""
        classes, logits = self.targets.has_classes, self.logits.double()
        values = torch.softmax(logits, -1).numpy() if classes else self.targets.decode(logits)
        values[self.lacking] = np.nan
        names = _index_of(self.targets.labels.labels(self.names)) if classes else list(self.names)
        return pd.DataFrame(values, columns=names, index=self.index)

    def labels(self) -> Any:
        """What `Predictor.predict` returns."""
        if self.targets.has_classes:
            return self.likeliest(self.targets.labels.labels(self.names))
        lacking, values = self.lacking, self.targets.decode(self.logits.double())
        if self.targets.output.has_probabilities:
            return _with_gaps(values > (np.array(self.thresholds) if self.thresholds else 0.5), lacking)
        values[lacking] = np.nan
        return values[:, 0] if values.shape[1] == 1 else values

    def likeliest(self, classes: Any) -> Any:
        """The likeliest class of each row, of the classes in any spelling."""
        return _with_gaps(classes[self.logits.argmax(1).numpy()], self.lacking)


def _index_of(classes: Any) -> pd.Index:
    """Classes as names of columns; pandas has no index of half floats."""
    return pd.Index(classes.astype(np.float32) if classes.dtype == np.float16 else classes)


def _with_gaps(values: Any, lacking: np.ndarray) -> Any:
    """Values with missing ones in some rows; without such rows in their own dtype."""
    if not lacking.any():
        return values
    if isinstance(values, np.ndarray) and values.dtype.kind in "mM":
        return np.where(lacking, np.array("NaT", values.dtype), values)
    if isinstance(values, np.ndarray):
        values = values.astype(object)
        values[lacking] = None
        return values
    at = np.where(lacking, -1, np.arange(len(values)))
    return pd.api.extensions.take(values, at, allow_fill=True)
