"""From an adapted state to answers: how frequent classes are, and from which probability on a label is given."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from metamodal.errors import OptionError, suggestion

__all__ = ["PRIORS", "log_prior", "thresholds"]

PRIORS = ("auto", "balanced", "support")
_FEWEST = 20  # rows from which on their counts may say how frequent classes are
_SURE = 0.01  # significance of unequal counts
_POOLED = 10.0  # rows of a label that its own threshold is as good as that of all labels with


def log_prior(counts: Sequence[int], prior: str = "auto") -> tuple[float, ...]:
    """What is added to the logits of balanced classes; nothing where all are alike.

    Learners weigh rows so that every class counts alike. That is right for a few rows picked by hand, and
    wrong for a sample of a population, in which a rare class is rare.

    Args:
        counts: support rows of each class.
        prior: `balanced`, `support` (the rates of the support rows), or `auto`: those of the support where it
            is a sample, that is 20 rows or more whose counts are unequal beyond chance (a chi-squared test at
            1 %), and balanced elsewhere.

    >>> log_prior([5, 5]), log_prior([3, 1])
    ((), ())
    >>> [round(p, 2) for p in log_prior([90, 10])]
    [0.58, -1.53]
    """
    if prior not in PRIORS:
        raise OptionError(f"prior={prior!r}: no such prior. {suggestion(prior, PRIORS)}")
    if prior == "balanced" or (prior == "auto" and not _is_sample(counts)):
        return ()
    total = sum(counts) + len(counts)
    return tuple(math.log((n + 1) * len(counts) / total) for n in counts)


def thresholds(
    probabilities: Float[np.ndarray, "n k"], targets: Bool[np.ndarray, "n k"]
) -> tuple[float, ...]:
    """From which probability on each label is given: where the F1 of leave-one-out answers is highest.

    A label's own threshold counts as the rows that have it; one of all labels together counts as ten.

    Args:
        probabilities: of each support row without it.
    """
    if not targets.any():
        return (0.5,) * targets.shape[1]
    pooled = _best(probabilities.ravel(), targets.ravel())
    found = []
    for p, y in zip(probabilities.T, targets.T):
        weight = float(y.sum())
        own = _best(p, y) if weight else pooled
        found.append(float((weight * own + _POOLED * pooled) / (weight + _POOLED)))
    return tuple(found)


def _is_sample(counts: Sequence[int]) -> bool:
    from scipy.stats import chisquare

    return sum(counts) >= _FEWEST and float(chisquare(counts).pvalue) < _SURE


def _best(p: Float[np.ndarray, "n"], y: Bool[np.ndarray, "n"]) -> float:
    """The middle of the thresholds at which F1 is highest."""
    order = np.argsort(-p, kind="stable")
    sorted_p, hits = p[order], np.cumsum(y[order])
    called = np.arange(1, len(p) + 1)
    score = 2 * hits / (called + hits[-1])
    last = np.append(sorted_p[1:] < sorted_p[:-1], True)  # equal probabilities are called together
    at = np.flatnonzero(last & (score >= score[last].max() - 1e-12))
    below = np.append(sorted_p, 0.0)
    return float(np.median((sorted_p[at] + below[at + 1]) / 2))
