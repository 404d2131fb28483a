"""Stage: the untrained model as a candidate. After brief training a model can score below the untrained one."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import torch

from metamodal.evaluation.metrics import SCORES, interval
from metamodal.meta.learners import learners
from metamodal.model import MetaModel, built
from metamodal.spec import ModelSpec
from metamodal.training.after.regression_prior import with_regression_prior
from metamodal.training.after.stage import Report, Work
from metamodal.training.context import Context
from metamodal.training.selection.validation import validations_of
from metamodal.types import Params

__all__ = ["Untrained", "against_untrained", "untrained_candidate"]


_PIECE = 32  # episodes that are compared before time is looked at


@dataclass(frozen=True)
class Untrained:
    """The scores of the trained and of the untrained model on the same validation episodes, the gain of the
    untrained one with its 95 % interval over validation rows."""

    score: str
    trained: float
    untrained: float
    gain: float
    ci95: float

    @property
    def wins(self) -> bool:
        """Whether the untrained model is better beyond the interval."""
        return self.gain > max(0.0, self.ci95 if self.ci95 == self.ci95 else 0.0)

    def to_dict(self) -> dict[str, Any]:
        return {
            "score": self.score,
            "trained": self.trained,
            "untrained": self.untrained,
            "gain": self.gain,
            "ci95": self.ci95,
            "wins": self.wins,
        }

    def __str__(self) -> str:
        name = self.score.replace("_", " ")
        return (
            f"on validation tasks the untrained model has {100 * self.untrained:.1f} % {name}, the trained one "
            f"{100 * self.trained:.1f} % (gain {100 * self.gain:+.1f} ± {100 * self.ci95:.1f})"
        )


def untrained_candidate(work: Work, model: MetaModel) -> tuple[MetaModel, Report]:
    """The model, or the untrained one in its place where that scores higher on validation tasks.

    A model of a fixed number of steps, or whose shared space was trained for, is not replaced: then a note
    says that training did not help.
    """
    if model.generic:
        return model, Report({"untrained": None})
    plain = built(ModelSpec(None, learners["per_modality"]()), model.preprocessor, model.roles, model.targets)
    context = work.context(plain)
    params, penalty = with_regression_prior(context, plain.params)
    found = against_untrained(work.context(model), model.params, context, params, work.seconds)
    outcome: dict[str, Any] = {"untrained": found.to_dict() if found else None}
    if found is None or not found.wins:
        return model, Report(outcome)
    if not work.replaceable:
        note = f"{found}: training did not help. Train longer (--budget, train.steps), or on more tasks"
        return model, Report(outcome, (note,))
    outcome |= {"class_prior_penalty": None, "regression_prior_penalty": penalty}
    note = f"{found}: the untrained model is kept. Train longer (--budget), or on more tasks"
    return replace(plain, params=params), Report(outcome, (note,))


def against_untrained(
    context: Context, params: Params, plain: Context, plain_params: Params, seconds: float
) -> Untrained | None:
    """The two on validation tasks, at one support row a class and at several; nothing where these have no labels.

    Args:
        plain: the same rows as generic features under a learner that was not trained.
        seconds: after which no more episodes are begun.
    """
    if context.pools.blind:
        return None
    pairs = list(zip(validations_of(context), validations_of(plain)))
    if not pairs:
        return None
    ours, theirs, rows = [], [], []
    end = time.monotonic() + seconds
    read = [(v, v.episodes(params), other, other.episodes(plain_params)) for v, other in pairs]
    for start in range(0, max(len(v.queried) for v, *_ in read), _PIECE):
        part = slice(start, start + _PIECE)
        for validation, episodes, other, others in read:
            if start < len(validation.queried):
                hits, at = validation.evidence(params, episodes, part=part)
                ours.append(hits)
                theirs.append(other.evidence(plain_params, others, part=part)[0])
                rows.append(at)
        if time.monotonic() > end:
            break
    mine, its, where = (torch.cat(parts) for parts in (ours, theirs, rows))
    score = SCORES[context.engine.output.name]
    gain, ci95 = interval(its - mine, where)
    return Untrained(score, interval(mine)[0], interval(its)[0], gain, ci95)
