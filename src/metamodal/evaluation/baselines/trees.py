"""Random forests and gradient-boosted trees, as scikit-learn's users start with them, in cross-validation."""

from __future__ import annotations

from typing import Any

import numpy as np

from metamodal.evaluation.baselines.protocol import Baseline, FitRows, Predict, baselines

__all__ = ["gradient_boosting", "random_forest"]


def _forest(rows: FitRows) -> Predict:
    from sklearn import ensemble

    kind = ensemble.RandomForestRegressor if rows.kind == "regression" else ensemble.RandomForestClassifier
    return _predict(kind(random_state=rows.seed), rows)


def _boosted(rows: FitRows) -> Predict:
    from sklearn import ensemble

    of_numbers, of_classes = ensemble.HistGradientBoostingRegressor, ensemble.HistGradientBoostingClassifier
    kind = of_numbers if rows.kind == "regression" else of_classes
    return _predict(kind(random_state=rows.seed), rows)


def _predict(model: Any, rows: FitRows) -> Predict:
    model.fit(rows.x, rows.y if rows.kind == "classification" else rows.y[:, 0])
    if rows.kind == "regression":
        return lambda query: model.predict(query)[:, None]

    def log_probabilities(query: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):  # a forest may give a class no vote
            log_p = np.log(model.predict_proba(query))
        return log_p if rows.kind == "classification" else log_p[:, 1:] - log_p[:, :1]

    return log_probabilities


_KINDS = ("classification", "multilabel", "regression")

random_forest = baselines.register("random_forest")(
    Baseline(_forest, targets=_KINDS, trained_on=("other folds",))
)
"""scikit-learn's random forest with its default options, in cross-validation."""
gradient_boosting = baselines.register("gradient_boosting")(
    Baseline(_boosted, targets=_KINDS, trained_on=("other folds",))
)
"""scikit-learn's histogram gradient boosting with its default options, in cross-validation."""
