"""Scores of episodes and what can be said of their mean."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["calibration_error", "episode_scores", "interval"]


def episode_scores(
    logits: Float[Tensor, "t q k"], targets: Float[Tensor, "t q k"]
) -> dict[str, Float[Tensor, "t"]]:
    """Accuracy, macro recall and macro F1 of each episode; query rows without a label do not count.

    Recall and F1 are means over the classes that have query rows; a class never predicted has
    precision 0.
    """
    k = targets.shape[-1]
    guessed = torch.nn.functional.one_hot(logits.argmax(-1), k).to(targets.dtype)
    guessed = guessed * targets.sum(-1, keepdim=True)
    hits = (guessed * targets).sum(1)
    rows, guesses = targets.sum(1), guessed.sum(1)
    there = rows > 0
    recall = hits / rows.clamp(min=1)
    f1 = 2 * hits / (rows + guesses).clamp(min=1)
    classes = there.sum(1).clamp(min=1)
    return {
        "accuracy": hits.sum(1) / rows.sum(1).clamp(min=1),
        "recall_macro": (recall * there).sum(1) / classes,
        "f1_macro": (f1 * there).sum(1) / classes,
    }


def interval(scores: Float[Tensor, "t"]) -> tuple[float, float]:
    """The mean over episodes and the half-width of its 95 % interval (Student's t).

    >>> interval(torch.tensor([0.0, 1.0, 0.0, 1.0]))
    (0.5, 0.918...)
    """
    from scipy import stats

    n = len(scores)
    if n < 2:
        return float(scores.mean()), math.nan
    error = float(scores.double().std()) / math.sqrt(n)
    return float(scores.double().mean()), float(stats.t.ppf(0.975, n - 1)) * error


def calibration_error(
    probabilities: Float[Tensor, "n k"], targets: Float[Tensor, "n k"], bins: int = 15
) -> float:
    """Expected calibration error: confidence against accuracy in equal bins (Guo et al., 2017)."""
    labelled = targets.sum(-1) > 0
    confidence, guess = probabilities[labelled].max(-1)
    hit = targets[labelled].gather(-1, guess[:, None])[:, 0]
    place = (confidence * bins).long().clamp(max=bins - 1)
    weight = torch.bincount(place, minlength=bins).double()
    trust = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, confidence.double())
    hits = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, hit.double())
    return float((hits - trust).abs().sum() / weight.sum().clamp(min=1))
