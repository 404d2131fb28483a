"""Memory: what all labelled rows of a name say of it, for every voice of `per_modality`, when training ends.

A linear classifier of the names, on embeddings of the training rows, is what a task with few rows must
not fall behind where its classes are known. How far to trust it is chosen on validation tasks, whose
rows it has not seen then; nothing is remembered unless that is better there. Then it is fitted to the
validation rows as well.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator

from metamodal.data.tasks import Task, random_missing
from metamodal.errors import DataError
from metamodal.meta.learners.per_modality import JOINT, MEMORY, PerModality
from metamodal.training.judge import Judge
from metamodal.training.material import Material
from metamodal.types import Batch, Episode, Params

__all__ = ["forgotten", "remembered"]

_PENALTIES = (1.0, 10.0)
_TRUSTS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)
_SHOTS = (1, 5)
_MISSING = (0.0, 0.5)
_MOST = 20_000  # rows of a fit


def remembered(material: Material, params: Params) -> Params:
    """The parameters with memories, or as they are where no class is known by name or nothing is gained."""
    engine, told = material.engine, material.told
    if not isinstance(engine.learner, PerModality) or engine.learner.reads != "tokens":
        return params
    if told is None or told.classes.named is None or not len(_named(material, material.tasks.train)):
        return params
    trials = [(judge, episodes) for judge in _judges(material) for episodes in _shown(judge, params)]

    def score(tried: Params) -> float:
        return float(np.mean([float(judge.rated(tried, episodes).mean()) for judge, episodes in trials]))

    best, chosen = score(params), None
    for penalty in _PENALTIES:
        fitted = _fitted(material, params, material.tasks.train, penalty)
        trusts = {name: torch.tensor(0.0) for name in params if name.endswith(f".{MEMORY}.trust")}
        for name in 2 * list(trusts):  # one voice after the other, and again in the company of all
            for trust in _TRUSTS:
                tried = trusts | {name: torch.tensor(trust)}
                scored = score(params | fitted | tried)
                if scored > best:
                    best, trusts, chosen = scored, tried, (penalty, tried)
    if chosen is None:
        return params
    rows = [*material.tasks.train, *material.tasks.valid]
    return params | _fitted(material, params, rows, chosen[0]) | chosen[1]


def forgotten(params: Params) -> Params:
    """The parameters without memories, to be trained on."""
    return {k: torch.zeros_like(v) if f".{MEMORY}." in k else v for k, v in params.items()}


def _judges(material: Material) -> Iterator[Judge]:
    for shot in _SHOTS:
        try:
            yield Judge(material, shot)
        except DataError:
            return


def _shown(judge: Judge, params: Params) -> Iterator[Episode]:
    """The validation episodes, whole and with cells missing."""
    with torch.no_grad():
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


def _fitted(material: Material, params: Params, tasks: Sequence[Task], penalty: float) -> Params:
    """A classifier a voice; that of all together learns from rows whole and seen through each modality alone."""
    rows = _named(material, tasks)
    names = material.told.classes.named[torch.from_numpy(rows)]  # type: ignore[union-attr,index]
    with torch.no_grad():
        tokens = material.engine.tokens(params, material.rows.take(torch.from_numpy(rows)))
        alone = {m: tokens.only([m]) for m in tokens.inputs}
        seen = {m: _embedded(material, params, batch) for m, batch in alone.items()}
        seen[JOINT] = _embedded(material, params, tokens)
    views = {m: [m] for m in alone} | ({JOINT: [JOINT, *alone]} if len(alone) > 1 else {})
    found: Params = {}
    for voice, parts in views.items():
        if f"learner.{voice}.{MEMORY}.weight" not in params:
            continue
        z = torch.cat([seen[part][0] for part in parts])
        labels = torch.cat([names[seen[part][1]] for part in parts])
        like = params[f"learner.{voice}.{MEMORY}.weight"]
        weight, bias = _classifier(z.numpy(), labels.numpy(), penalty, len(like))
        found[f"learner.{voice}.{MEMORY}.weight"] = weight.to(like.dtype)
        found[f"learner.{voice}.{MEMORY}.bias"] = bias.to(like.dtype)
    return found


def _embedded(material: Material, params: Params, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit embeddings of the rows that there is something to be seen of, and which those are."""
    there = torch.stack(list(batch.present.values())).any(0)
    return F.normalize(material.engine.fuse(params, batch), dim=-1)[there], there


def _classifier(
    z: np.ndarray, labels: np.ndarray, penalty: float, names: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights `(names, d)` and biases of logistic regression; zeros for a name without rows."""
    from sklearn.linear_model import LogisticRegression

    weight, bias = np.zeros((names, z.shape[1])), np.zeros(names)
    known = np.unique(labels)
    if len(known) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fits that are good enough before they converge
            model = LogisticRegression(C=penalty, max_iter=200).fit(z, labels)
        sides = np.array([[-0.5], [0.5]]) if len(known) == 2 else np.ones((1, 1))
        weight[known] = sides * model.coef_
        bias[known] = sides[:, 0] * model.intercept_
    return torch.from_numpy(weight), torch.from_numpy(bias)
