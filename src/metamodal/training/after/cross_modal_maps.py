"""Stage: cross-modal maps beside the shared space, of the kind that finds most validation rows.

Every kind of map is fitted to training rows, between the pairs of modalities that most rows have both of; recall on
validation rows chooses the kind and its weight beside the shared space, or none. The maps of that kind are then fitted
between all modalities.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from metamodal.components import Auto, component, kind_of
from metamodal.data.tasks.episodes import Task
from metamodal.device import device_of
from metamodal.evaluation.retrieval import codes_of, shares_found
from metamodal.mappings.cross_modal_maps import (
    WEIGHT,
    CrossModalMaps,
    both_ways,
    fitted_maps,
    paired,
    without_maps,
)
from metamodal.mappings.maps import MAPS, Map, maps
from metamodal.model import MetaModel
from metamodal.training.after.stage import Report, Work
from metamodal.training.context import Context
from metamodal.types import Batch, Params

__all__ = ["cross_modal_maps", "with_maps_of_all"]

_WEIGHTS = (0.25, 0.5, 1.0, 2.0)
_MOST = 5_000  # rows of a fit
_PAIRS = 3  # pairs of modalities by which the kind is chosen
_CANDIDATES, _DRAWS = 100, 100


def cross_modal_maps(work: Work, model: MetaModel) -> tuple[MetaModel, Report]:
    """The model with maps between modalities, of training that aligns them or of a kind that was asked for."""
    asked = not isinstance(work.mapping, Auto)
    if model.generic or not (asked or work.options.weight("align")):
        return model, Report({"mapping": None, "maps": {}})
    context = work.context(model)
    kinds = _kinds(work.mapping)
    scores = _scores(context, model.params, kinds, work.seconds)
    if not scores:  # too few rows to compare
        return model, Report({"mapping": None, "maps": {}})
    kind, weight = max(scores, key=lambda key: scores[key])
    late = [name for name in kinds if not any(k == name for k, _ in scores)]
    kinds = {name: map for name, map in kinds.items() if name not in late}
    tried = {name: {str(w): scores[k, w] for k, w in scores if k == name} for name in ("", *kinds)}
    outcome = {"mapping": kind or None, "maps": {"none": tried.pop("")} | tried}
    if not kind:
        return model, Report(outcome)
    best = {name: max(score for (k, _), score in scores.items() if k == name) for name in kinds}
    others = ", ".join(f"{name} {100 * score:.1f} %" for name, score in best.items() if name != kind)
    note = (
        f"cross-modal maps: {kind} at weight {weight:g}; recall on validation rows {100 * scores['', 0.0]:.1f} % without, "
        f"{100 * scores[kind, weight]:.1f} % with them{f' ({others})' if others else ''}"
        f"{'; not tried within the budget: ' + ', '.join(late) if late else ''}"
    )
    fitted = _fitted(context, kinds[kind], _training_tasks(context))
    params = model.params | fitted | {WEIGHT: torch.tensor(weight, device=device_of(model.params))}
    return replace(model, params=params, spec=replace(model.spec, mapping=kinds[kind])), Report(
        outcome, (note,)
    )


def with_maps_of_all(context: Context, map: Map | None, params: Params) -> Params:
    """The parameters with their maps refitted to training and validation rows, at the same weight."""
    if WEIGHT not in params or map is None:
        return params
    fitted = _fitted(context, map, [*_training_tasks(context), *context.pools.valid])
    return without_maps(params) | fitted | {WEIGHT: params[WEIGHT]}


def _kinds(mapping: Map | Auto) -> dict[str, Map]:
    """The kinds of map to choose among, by name."""
    if not isinstance(mapping, Auto):
        return {kind_of(maps, mapping): mapping}
    names = mapping.choices(maps, MAPS)
    return {name: component(maps, {"kind": name} | mapping.given) for name in names}


def _scores(
    context: Context, params: Params, kinds: dict[str, Map], seconds: float
) -> dict[tuple[str, float], float]:
    """Mean recall on validation rows by kind and weight; `("", 0)` is the shared space alone.

    After so many seconds no other kind is fitted.
    """
    end = time.monotonic() + seconds
    rows = _rows(context, context.pools.valid)
    with torch.no_grad():
        tokens = context.engine.tokens(params, rows)
    features, known = context.preprocessor.features(rows), _features(context, _training_tasks(context))
    pairs = paired(known, tuple(rows.inputs))[:_PAIRS]
    tried = {("", 0.0): CrossModalMaps(None, {})}
    for name, kind in kinds.items():
        if len(tried) > 1 and time.monotonic() > end:
            break
        fitted = _on(device_of(params), fitted_maps(known, kind, pairs, context.seed)) if pairs else {}
        for weight in _WEIGHTS if fitted else ():
            own = fitted | {WEIGHT: torch.tensor(weight, device=device_of(params))}
            tried[name, weight] = CrossModalMaps(kind, own)
    found = {key: _recall(each, pairs, rows, tokens, features) for key, each in tried.items()}
    return {key: float(torch.stack(each).mean()) for key, each in found.items() if each}


def _training_tasks(context: Context) -> list[Task]:
    """The tasks whose rows the maps are fitted to; no label is needed."""
    return [*context.pools.train, *context.pools.pseudo]


def _fitted(context: Context, map: Map, tasks: Sequence[Task]) -> Params:
    features = _features(context, tasks)
    found = fitted_maps(features, map, paired(features, tuple(features.inputs)), context.seed, _codes(tasks))
    return _on(context.device, found)


def _on(device: torch.device, params: Params) -> Params:
    return {name: value.to(device) for name, value in params.items()}


def _features(context: Context, tasks: Sequence[Task]) -> Batch:
    return context.preprocessor.features(_rows(context, tasks))


def _rows(context: Context, tasks: Sequence[Task]) -> Batch:
    """The rows of these tasks, of very many some."""
    return context.rows.take(torch.from_numpy(_places(tasks)))


def _places(tasks: Sequence[Task]) -> np.ndarray:
    rows = np.unique(np.concatenate([rows for task in tasks for rows in task.rows]))
    return rows[:: 1 + len(rows) // _MOST]


def _codes(tasks: Sequence[Task]) -> Tensor:
    """Of each of these rows the number of its task, the first of several."""
    of: dict[int, int] = {}
    for number, task in enumerate(tasks):
        for rows in task.rows:
            for row in rows.tolist():
                of.setdefault(row, number)
    return torch.tensor([of[row] for row in _places(tasks).tolist()])


def _recall(
    maps: CrossModalMaps, pairs: Sequence[tuple[str, str]], rows: Batch, tokens: Batch, features: Batch
) -> list[Tensor]:
    """The recall of these pairs of modalities, there and back, where enough rows have both."""
    found, rng = [], np.random.default_rng(0)
    for a, b in both_ways(pairs):
        both = (rows.present[a] & rows.present[b]).nonzero()[:, 0]
        if len(both) < 2:
            continue
        count = min(_CANDIDATES, len(both))
        drawn = both[torch.from_numpy(np.stack([rng.permutation(len(both))[:count] for _ in range(_DRAWS)]))]
        queries, cells = (
            maps.points(tokens.inputs[mine], features, [(mine, other)]) for mine, other in ((a, b), (b, a))
        )
        found.append(shares_found(queries, cells, codes_of(rows.inputs[b]), drawn).mean().cpu())
    return found
