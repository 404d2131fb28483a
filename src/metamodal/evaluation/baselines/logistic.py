"""Logistic regression of classes, and of labels one by one."""

from __future__ import annotations

from typing import Any

import numpy as np

from metamodal.evaluation.baselines.protocol import Baseline, FitRows, Predict, baselines

__all__ = ["logistic_regression"]

_PENALTY = 10.0
_PENALTIES = (1.0, 10.0, 100.0)
_WORK = 3e8  # rows × classes × width, beyond which logistic regression takes minutes


def _fit(rows: FitRows) -> Predict:
    """Of hundreds of classes in many rows, linear discriminant analysis, which is solved at once."""
    if rows.trained_on == "other folds":
        return _predict(_scaled(rows), rows.kind)
    if rows.kind == "multilabel":
        penalty = 1.0 if rows.trained_on == "support" else 0.1
        return _predict(_logistic(rows.x, rows.y[:, 0], penalty, 200), rows.kind)
    if rows.trained_on == "support":
        return _on_support(rows)
    return _predict(_on_training_rows(rows), rows.kind)


def _predict(model: Any, kind: str) -> Predict:
    if kind == "multilabel":
        return lambda query: model.decision_function(query)[:, None]
    return lambda query: model.predict_log_proba(query)


def _logistic(x: np.ndarray, y: np.ndarray, penalty: float, steps: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=penalty, max_iter=steps).fit(x, y)


def _scaled(rows: FitRows) -> Any:
    from sklearn import linear_model, pipeline, preprocessing

    model = pipeline.make_pipeline(
        preprocessing.StandardScaler(), linear_model.LogisticRegression(max_iter=2000)
    )
    return model.fit(rows.x, rows.y if rows.kind == "classification" else rows.y[:, 0])


def _on_support(rows: FitRows) -> Predict:
    """Fitted in the span of few rows: the same ridge-penalised fit in fewer dimensions."""
    basis = None
    if rows.x.shape[1] > len(rows.x):
        _, _, basis = np.linalg.svd(rows.x.astype(np.float64), full_matrices=False)
    model = _logistic(rows.x if basis is None else rows.x @ basis.T, rows.y, _PENALTY, 200)

    def scores(query: np.ndarray) -> np.ndarray:
        values = model.decision_function(query if basis is None else query @ basis.T)
        return np.stack([np.zeros_like(values), values], 1) if values.ndim == 1 else values

    return scores


def _on_training_rows(rows: FitRows) -> Any:
    """Fitted to all rows, with the penalty that does best on the validation rows."""
    x, y = rows.x, rows.y
    if x.size * (y.max() + 1) > _WORK:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x, y)
    best, valid = _PENALTY, rows.validation
    if valid is not None and valid.any() and not valid.all() and len(set(y[~valid])) > 1:
        scores = [_logistic(x[~valid], y[~valid], c, 300).score(x[valid], y[valid]) for c in _PENALTIES]
        best = _PENALTIES[int(np.argmax(scores))]
    return _logistic(x, y, best, 300)


logistic_regression = baselines.register("logistic_regression")(
    Baseline(
        _fit,
        targets=("classification", "multilabel"),
        trained_on=("support", "training rows", "other folds"),
        late=True,
    )
)
"""scikit-learn's logistic regression of classes, and of labels one by one; many classes in many rows by linear
discriminant analysis, which is solved at once.
"""
