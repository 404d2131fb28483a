"""The untrained classifier and regressor from one row a class to all rows, beside scikit-learn's on the same columns.

Each point draws `--draws` supports of so many rows a class (of numbers: so many rows in all) from a table of scikit-learn's
and predicts up to 400 other rows. Ours is `mm.Classifier()` and `mm.Regressor()` as they come. The peers get standardised
columns; where cells are missing, also their mean and which are missing. One JSON line a point: accuracy (or R²) and log
loss of each, the best peer's lead with its 95 % interval over draws, and milliseconds of fit and predict.

    python benchmarks/learning_curves.py --tables iris,wine --draws 20
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn import datasets
from sklearn.base import clone
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss, r2_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

import metamodal as mm
from measured import print_line

CLASSES = ("iris", "wine", "breast_cancer", "digits", "weather")
NUMBERS = ("diabetes",)
SHOTS = (1, 2, 5, 10, 20, 50, 100, None)
QUERY = 400
CLASSIFIERS: dict[str, Any] = {
    "logistic regression": LogisticRegression(max_iter=500),
    "support vectors": SVC(),
    "nearest neighbours": KNeighborsClassifier(),
    "random forest": RandomForestClassifier(100, random_state=0),
    "extra trees": ExtraTreesClassifier(100, random_state=0),
    "boosting": HistGradientBoostingClassifier(random_state=0),
}
REGRESSORS: dict[str, Any] = {
    "ridge": RidgeCV(),
    "support vectors": SVR(),
    "nearest neighbours": KNeighborsRegressor(),
    "random forest": RandomForestRegressor(100, random_state=0),
    "extra trees": ExtraTreesRegressor(100, random_state=0),
    "boosting": HistGradientBoostingRegressor(random_state=0),
}


def table(name: str) -> tuple[pd.DataFrame, np.ndarray]:
    if name == "weather":
        return weather()
    found = getattr(datasets, f"load_{name}")(as_frame=True)
    return found.data, found.target.to_numpy()


def weather(rows: int = 1500, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Days of five kinds, two of them common: skewed columns, and a quarter of the labels drawn anew."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(5, rows, p=[0.43, 0.44, 0.07, 0.04, 0.02])
    rain = np.where(np.isin(kinds, [1, 4]), rng.gamma(1.2, 5, rows), 0.0)
    warm = 14 + 6 * rng.normal(size=rows) + np.array([4, -1, 0, -1, -12])[kinds]
    frame = pd.DataFrame(
        {
            "precipitation": rain,
            "temp_max": warm,
            "temp_min": warm - rng.gamma(4, 2, rows),
            "wind": rng.gamma(5, 0.6, rows) + 0.5 * (kinds == 1),
        }
    )
    swapped = rng.random(rows) < 0.25
    return frame, np.where(swapped, rng.choice(5, rows, p=[0.43, 0.44, 0.07, 0.04, 0.02]), kinds)


def drawn(y: np.ndarray, shots: int | None, classes: bool, rng: np.random.Generator) -> tuple[Any, Any]:
    """Support and query rows."""
    order = rng.permutation(len(y))
    if shots is None:
        support = order[: int(0.8 * len(y))]
    elif classes:
        support = np.concatenate([order[y[order] == c][:shots] for c in np.unique(y)])
    else:
        support = order[:shots]
    query = np.setdiff1d(order, support)
    return support, rng.permutation(query)[:QUERY]


def measured(model: Any, X: pd.DataFrame, y: np.ndarray, at: tuple[Any, Any], classes: bool) -> list[float]:
    """Score, log loss and seconds of one fit."""
    support, query = at
    began = time.perf_counter()
    model = fewer_neighbours(clone(model), len(support)).fit(X.iloc[support], y[support])
    answers = model.predict(X.iloc[query])
    seconds = time.perf_counter() - began
    if not classes:
        return [r2_score(y[query], answers), np.nan, seconds]
    known = np.isin(y[query], model.classes_)
    loss = np.nan
    last = model[-1] if hasattr(model, "steps") else model
    if hasattr(last, "predict_proba") and known.any():
        chances = np.clip(model.predict_proba(X.iloc[query[known]]), 1e-6, 1)
        loss = log_loss(y[query][known], chances / chances.sum(1, keepdims=True), labels=model.classes_)
    return [float((answers == y[query]).mean()), loss, seconds]


def fewer_neighbours(model: Any, rows: int) -> Any:
    """No more neighbours than there are rows."""
    last = model[-1] if hasattr(model, "steps") else model
    if hasattr(last, "n_neighbors"):
        last.n_neighbors = min(last.n_neighbors, rows)
    return model


def peer(model: Any, missing: bool) -> Any:
    steps = [SimpleImputer(add_indicator=True)] if missing else []
    return make_pipeline(*steps, StandardScaler(), model)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", default=",".join([*CLASSES, *NUMBERS]))
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--missing", type=float, default=0.0, help="share of cells left out")
    parser.add_argument("--shots", default="", help="rows a class, by default 1 to 100 and all")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    shots = [int(s) for s in options.shots.split(",") if s] or SHOTS
    for name in options.tables.split(","):
        X, y = table(name)
        classes = name not in NUMBERS
        rng = np.random.default_rng(0)
        if options.missing:
            X = X.mask(rng.random(X.shape) < options.missing)
        peers = {k: peer(m, options.missing > 0) for k, m in (CLASSIFIERS if classes else REGRESSORS).items()}
        models = {"metamodal": mm.Classifier() if classes else mm.Regressor(), **peers}
        for shot in shots:
            least = min(np.unique(y, return_counts=True)[1]) if classes else len(y) // 2
            if shot is not None and (shot > least - 2 or (not classes and shot < 5)):
                continue
            draws = [drawn(y, shot, classes, rng) for _ in range(options.draws)]
            found = {k: np.array([measured(m, X, y, at, classes) for at in draws]) for k, m in models.items()}
            report(f"{name}, {shot or 'all'} rows{' a class' if classes and shot else ''}", found, options)


def report(case: str, found: dict[str, np.ndarray], options: argparse.Namespace) -> None:
    ours = found.pop("metamodal")
    best = max(found, key=lambda k: found[k][:, 0].mean())
    lead = found[best][:, 0] - ours[:, 0]
    scores = {k: round(100 * float(v[:, 0].mean()), 1) for k, v in {"metamodal": ours, **found}.items()}
    losses = {k: round(float(v[:, 1].mean()), 3) for k, v in {"metamodal": ours, **found}.items()}
    print_line(
        case,
        formulation="kernel ridge chosen by rows held out",
        baseline=best,
        seconds=float(np.median(ours[:, 2])),
        baseline_seconds=float(np.median(found[best][:, 2])),
        repeats=len(ours),
        scores=scores,
        log_losses={k: v for k, v in losses.items() if v == v},
        lead_of_best=round(100 * float(lead.mean()), 2),
        ci95=round(196 * float(lead.std(ddof=1)) / len(lead) ** 0.5, 2) if len(lead) > 1 else None,
        rank=1 + sum(bool(v[:, 0].mean() > ours[:, 0].mean()) for v in found.values()),
        missing=options.missing,
    )


if __name__ == "__main__":
    main()
