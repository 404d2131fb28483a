"""What a baseline is: a method that is fitted to vectors of rows and predicts others, and the registry of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metamodal.registry import Registry

__all__ = ["Baseline", "FitRows", "Predict", "TrainedOn", "baselines", "baselines_for"]

TrainedOn = Literal["support", "training rows", "other folds"]
"""The rows that a baseline is fitted to: an episode's support, all rows that the model was trained on, or in
cross-validation the rows of the other folds."""

Predict = Callable[[np.ndarray], np.ndarray]
"""From vectors `(q, f)` to `(q, k)`: log-probabilities of classes up to a constant, log-odds of labels, numbers."""


@dataclass(frozen=True)
class FitRows:
    """The rows that a baseline is fitted to: two at least, and every target known.

    >>> rows = FitRows(np.zeros((3, 4)), np.array([0, 1, 1]), "classification")
    >>> rows.x.shape, rows.trained_on
    ((3, 4), 'support')

    Args:
        x: `(n, f)`, all features of a row side by side, zeros in place of absent cells.
        y: class numbers `(n,)` from 0, two classes at least and a row of each; or labels, 0 or 1, or standardised
            numbers, `(n, k)`. `k` is 1 unless the baseline takes several outputs; a label has both values.
        kind: `classification`, `multilabel` or `regression`.
        trained_on: where the rows come from.
        validation: `(n,)`, which rows may choose settings, as they chose among the candidates in training.
        seed: of what is random in the fit.
    """

    x: np.ndarray
    y: np.ndarray
    kind: str
    trained_on: TrainedOn = "support"
    validation: np.ndarray | None = None
    seed: int = 0


@dataclass(frozen=True)
class Baseline:
    """A method of prediction that `evaluate --baselines` measures on the same rows and features as the model.

    A fit gets all that it may see; a query row is predicted from its own vector alone. Another package brings a
    baseline by the entry point `metamodal.baseline`.

    >>> def majority(rows: FitRows) -> Predict:
    ...     counts = np.bincount(rows.y)
    ...     return lambda query: np.tile(np.log(counts), (len(query), 1))
    >>> Baseline(majority).fit(FitRows(np.zeros((3, 1)), np.array([0, 1, 1]), "classification"))(
    ...     np.zeros((1, 1))
    ... )
    array([[0.        , 0.69314718]])

    Args:
        fit: from rows to the function that predicts.
        targets: the kinds of target that it predicts.
        trained_on: the rows that it is measured with.
        late: whether it is measured fused late, too: fitted to each modality, log-probabilities averaged. For
            classes and the support.
        reads_modalities: whether the vectors matter; a baseline that ignores them is measured once.
        several_outputs: whether one fit predicts several numbers; else each has a fit of its own.
    """

    fit: Callable[[FitRows], Predict]
    targets: tuple[str, ...] = ("classification",)
    trained_on: tuple[TrainedOn, ...] = ("support",)
    late: bool = False
    reads_modalities: bool = True
    several_outputs: bool = False


baselines: Registry[Baseline] = Registry("baseline")
"""Baselines by name, each a `Baseline`: methods that `evaluate --baselines` measures beside the model."""


def baselines_for(kind: str, trained_on: TrainedOn) -> dict[str, Baseline]:
    """The baselines that predict this kind of target from these rows, by name."""
    each = {name: baselines[name] for name in baselines}
    return {name: b for name, b in each.items() if kind in b.targets and trained_on in b.trained_on}
