"""The score of the same validation episodes every time; see `SCORES`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from metamodal.data.tasks.episodes import Draw, Sampling, Shape, draw_episodes, episodes_of
from metamodal.data.tasks.pseudo import crossed
from metamodal.errors import DataError
from metamodal.evaluation.metrics import SCORES, interval, scores_of
from metamodal.meta.engine import Engine
from metamodal.training.context import Context
from metamodal.training.episodes.pools import CROSSED
from metamodal.training.episodes.shapes import pooled_shape
from metamodal.training.selection.shrinkage import SHRINKAGES, shrunk
from metamodal.types import Batch, Episode, Params

__all__ = ["ValidationEpisodes", "validations_of"]

_MOST = 5  # support rows of a class


class ValidationEpisodes:
    """Validation episodes, drawn once; of labels and numbers they know none to all support rows, in turn.

    `queried` says which rows are asked for, `(t, q)`.

    Args:
        shot: support rows of a class.

    Raises:
        DataError: no validation task has so many rows.
    """

    def __init__(self, context: Context, shot: int = 1) -> None:
        tasks, class_info = context.pools, context.class_info
        self.context = context
        alone = len(tasks.valid) < 2  # one task gives no estimate for others
        self.shrinkages = SHRINKAGES[-1:] if alone else SHRINKAGES
        self.shape = _shape(context, shot)
        draw = _draw(context, self.shape)
        self.class_info = class_info.of(draw) if class_info and not tasks.blind else {}
        needed = torch.cat([draw.support, draw.query], 1)
        if tasks.blind:  # a row is its own class there: each appearance is to differ
            unique, where = needed.flatten(), torch.arange(needed.numel()).view_as(needed)
        else:
            unique, where = needed.unique(return_inverse=True)
        rows = context.rows.take(unique)
        self.rows = _varied(context, rows, draw) if tasks.blind else rows
        shots = draw.support.shape[1]
        self.queried = draw.query
        self.draw = replace(draw, support=where[:, :shots], query=where[:, shots:])

    def __call__(self, params: Params) -> tuple[float, float, Params]:
        """The score, its interval, and the parameters with the shrinkage that scores best."""
        shrinkages = self.shrinkages if not self.context.engine.output.has_classes else (0.0,)
        with torch.no_grad():
            episodes = self.episodes(params)
            tried = [shrunk(self.context.engine, params, s) for s in shrinkages]
            scores = [interval(self.rated(each, episodes)) for each in tried]
        best = max(range(len(tried)), key=lambda i: scores[i][0])
        return *scores[best], tried[best]

    def episodes(self, params: Params) -> Episode:
        """The episodes as the learner reads them, without gradients."""
        with torch.no_grad():
            encoded = self.context.engine.encode(params, self.rows)
        return episodes_of(encoded, self.draw, self.shape.way, self.class_info)

    def rated(self, params: Params, episodes: Episode, engine: Engine | None = None) -> Float[Tensor, " t"]:
        """The score of each of these episodes, as they were read or with less to be seen, maybe under another
        learner on the same encoders."""
        engine = engine or self.context.engine
        output = engine.output
        with torch.no_grad():
            logits = engine.logits(params, episodes)
        return scores_of(output, logits.cpu(), episodes.query.targets.cpu())[SCORES[output.name]]

    def evidence(
        self,
        params: Params,
        episodes: Episode,
        engine: Engine | None = None,
        part: slice = slice(None),
    ) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
        """What tells parameters or engines apart, and the validation row that each value is of; of all or some
        of the episodes.

        Of classes whether each query row gets its own (NaN where it has none): many episodes of few rows
        say little more than the rows (see `interval`). Of labels and numbers each episode's score.
        """
        engine, episodes = engine or self.context.engine, episodes.some(part)
        if not engine.output.has_classes:
            scores = self.rated(params, episodes, engine)
            return scores, torch.arange(len(self.queried))[part]
        targets = episodes.query.targets
        with torch.no_grad():
            guess = engine.logits(params, episodes).argmax(-1, keepdim=True)
        hits = torch.where(targets.sum(-1) > 0, targets.gather(-1, guess)[..., 0], torch.nan)
        return hits.flatten().cpu(), self.queried[part].flatten()


def validations_of(context: Context) -> list[ValidationEpisodes]:
    """One of a single support row a class, and one of as many up to five as validation tasks have; of labels
    and numbers, whose episodes know any number of rows, one for all."""
    found = []
    for shot in (1, *range(_MOST, 1, -1)):
        try:
            found.append(ValidationEpisodes(context, shot))
        except DataError:
            continue
        if len(found) == 2 or not context.engine.output.has_classes:
            break
    return found


def _shape(context: Context, shot: int) -> Shape:
    if not context.engine.output.has_classes:
        return pooled_shape(context.pools.valid, context.episodes)
    most = max(len(task.usable(shot)) for task in context.pools.valid)
    return Shape(way=min(5, max(2, most)), shot=shot, query=5)


def _draw(context: Context, shape: Shape) -> Draw:
    tasks, episodes = context.pools, context.valid_episodes
    rng = np.random.default_rng([context.seed, 1])
    sampling = Sampling(tasks=0.0) if tasks.blind else None
    count = episodes // 3 + 1 if tasks.blind else episodes
    draw = draw_episodes(tasks.valid, shape, count, rng, "validation", sampling)
    if context.engine.output.has_classes:
        return draw
    return draw.knowing(torch.arange(episodes) % (shape.shot + 1))


def _varied(context: Context, rows: Batch, draw: Draw) -> Batch:
    """Drawn rows, flat, augmented and with different modalities in support and query."""
    generator = torch.Generator().manual_seed(context.seed)
    return crossed(context.preprocessor.augment(rows, generator), draw, CROSSED, generator)
