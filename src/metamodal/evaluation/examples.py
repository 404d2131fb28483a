"""Single answers of a trial, for a person to look at: episodes in full, confusions, true beside predicted."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch

from metamodal.data.dataset import Dataset
from metamodal.evaluation.protocol import Showcase
from metamodal.evaluation.trial import Trial

__all__ = ["answers", "confusions", "showcase"]

_ANSWERS = 400  # query rows of which answers are kept


def answers(trial: Trial) -> np.ndarray:
    """True and predicted targets `(n, 2, k)` of some query rows, evenly picked from all episodes."""
    targets, known = trial.model.targets, trial.episodes.query.targets
    there = (~known.isnan()).any(-1)
    true, said = known[there], trial.logits[there]
    at = torch.linspace(0, len(true) - 1, min(_ANSWERS, len(true))).long()
    own = true[at].double().numpy() * targets.deviation + targets.centre
    return np.stack([own, targets.decode(said[at])], 1)


def confusions(trial: Trial) -> Counter[tuple[str, str]]:
    """How often each true class was called each class, by name."""
    counts: Counter[tuple[str, str]] = Counter()
    draw, guesses = trial.draw, trial.logits.argmax(-1).tolist()
    for names, guessed, codes in zip(draw.names, guesses, draw.query_codes.tolist()):
        counts.update((names[c], names[g]) for c, g in zip(codes, guessed) if c >= 0)
    return counts


def showcase(trial: Trial, e: int, part: Dataset, rows: np.ndarray) -> Showcase:
    """Episode `e`.

    Args:
        part: the rows that the trial draws from.
        rows: their positions in the whole table.
    """
    draw, targets = trial.draw, trial.model.targets
    codes, given = draw.query_codes[e], draw.support_codes[e] >= 0
    at = (codes >= 0).nonzero()[:, 0]
    support, query = draw.support[e, given].numpy(), draw.query[e, at].numpy()
    if not targets.has_classes:
        known = [tuple(map(targets.text, targets.raw(part.rows(at)))) for at in (support, query)]
        said = tuple(map(targets.text, targets.decode(trial.logits[e, at])))
        return Showcase(rows[support], known[0], rows[query], known[1], said, ())
    names = draw.names[e]
    probabilities = torch.softmax(trial.logits[e, at], -1)
    confidence, guesses = probabilities.max(-1)
    return Showcase(
        rows[support],
        tuple(names[c] for c in draw.support_codes[e].tolist()),
        rows[query],
        tuple(names[c] for c in codes[at].tolist()),
        tuple(names[g] for g in guesses.tolist()),
        tuple(confidence.tolist()),
    )
