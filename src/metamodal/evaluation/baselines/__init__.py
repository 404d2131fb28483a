"""Baselines: what users would do without meta-learning, on the same rows and features.

| file | baselines | fitted to |
|---|---|---|
| `logistic` | `logistic_regression` | support, training rows, other folds |
| `ridge` | `ridge_regression` | support, training rows, other folds |
| `centroid` | `nearest_centroid` | support |
| `mean` | `support_mean` | support |
| `trees` | `random_forest`, `gradient_boosting` | other folds |
| `retrieval` | `cca`, `ridge_regression` between two modalities | training rows |

`protocol` says what a baseline is, `fitting` gives each one rows that it can be fitted to, `results` measures them.
"""

from metamodal.evaluation.baselines.centroid import nearest_centroid
from metamodal.evaluation.baselines.logistic import logistic_regression
from metamodal.evaluation.baselines.mean import support_mean
from metamodal.evaluation.baselines.protocol import Baseline, FitRows, TrainedOn, baselines, baselines_for
from metamodal.evaluation.baselines.retrieval import retrieval_baselines
from metamodal.evaluation.baselines.ridge import ridge_regression
from metamodal.evaluation.baselines.trees import gradient_boosting, random_forest

__all__ = [
    "Baseline",
    "FitRows",
    "TrainedOn",
    "baselines",
    "baselines_for",
    "gradient_boosting",
    "logistic_regression",
    "nearest_centroid",
    "random_forest",
    "retrieval_baselines",
    "ridge_regression",
    "support_mean",
]
