"""Ridge regression of numbers: of scikit-learn's default penalty on few rows, chosen by leave-one-out on many."""

from __future__ import annotations

from typing import Any

import numpy as np

from metamodal.evaluation.baselines.protocol import Baseline, FitRows, Predict, baselines

__all__ = ["ridge_regression"]


def _fit(rows: FitRows) -> Predict:
    model = _estimator(rows).fit(rows.x, rows.y)
    return lambda query: model.predict(query).reshape(len(query), -1)


def _estimator(rows: FitRows) -> Any:
    from sklearn import linear_model, pipeline, preprocessing

    if rows.trained_on == "support":
        return linear_model.Ridge()
    if rows.trained_on == "training rows":
        return linear_model.RidgeCV(alphas=np.logspace(-2, 5, 8))
    model = linear_model.RidgeCV(np.logspace(-2, 4, 13), alpha_per_target=True)
    return pipeline.make_pipeline(preprocessing.StandardScaler(), model)


ridge_regression = baselines.register("ridge_regression")(
    Baseline(
        _fit,
        targets=("regression",),
        trained_on=("support", "training rows", "other folds"),
        several_outputs=True,
    )
)
"""scikit-learn's ridge regression of numbers; on many rows leave-one-out chooses the penalty."""
