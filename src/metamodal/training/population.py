"""The population's answer of labels and numbers, fitted to all training rows when training ends.

Descent through few steps leaves it short of what a plain regression on the same embeddings reaches. The
regression is kept where it does better on validation tasks, and is then fitted to their rows as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.data.tasks import Task
from metamodal.meta.engine import Engine
from metamodal.meta.learners.per_modality import PerModality
from metamodal.meta.learners.protocol import seen
from metamodal.meta.learners.ridge import Ridge
from metamodal.outputs import Output
from metamodal.training.caution import CAUTIONS, cautious
from metamodal.training.judge import judges
from metamodal.training.material import Material
from metamodal.types import Batch, Episode, Params

__all__ = ["fitted_population", "populated", "population_of", "repopulated"]

_PENALTIES = (1e-4, 1e-3, 1e-2)
_MOST = 20_000  # rows of a fit
_EPISODES = 150
_ITERATIONS = 100


def populated(material: Material, params: Params) -> tuple[Params, float | None]:
    """The parameters with a regression of the training rows in them where validation tasks gain by it, and its
    penalty."""
    engine = material.engine
    able = judges(material.judged_by(_EPISODES)) if engine.output.fixed and _able(engine) else []
    if not able:
        return params, None
    (judge,) = able
    rows = _rows(material, params, material.tasks.train)
    best, chosen = params, None
    score = float(judge(params)[0])
    for penalty in _PENALTIES:
        tried = params | fitted_population(engine, params, rows, penalty)
        found, _, tried = judge(tried)
        if found > score:
            best, chosen, score = tried, penalty, found
    return best, chosen


def repopulated(material: Material, params: Params, penalty: float | None) -> Params:
    """The parameters with the same regression of the training and the validation rows."""
    if penalty is None:
        return params
    rows = _rows(material, params, [*material.tasks.train, *material.tasks.valid])
    return params | fitted_population(material.engine, params, rows, penalty)


def population_of(engine: Engine, params: Params, rows: Batch, tasks: np.ndarray) -> Params:
    """Parameters with the population's answer from labelled rows alone.

    A third of the rows, held out, chooses the penalty, and then how far a few support rows of a task may correct it.
    """
    held = torch.arange(len(rows.targets)) % 3 == 0
    if not _able(engine) or held.all() or not held.any():
        return params
    learn, rest = (rows.take(part.nonzero()[:, 0]) for part in (~held, held))
    nothing = Episode(rest.take(torch.arange(1)).labelled(rest.targets[:1] * torch.nan), rest)
    fits = {p: params | fitted_population(engine, params, learn, p) for p in _PENALTIES}
    penalty = min(_PENALTIES, key=lambda p: _loss(engine, fits[p], [nothing]))
    few = list(_few(rest, tasks[held.numpy()]))
    shrunk = min(CAUTIONS, key=lambda c: _loss(engine, cautious(fits[penalty], c), few))
    return cautious(params | fitted_population(engine, params, rows, penalty), shrunk)


def _few(rows: Batch, tasks: np.ndarray) -> Iterator[Episode]:
    """Episodes of a few support rows, each of one task."""
    rng = np.random.default_rng(0)
    names = list(dict.fromkeys(tasks))
    for number in range(_EPISODES // 5):
        at = rng.permutation(np.flatnonzero(tasks == names[number % len(names)]))
        if len(at) > 1:
            shots = min(2 + 4 * (number % 3), len(at) - 1)
            support, query = (torch.from_numpy(part) for part in (at[:shots], at[shots : shots + 30]))
            yield Episode(rows.take(support), rows.take(query))


def _loss(engine: Engine, params: Params, episodes: Sequence[Episode]) -> float:
    with torch.no_grad():
        losses = [
            engine.output.loss(
                engine.predict(params, engine.adapt(params, e.support), e.query), e.query.targets
            )
            for e in episodes
        ]
    return float(torch.stack(losses).mean()) if losses else 0.0


def fitted_population(engine: Engine, params: Params, rows: Batch, penalty: float) -> Params:
    """Weights and bias of each classifier's population, from encoded rows."""
    found: Params = {}
    for prefix, mine in _parts(engine, params, rows):
        with torch.no_grad():
            z = engine.fn(params, mine)
        there = seen(mine)
        if not there.any():
            continue
        weight, bias = _regressed(z[there], mine.targets[there], engine.output, penalty)
        scale = params[f"{prefix}log_temperature"].exp() if engine.output.name == "labels" else 1.0
        found |= {f"{prefix}population.weight": weight / scale, f"{prefix}population.bias": bias / scale}
    return found


def _able(engine: Engine) -> bool:
    learner = engine.learner
    return isinstance(learner.base if isinstance(learner, PerModality) else learner, Ridge)


def _parts(engine: Engine, params: Params, rows: Batch) -> Iterator[tuple[str, Batch]]:
    """The names that a classifier's parameters begin with, and the rows as it sees them."""
    if isinstance(engine.learner, PerModality):
        for name, mine, _ in engine.learner.split(params, rows):
            yield f"learner.{name}.", mine
    else:
        yield "learner.", rows


def _rows(material: Material, params: Params, tasks: Sequence[Task]) -> Batch:
    """The tasks' rows as the learner reads them; of very many some."""
    rows = np.unique(np.concatenate([r for task in tasks for r in task.rows]))
    rows = rows[:: 1 + len(rows) // _MOST]
    with torch.no_grad():
        return material.engine.encode(params, material.rows.take(torch.from_numpy(rows)))


def _regressed(
    z: Float[Tensor, "n d"], targets: Float[Tensor, "n k"], output: Output, penalty: float
) -> tuple[Float[Tensor, "k d"], Float[Tensor, "k"]]:
    """`min over W, b of mean L(W z + b, y) + ½ penalty |W|²`, by L-BFGS from zero."""
    weight = torch.zeros(targets.shape[-1], z.shape[-1], requires_grad=True)
    bias = torch.zeros(targets.shape[-1], requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = output.loss(z @ weight.mT + bias, targets) + 0.5 * penalty * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)
    return weight.detach(), bias.detach()
