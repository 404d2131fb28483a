"""Stage: the regression prior, a linear model of all training rows that multilabel and regression tasks start from.

Few steps of descent leave it short of a regression on the same embeddings. The regression is kept where
validation tasks score higher with it, and is refitted to their rows in the final fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.data.tasks.episodes import Task
from metamodal.device import device_of, numpy_of
from metamodal.meta.engine import Engine
from metamodal.meta.learners.kernel_ridge import KernelRidge
from metamodal.meta.learners.per_modality import PerModality
from metamodal.meta.learners.protocol import seen
from metamodal.meta.learners.ridge import Ridge
from metamodal.model import MetaModel
from metamodal.outputs import Output
from metamodal.training.after.stage import Report, Work
from metamodal.training.context import Context
from metamodal.training.selection.shrinkage import SHRINKAGES, shrunk
from metamodal.training.selection.validation import validations_of
from metamodal.types import Batch, Episode, Params

__all__ = [
    "fitted_prior",
    "prior_of_rows",
    "regression_prior",
    "with_regression_prior",
    "with_regression_prior_of_all",
]

_PENALTIES = (1e-4, 1e-3, 1e-2)
_MOST = 20_000  # rows of a fit
_EPISODES = 150
_ITERATIONS = 100


def regression_prior(work: Work, model: MetaModel) -> tuple[MetaModel, Report]:
    """The model with a regression prior; see `with_regression_prior`."""
    params, penalty = with_regression_prior(work.context(model), model.params)
    return replace(model, params=params), Report({"regression_prior_penalty": penalty})


def with_regression_prior(context: Context, params: Params) -> tuple[Params, float | None]:
    """The parameters with a regression of the training rows in them where validation tasks gain by it, and its
    penalty."""
    engine = context.engine
    able = (
        validations_of(context.validated_on(_EPISODES))
        if not engine.output.has_classes and _able(engine)
        else []
    )
    if not able:
        return params, None
    (validation,) = able
    rows = _rows(context, params, context.pools.train)
    best, chosen = params, None
    score = float(validation(params)[0])
    for penalty in _PENALTIES:
        tried = params | fitted_prior(engine, params, rows, penalty)
        found, _, tried = validation(tried)
        if found > score:
            best, chosen, score = tried, penalty, found
    return best, chosen


def with_regression_prior_of_all(context: Context, params: Params, penalty: float | None) -> Params:
    """The parameters with the same regression of the training and the validation rows."""
    if penalty is None:
        return params
    rows = _rows(context, params, [*context.pools.train, *context.pools.valid])
    return params | fitted_prior(context.engine, params, rows, penalty)


def prior_of_rows(engine: Engine, params: Params, rows: Batch, tasks: np.ndarray) -> Params:
    """Parameters with a regression prior fitted to labelled rows alone.

    A third of the rows, held out, chooses the penalty, and then how far a few support rows of a task may correct it.
    """
    rows = rows.to(device_of(params))
    held = torch.arange(len(rows.targets), device=rows.targets.device) % 3 == 0
    if not _able(engine) or held.all() or not held.any():
        return params
    learn, rest = (rows.take(part.nonzero()[:, 0]) for part in (~held, held))
    nothing = Episode(rest.take(torch.tensor([0])).labelled(rest.targets[:1] * torch.nan), rest)
    fits = {p: params | fitted_prior(engine, params, learn, p) for p in _PENALTIES}
    penalty = min(_PENALTIES, key=lambda p: _loss(engine, fits[p], [nothing]))
    few = list(_few(rest, tasks[numpy_of(held)]))
    shrinkage = min(SHRINKAGES, key=lambda s: _loss(engine, shrunk(engine, fits[penalty], s), few))
    return shrunk(engine, params | fitted_prior(engine, params, rows, penalty), shrinkage)


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


def fitted_prior(engine: Engine, params: Params, rows: Batch, penalty: float) -> Params:
    """Weights and bias of each classifier's regression prior, from encoded rows."""
    found: Params = {}
    for prefix, mine in _parts(engine, params, rows):
        with torch.no_grad():
            z = engine.fn(params, mine)
        there = seen(mine)
        if not there.any():
            continue
        weight, bias = _regressed(z[there], mine.targets[there], engine.output, penalty)
        scale = params[f"{prefix}log_temperature"].exp() if engine.output.has_probabilities else 1.0
        found |= {
            f"{prefix}regression_prior.weight": weight / scale,
            f"{prefix}regression_prior.bias": bias / scale,
        }
    return found


def _able(engine: Engine) -> bool:
    learner = engine.learner
    return isinstance(learner.base if isinstance(learner, PerModality) else learner, (Ridge, KernelRidge))


def _parts(engine: Engine, params: Params, rows: Batch) -> Iterator[tuple[str, Batch]]:
    """The names that a classifier's parameters begin with, and the rows as it sees them."""
    if isinstance(engine.learner, PerModality):
        for name, mine, _ in engine.learner.split(params, rows):
            yield f"learner.{name}.", mine
    else:
        yield "learner.", rows


def _rows(context: Context, params: Params, tasks: Sequence[Task]) -> Batch:
    """The tasks' rows as the learner reads them; of very many some."""
    rows = np.unique(np.concatenate([r for task in tasks for r in task.rows]))
    rows = rows[:: 1 + len(rows) // _MOST]
    with torch.no_grad():
        return context.engine.encode(params, context.rows.take(torch.from_numpy(rows)))


def _regressed(
    z: Float[Tensor, "n d"], targets: Float[Tensor, "n k"], output: Output, penalty: float
) -> tuple[Float[Tensor, "k d"], Float[Tensor, "k"]]:
    """`min over W, b of mean L(W z + b, y) + ½ penalty |W|²`, by L-BFGS from zero."""
    weight = z.new_zeros(targets.shape[-1], z.shape[-1], requires_grad=True)
    bias = z.new_zeros(targets.shape[-1], requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = output.loss(z @ weight.mT + bias, targets) + 0.5 * penalty * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)
    return weight.detach(), bias.detach()
