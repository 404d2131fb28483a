"""Memory: what all labelled rows of a name say of it, for every voice of `per_modality`, when training ends.

A linear classifier of the names, on embeddings of the training rows, is what a task with few rows must
not fall behind where its classes are known. How far to trust it, and for how many rows a learned name
counts, is chosen on validation tasks, whose rows it has not seen then; nothing is remembered unless
that is better there, beyond what the number of rows allows to tell. At the very end it is fitted to the validation rows as well.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from metamodal.data.tasks import Task, random_missing
from metamodal.evaluation.metrics import interval
from metamodal.meta.learners.per_modality import JOINT, MEMORY, PerModality
from metamodal.meta.learners.protocol import seen
from metamodal.training.judge import Judge, judges
from metamodal.training.material import Material
from metamodal.types import Batch, Episode, Params

__all__ = ["forgotten", "remembered", "renewed", "weighs_names"]

_PENALTIES = (1.0, 10.0)
_TRUSTS = (0.1, 0.2, 0.4, 0.8)
_SHIFTS = (1.5, 3.0, 6.0)
_ALONE = 0.5  # of the trust that a single validation task speaks for
_EPISODES = 150
_MISSING = (0.0, 0.5)
_MOST = 20_000  # rows of a fit


def remembered(material: Material, params: Params) -> tuple[Params, float | None]:
    """The parameters with memories and less weight on names as rows, as far as either helps beyond its interval,
    and the penalty that the memories were fitted with, if there are any."""
    engine, told = material.engine, material.told
    if not isinstance(engine.learner, PerModality) or engine.learner.reads != "tokens":
        return params, None
    if told is None or told.classes.named is None or not len(_named(material, material.tasks.train)):
        return params, None
    trial, best, chosen = _Trial(material, params), params, None
    views = _views(material, params, material.tasks.train)
    for penalty in _PENALTIES:
        fitted = params | _fitted(views, params, penalty)
        for name in [name for name in params if _trusts(name)]:
            fitted = trial.best(fitted, [fitted | {name: torch.tensor(trust)} for trust in _TRUSTS])
        if trial.best(best, [fitted]) is fitted:
            best, chosen = fitted, penalty
    best = trial.best(best, [_held_back(best, shift) for shift in _SHIFTS])
    if chosen is not None and len(material.tasks.valid) < 2:
        best = best | {k: _ALONE * v for k, v in best.items() if _trusts(k)}
    return best, chosen


def renewed(material: Material, params: Params, penalty: float | None) -> Params:
    """The parameters with memories of the training and the validation rows, trusted as they are."""
    if penalty is None:
        return params
    views = _views(material, params, [*material.tasks.train, *material.tasks.valid])
    return params | _fitted(views, params, penalty)


def weighs_names(name: str) -> bool:
    """Whether a parameter says how far names count, which validation tasks settle."""
    return _trusts(name) or _gates(name)


def _gates(name: str) -> bool:
    return name.startswith("learner.") and name.endswith("gate.bias")


def _trusts(name: str) -> bool:
    return name.endswith(f".{MEMORY}.trust")


class _Trial:
    """Validation episodes at one shot and at several, whole and with cells missing, encoded once."""

    def __init__(self, material: Material, params: Params) -> None:
        able = judges(material.judged_by(_EPISODES))
        self.parts = [(judge, episodes) for judge in able for episodes in _shown(judge, params)]

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
        found = [judge.evidence(params, episodes) for judge, episodes in self.parts]
        hits, rows = (torch.cat(parts) for parts in zip(*found))
        return hits, rows


def _held_back(params: Params, shift: float) -> Params:
    """Names count for fewer rows than they do, by so much in the logarithm."""
    return params | {k: v - shift for k, v in params.items() if _gates(k)}


def forgotten(params: Params) -> Params:
    """The parameters without memories, to be trained on."""
    return {k: torch.zeros_like(v) if f".{MEMORY}." in k else v for k, v in params.items()}


def _shown(judge: Judge, params: Params) -> Iterator[Episode]:
    """The validation episodes, whole and with cells missing."""
    whole = judge.episodes(params)
    for rate in _MISSING:
        generator = Generator().manual_seed(0)
        yield Episode(*(random_missing(batch, rate, generator) for batch in whole)) if rate else whole


def _named(material: Material, tasks: Sequence[Task]) -> np.ndarray:
    """The rows of these tasks whose class is known by name; of very many some."""
    named = material.told.classes.named if material.told else None
    rows = np.unique(np.concatenate([r for task in tasks for r in task.rows]))
    rows = rows[named.numpy()[rows] >= 0] if named is not None else rows[:0]
    return rows[:: 1 + len(rows) // _MOST]


def _views(material: Material, params: Params, tasks: Sequence[Task]) -> dict[str, tuple[Tensor, Tensor]]:
    """Unit embeddings and names that each voice's classifier learns from: for that of all modalities rows whole
    and seen through each alone."""
    rows = torch.from_numpy(_named(material, tasks))
    names = material.told.classes.named[rows]  # type: ignore[union-attr,index]

    def view(batch: Batch) -> tuple[Tensor, Tensor]:
        there = seen(batch)
        return F.normalize(material.engine.fuse(params, batch), dim=-1)[there], names[there]

    with torch.no_grad():
        tokens = material.engine.tokens(params, material.rows.take(rows))
        found = {m: view(tokens.only([m])) for m in tokens.inputs}
        if len(found) > 1:
            parts = [view(tokens), *found.values()]
            found[JOINT] = (torch.cat([z for z, _ in parts]), torch.cat([named for _, named in parts]))
    return found


def _fitted(views: dict[str, tuple[Tensor, Tensor]], params: Params, penalty: float) -> Params:
    """A classifier a voice."""
    found: Params = {}
    for voice, (z, names) in views.items():
        own = f"learner.{voice}.{MEMORY}"
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
