"""Stage: the known-class prior of `per_modality`, a linear classifier of the class names of training.

Where classes are known by name, a task with few rows should not score below a classifier of all training
rows. Validation tasks, whose rows it was not fitted to, choose the weight of the prior, and how many support
rows a class name counts as. It is kept only if its gain on validation rows is significant.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from metamodal.data.tasks.episodes import Task, random_missing
from metamodal.evaluation.metrics import interval
from metamodal.meta.learners.per_modality import JOINT, PRIOR, PerModality
from metamodal.meta.learners.protocol import seen
from metamodal.model import MetaModel
from metamodal.training.after.stage import Report, Work
from metamodal.training.context import Context
from metamodal.training.selection.validation import ValidationEpisodes, validations_of
from metamodal.types import Batch, Episode, Params

__all__ = [
    "class_prior",
    "with_class_prior",
    "with_class_prior_of_all",
    "without_class_prior",
]

_PENALTIES = (1.0, 10.0)
_SCALES = (0.1, 0.2, 0.4, 0.8)
_SHIFTS = (1.5, 3.0, 6.0)
_ONE_TASK = 0.5  # factor on scales that a single validation task chose
_EPISODES = 150
_MISSING = (0.0, 0.5)
_MOST = 20_000  # rows of a fit


def class_prior(work: Work, model: MetaModel) -> tuple[MetaModel, Report]:
    """The model with a known-class prior; see `with_class_prior`."""
    params, penalty = with_class_prior(work.context(model), model.params)
    return replace(model, params=params), Report({"class_prior_penalty": penalty})


def with_class_prior(context: Context, params: Params) -> tuple[Params, float | None]:
    """The parameters with class priors and a lower weight of names as rows, where either gain is significant, and
    the penalty of the priors, if there are any."""
    engine, classes = context.engine, context.classes
    if not isinstance(engine.learner, PerModality) or engine.learner.reads != "tokens":
        return params, None
    if classes is None or classes.table.named is None or not len(_named(context, context.pools.train)):
        return params, None
    trial, best, chosen = _Trial(context, params), params, None
    views = _views(context, params, context.pools.train)
    for penalty in _PENALTIES:
        fitted = params | _fitted(views, params, penalty)
        for name in [name for name in params if _scales(name)]:
            fitted = trial.best(fitted, [fitted | {name: torch.tensor(scale)} for scale in _SCALES])
        if trial.best(best, [fitted]) is fitted:
            best, chosen = fitted, penalty
    best = trial.best(best, [_held_back(best, shift) for shift in _SHIFTS])
    if chosen is not None and len(context.pools.valid) < 2:
        best = best | {k: _ONE_TASK * v for k, v in best.items() if _scales(k)}
    return best, chosen


def with_class_prior_of_all(context: Context, params: Params, penalty: float | None) -> Params:
    """The parameters with priors refitted to training and validation rows, at the same scale."""
    if penalty is None:
        return params
    views = _views(context, params, [*context.pools.train, *context.pools.valid])
    return params | _fitted(views, params, penalty)


def _gates(name: str) -> bool:
    return name.startswith("learner.") and name.endswith("gate.bias")


def _scales(name: str) -> bool:
    return name.endswith(f".{PRIOR}.scale")


class _Trial:
    """Validation episodes at one shot and at several, whole and with cells missing, encoded once."""

    def __init__(self, context: Context, params: Params) -> None:
        able = validations_of(context.validated_on(_EPISODES))
        self.parts = [
            (validation, episodes) for validation in able for episodes in _shown(validation, params)
        ]

    def best(self, params: Params, others: Sequence[Params]) -> Params:
        """The parameters, unless others do better by more than the paired difference's 95 % interval."""
        if not self.parts:
            return params
        hits, rows = self._evidence(params)
        gains = [interval(self._evidence(other)[0] - hits, rows) for other in others]
        at = max(range(len(others)), key=lambda i: gains[i][0])
        mean, ci95 = gains[at]
        return others[at] if mean > ci95 else params

    def _evidence(self, params: Params) -> tuple[Tensor, Tensor]:
        found = [validation.evidence(params, episodes) for validation, episodes in self.parts]
        hits, rows = (torch.cat(parts) for parts in zip(*found))
        return hits, rows


def _held_back(params: Params, shift: float) -> Params:
    """Names count for fewer rows than they do, by so much in the logarithm."""
    return params | {k: v - shift for k, v in params.items() if _gates(k)}


def without_class_prior(params: Params) -> Params:
    """The parameters without priors, to be trained on."""
    return {k: torch.zeros_like(v) if f".{PRIOR}." in k else v for k, v in params.items()}


def _shown(validation: ValidationEpisodes, params: Params) -> Iterator[Episode]:
    """The validation episodes, whole and with cells missing."""
    whole = validation.episodes(params)
    for rate in _MISSING:
        generator = Generator().manual_seed(0)
        yield Episode(*(random_missing(batch, rate, generator) for batch in whole)) if rate else whole


def _named(context: Context, tasks: Sequence[Task]) -> np.ndarray:
    """The rows of these tasks whose class is known by name; of very many some."""
    named = context.classes.table.named if context.classes else None
    rows = np.unique(np.concatenate([r for task in tasks for r in task.rows]))
    rows = rows[named.numpy()[rows] >= 0] if named is not None else rows[:0]
    return rows[:: 1 + len(rows) // _MOST]


def _views(context: Context, params: Params, tasks: Sequence[Task]) -> dict[str, tuple[Tensor, Tensor]]:
    """Unit embeddings and names that each classifier learns from: for that of all modalities, rows whole and seen
    through each alone."""
    rows = torch.from_numpy(_named(context, tasks))
    names = context.classes.table.named[rows]  # type: ignore[union-attr,index]

    def view(batch: Batch) -> tuple[Tensor, Tensor]:
        there = seen(batch)
        return F.normalize(context.engine.fuse(params, batch), dim=-1)[there], names[there]

    with torch.no_grad():
        tokens = context.engine.tokens(params, context.rows.take(rows))
        found = {m: view(tokens.only([m])) for m in tokens.inputs}
        if len(found) > 1:
            parts = [view(tokens), *found.values()]
            found[JOINT] = (torch.cat([z for z, _ in parts]), torch.cat([named for _, named in parts]))
    return found


def _fitted(views: dict[str, tuple[Tensor, Tensor]], params: Params, penalty: float) -> Params:
    """A prior for each classifier."""
    found: Params = {}
    for classifier, (z, names) in views.items():
        own = f"learner.{classifier}.{PRIOR}"
        if f"{own}.weight" in params:
            like = params[f"{own}.weight"]
            weight, bias = _classifier(z.numpy(), names.numpy(), penalty, len(like))
            found |= {f"{own}.weight": weight.to(like.dtype), f"{own}.bias": bias.to(like.dtype)}
    return found


def _classifier(z: np.ndarray, labels: np.ndarray, penalty: float, names: int) -> tuple[Tensor, Tensor]:
    """Weights `(names, d)` and biases of logistic regression in which every name counts alike: how frequent it is
    says nothing of a task. Zeros for a name without rows."""
    from sklearn.linear_model import LogisticRegression

    weight, bias = np.zeros((names, z.shape[1])), np.zeros(names)
    known = np.unique(labels)
    if len(known) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fits that are good enough before they converge
            model = LogisticRegression(C=penalty, max_iter=200, class_weight="balanced").fit(z, labels)
        sides = np.array([[-0.5], [0.5]]) if len(known) == 2 else np.ones((1, 1))
        weight[known] = sides * model.coef_
        bias[known] = sides[:, 0] * model.intercept_
    return torch.from_numpy(weight), torch.from_numpy(bias)
