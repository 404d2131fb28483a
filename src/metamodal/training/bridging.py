"""Bridging: when training that aligns modalities ends, closed-form maps between them join the shared space."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from metamodal.data.tasks import Task
from metamodal.evaluation.retrieval import codes_of, shares_found
from metamodal.mappings.bridges import TRUST, Bridges, built, without_bridges
from metamodal.training.material import Material
from metamodal.types import Batch, Params

__all__ = ["bridged", "rebuilt"]

_TRUSTS = (0.25, 0.5, 1.0, 2.0)
_MOST = 5_000  # rows of a fit
_CANDIDATES, _DRAWS = 100, 100


def bridged(material: Material, params: Params) -> tuple[Params, dict[float, float]]:
    """The parameters with bridges of the training rows, if validation rows find each other better over them,
    and the recall there by trust (0: the shared space alone); nothing where no alignment was asked for."""
    if not material.options.align or not material.engine.dim:
        return params, {}
    rows = _rows(material, material.tasks.valid)
    with torch.no_grad():
        tokens = material.engine.tokens(params, rows)
    features = material.preprocessor.features(rows)
    fitted = params | _fitted(material, _teaching(material))
    tried = {0.0: params} | {t: fitted | {TRUST: torch.tensor(t)} for t in _TRUSTS}
    found = {trust: _recall(Bridges(each), rows, tokens, features) for trust, each in tried.items()}
    if not all(found.values()):  # too few rows to tell
        return params, {}
    scores = {trust: float(torch.stack(each).mean()) for trust, each in found.items()}
    return tried[max(scores, key=lambda trust: scores[trust])], scores


def rebuilt(material: Material, params: Params) -> Params:
    """The parameters with bridges of training and validation rows, trusted as they are, where there are bridges."""
    if TRUST not in params:
        return params
    fitted = _fitted(material, [*_teaching(material), *material.tasks.valid])
    return without_bridges(params) | fitted | {TRUST: params[TRUST]}


def _teaching(material: Material) -> list[Task]:
    """The tasks whose rows bridges are fitted to; a bridge needs no label."""
    return [*material.tasks.train, *material.tasks.pseudo]


def _fitted(material: Material, tasks: Sequence[Task]) -> Params:
    rows = _rows(material, tasks)
    return built(material.preprocessor.features(rows), tuple(rows.inputs))


def _rows(material: Material, tasks: Sequence[Task]) -> Batch:
    """The rows of these tasks, of very many some."""
    rows = np.unique(np.concatenate([rows for task in tasks for rows in task.rows]))
    return material.rows.take(torch.from_numpy(rows[:: 1 + len(rows) // _MOST]))


def _recall(bridges: Bridges, rows: Batch, tokens: Batch, features: Batch) -> list[Tensor]:
    """The recall of each ordered pair of modalities that enough rows have both of."""
    found, rng = [], np.random.default_rng(0)
    for a, b in permutations(rows.inputs, 2):
        both = (rows.present[a] & rows.present[b]).nonzero()[:, 0]
        if len(both) < 2:
            continue
        count = min(_CANDIDATES, len(both))
        drawn = both[torch.from_numpy(np.stack([rng.permutation(len(both))[:count] for _ in range(_DRAWS)]))]
        queries, cells = (
            bridges.points(tokens.inputs[mine], features, [(mine, other)]) for mine, other in ((a, b), (b, a))
        )
        found.append(shares_found(queries, cells, codes_of(rows.inputs[b]), drawn).mean())
    return found
