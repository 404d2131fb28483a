"""Scores of episodes and what can be said of their mean."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from metamodal.outputs import Output

__all__ = [
    "SCORES",
    "calibration_error",
    "episode_scores",
    "interval",
    "label_scores",
    "number_scores",
    "scores_of",
]

SCORES = {"classification": "accuracy", "multilabel": "average_precision", "regression": "r2"}
"""The score that models of each kind of target are chosen and compared by."""

_CHUNK = 64  # episodes whose query rows are compared pairwise at a time


def scores_of(
    output: Output, logits: Float[Tensor, "t q k"], targets: Float[Tensor, "t q k"]
) -> dict[str, Float[Tensor, "t"]]:
    """The scores of each episode that fit the kind of target; NaN where an episode does not tell."""
    kinds = {"classification": episode_scores, "multilabel": label_scores, "regression": number_scores}
    return kinds[output.name](logits, targets)


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


def number_scores(
    predicted: Float[Tensor, "t q k"], targets: Float[Tensor, "t q k"]
) -> dict[str, Float[Tensor, "t"]]:
    """`r2`, `mae` and `rmse` of each episode, of standardised numbers, means over the outputs.

    `r2` is one less the mean squared error over the variance of the training rows: 0 for who answers
    their mean, whatever the episode. A target that is NaN does not count.
    """
    known = ~targets.isnan()
    counts = known.sum(1)
    error = torch.where(known, predicted - targets, 0.0)
    square = _over_known(error.square().sum(1) / counts.clamp(min=1), counts > 0)
    distance = _over_known(error.abs().sum(1) / counts.clamp(min=1), counts > 0)
    root = _over_known((error.square().sum(1) / counts.clamp(min=1)).sqrt(), counts > 0)
    return {"r2": 1 - square, "mae": distance, "rmse": root}


def label_scores(
    logits: Float[Tensor, "t q k"], targets: Float[Tensor, "t q k"]
) -> dict[str, Float[Tensor, "t"]]:
    """Scores of each episode's labels, 0 or 1, where a logit above 0 says yes; NaN does not count.

    `average_precision` is the mean over labels that some query row has, and some has not, of the mean
    precision at the score of each row that has it. `f1_macro` is the mean over labels that a query row
    has or is said to have, `f1_micro` that of all together; `accuracy` is the share of rows of which
    all known labels are right.
    """
    known = ~targets.isnan()
    true, said = known & (targets > 0.5), known & (logits > 0)
    hits, trues, calls = ((x).sum(1) for x in (true & said, true, said))
    either = trues + calls
    rows = known.any(-1)
    right = ((true == said).all(-1) & rows).sum(1)
    both = either.sum(-1)
    return {
        "average_precision": _average_precision(logits, true, known),
        "f1_macro": _over_known(2 * hits / either.clamp(min=1), either > 0),
        "f1_micro": torch.where(both > 0, 2 * hits.sum(-1) / both.clamp(min=1), torch.nan),
        "accuracy": torch.where(rows.any(-1), right / rows.sum(-1).clamp(min=1), torch.nan),
    }


def interval(scores: Float[Tensor, "t"], of: Int[Tensor, "t"] | None = None) -> tuple[float, float]:
    """The mean over episodes and the half-width of its 95 % interval (Student's t); NaN does not count.

    Args:
        of: what each score is of, where several are of the same row: they are not independent, and the
            interval is that of the rows (the cluster-robust variance of Liang and Zeger, 1986).

    >>> mean, half_width = interval(torch.tensor([0.0, 1.0, 0.0, 1.0]))
    >>> mean, round(half_width, 3)
    (0.5, 0.919)
    >>> round(interval(torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.tensor([0, 1, 0, 1]))[1], 3)
    6.353
    """
    from scipy import stats

    there = ~scores.isnan()
    scores = scores[there].double()
    mean = scores.mean()
    parts = scores - mean
    if of is not None:
        named, at = of[there].unique(return_inverse=True)
        parts = parts.new_zeros(len(named)).index_add_(0, at, parts)
    n = len(parts)
    if n < 2:
        return float(mean), math.nan
    error = float((parts.square().sum() * n / (n - 1)).sqrt()) / len(scores)
    return float(mean), float(stats.t.ppf(0.975, n - 1)) * error


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


def _over_known(values: Float[Tensor, "t k"], known: Tensor) -> Float[Tensor, "t"]:
    """The mean over the outputs that an episode tells of, NaN where it tells of none."""
    total = torch.where(known, values, 0.0).sum(-1)
    return torch.where(known.any(-1), total / known.sum(-1).clamp(min=1), torch.nan)


def _average_precision(logits: Tensor, true: Tensor, known: Tensor) -> Float[Tensor, "t"]:
    parts = [
        _precisions(*part) for part in zip(logits.split(_CHUNK), true.split(_CHUNK), known.split(_CHUNK))
    ]
    return torch.cat(parts)


def _precisions(logits: Tensor, true: Tensor, known: Tensor) -> Tensor:
    above = (logits[:, None] >= logits[:, :, None]) & known[:, None]
    precision = (above & true[:, None]).sum(2) / above.sum(2).clamp(min=1)
    counts = true.sum(1)
    mean = torch.where(true, precision, 0.0).sum(1) / counts.clamp(min=1)
    return _over_known(mean, (counts > 0) & (counts < known.sum(1)))
