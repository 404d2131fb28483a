"""Stage: linear cross-modal maps beside the shared space, after training that aligns modalities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from metamodal.data.tasks.episodes import Task
from metamodal.evaluation.retrieval import codes_of, shares_found
from metamodal.mappings.linear_maps import WEIGHT, LinearMaps, built, without_linear_maps
from metamodal.model import MetaModel
from metamodal.training.after.stage import Report, Work
from metamodal.training.context import Context
from metamodal.types import Batch, Params

__all__ = ["linear_maps", "with_linear_maps", "with_linear_maps_of_all"]

_WEIGHTS = (0.25, 0.5, 1.0, 2.0)
_MOST = 5_000  # rows of a fit
_CANDIDATES, _DRAWS = 100, 100


def linear_maps(work: Work, model: MetaModel) -> tuple[MetaModel, Report]:
    """The model with linear maps between modalities, of training that aligns them; see `with_linear_maps`."""
    if not work.options.weight("align") or model.generic:
        return model, Report({"linear_maps": {}})
    params, recall = with_linear_maps(work.context(model), model.params)
    weight = max(recall, key=lambda weight: recall[weight], default=0.0)
    notes = (
        (
            f"linear maps between modalities at weight {weight:g}: recall on validation rows {100 * recall[0.0]:.1f} % "
            f"without, {100 * recall[weight]:.1f} % with them",
        )
        if weight
        else ()
    )
    outcome = {"linear_maps": {str(weight): score for weight, score in recall.items()}}
    return replace(model, params=params), Report(outcome, notes)


def with_linear_maps(context: Context, params: Params) -> tuple[Params, dict[float, float]]:
    """The parameters with linear maps of the training rows, if recall on validation rows is higher with them, and
    the recall by weight (0: the shared space alone)."""
    rows = _rows(context, context.pools.valid)
    with torch.no_grad():
        tokens = context.engine.tokens(params, rows)
    features = context.preprocessor.features(rows)
    fitted = params | _fitted(context, _training_tasks(context))
    tried = {0.0: params} | {w: fitted | {WEIGHT: torch.tensor(w)} for w in _WEIGHTS}
    recalls = {w: _recall(LinearMaps(each), rows, tokens, features) for w, each in tried.items()}
    if not all(recalls.values()):  # too few rows to compare
        return params, {}
    scores = {w: float(torch.stack(each).mean()) for w, each in recalls.items()}
    return tried[max(scores, key=lambda w: scores[w])], scores


def with_linear_maps_of_all(context: Context, params: Params) -> Params:
    """The parameters with their linear maps refitted to training and validation rows, at the same weight."""
    if WEIGHT not in params:
        return params
    fitted = _fitted(context, [*_training_tasks(context), *context.pools.valid])
    return without_linear_maps(params) | fitted | {WEIGHT: params[WEIGHT]}


def _training_tasks(context: Context) -> list[Task]:
    """The tasks whose rows the maps are fitted to; no label is needed."""
    return [*context.pools.train, *context.pools.pseudo]


def _fitted(context: Context, tasks: Sequence[Task]) -> Params:
    rows = _rows(context, tasks)
    return built(context.preprocessor.features(rows), tuple(rows.inputs))


def _rows(context: Context, tasks: Sequence[Task]) -> Batch:
    """The rows of these tasks, of very many some."""
    rows = np.unique(np.concatenate([rows for task in tasks for rows in task.rows]))
    return context.rows.take(torch.from_numpy(rows[:: 1 + len(rows) // _MOST]))


def _recall(maps: LinearMaps, rows: Batch, tokens: Batch, features: Batch) -> list[Tensor]:
    """The recall of each ordered pair of modalities that enough rows have both of."""
    found, rng = [], np.random.default_rng(0)
    for a, b in permutations(rows.inputs, 2):
        both = (rows.present[a] & rows.present[b]).nonzero()[:, 0]
        if len(both) < 2:
            continue
        count = min(_CANDIDATES, len(both))
        drawn = both[torch.from_numpy(np.stack([rng.permutation(len(both))[:count] for _ in range(_DRAWS)]))]
        queries, cells = (
            maps.points(tokens.inputs[mine], features, [(mine, other)]) for mine, other in ((a, b), (b, a))
        )
        found.append(shares_found(queries, cells, codes_of(rows.inputs[b]), drawn).mean())
    return found
