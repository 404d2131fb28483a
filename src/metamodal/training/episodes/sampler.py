"""A step's episodes: drawn from the tasks, and varied as the options say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metamodal.data.features.encode import Preprocessor
from metamodal.data.tasks.episodes import Draw, Sampling, Shape, Task, draw_episodes, random_missing
from metamodal.data.tasks.pseudo import crossed
from metamodal.training.context import Context
from metamodal.training.episodes.balance import Balancer
from metamodal.training.episodes.pools import CROSSED
from metamodal.training.episodes.shapes import fitting_shape, pooled_shape, together
from metamodal.types import Batch

__all__ = ["Drawn", "EpisodeSampler"]


@dataclass(frozen=True)
class Drawn:
    """A step's episodes of `way` classes, their varied `rows` flat, each class under its symmetry `turned`."""

    draw: Draw
    way: int
    rows: Batch
    turned: Tensor
    unlabelled: bool


class EpisodeSampler:
    """An endless source of training episodes: drawn, balanced, augmented, with cells removed.

    An objective sees it in `weights` and `start`, where it needs the number of classes, and in `Step.sampler`. Each
    worker process has its own, reseeded by its number.

    >>> from metamodal.extend import EpisodeSampler
    >>> [name for name in ("classes", "drawn", "numbers", "reseed") if hasattr(EpisodeSampler, name)]
    ['classes', 'drawn', 'numbers', 'reseed']

    Args:
        context: the table, its tasks and the options of episodes.

    Attributes:
        classes: how many classes there are, each under each of its symmetries; the width of a classifier over all.
        variants: how many symmetries, the identity included.
        generator: of everything random in augmentation.
    """

    def __init__(self, context: Context) -> None:
        self.context, self.options, pools = context, context.episodes, context.pools
        self.has_classes = context.engine.output.has_classes
        self.rng = np.random.default_rng(context.seed)
        self.generator = torch.Generator().manual_seed(context.seed)
        self.variants = (
            context.preprocessor.variants if self.options.class_symmetries and self.has_classes else 1
        )
        self.balancer = Balancer(context.rows, [*pools.pseudo, *pools.train], self.options, self.rng)
        self.pools = (pools.train, together(pools.train))
        self.count = self.options.a_step(classes=self.has_classes)
        self.sampling = Sampling(self.options.class_sampling, self.options.task_sampling)

    @property
    def classes(self) -> int:
        """How many classes there are, each under each symmetry."""
        return self.balancer.classes * self.variants

    def reseed(self, number: int) -> None:
        """Other episodes than those of other workers, by this worker's number."""
        self.rng = np.random.default_rng([self.context.seed, number])
        self.balancer.rng = self.rng
        self.generator.manual_seed(self.context.seed + 1_000_003 * number)

    def drawn(self) -> Drawn:
        """The next step's episodes."""
        share = self.context.pools.share
        unlabelled = bool(share) and self.rng.random() < share
        pool = self._pool(unlabelled=unlabelled)
        shape, draw = self._shaped(pool, Sampling(tasks=0.0) if unlabelled else self.sampling)
        turned = torch.randint(self.variants, (len(draw.support), shape.way), generator=self.generator)
        rows = self._varied(draw, turned, unlabelled=unlabelled)
        self.balancer.count(draw, rows)
        return Drawn(draw, shape.way, rows, turned, unlabelled)

    def numbers(self, drawn: Drawn) -> Tensor:
        """The number of each drawn class under its symmetry among all, `(t, way)`."""
        return self.balancer.numbers(drawn.draw) * self.variants + drawn.turned

    def _pool(self, *, unlabelled: bool) -> list[Task]:
        """The tasks to draw from; of unlabelled rows half the time each by itself."""
        if not unlabelled:
            return self.pools[int(self.rng.random() < self.options.cross_task)]
        pseudo = self.context.pools.pseudo
        each, clusters = pseudo[:1], pseudo[1:]
        return clusters if clusters and self.rng.random() < 0.5 else each

    def _shaped(self, pool: list[Task], sampling: Sampling) -> tuple[Shape, Draw]:
        """Shape and draw; of labels and numbers each episode with a random part of the support known."""
        if self.has_classes:
            shape = fitting_shape(pool, int(self.rng.integers(1, self.options.rows)), self.options)
            return shape, draw_episodes(pool, shape, self.count, self.rng, sampling=sampling)
        shape = pooled_shape(pool, self.options)
        draw = draw_episodes(pool, shape, self.count, self.rng, sampling=sampling)
        return shape, draw.knowing(torch.from_numpy(self.rng.integers(0, shape.shot + 1, self.count)))

    def _varied(self, draw: Draw, turned: Tensor, *, unlabelled: bool) -> Batch:
        """The drawn rows, flat, each class `(t, k)` under its symmetry, augmented, with cells missing."""
        flat = torch.cat([draw.support, draw.query], 1)
        batch = self.balancer.recombined(self.context.rows.take(flat.flatten()), draw)
        if self.variants > 1:
            codes = torch.cat([draw.support_codes, draw.query_codes], 1).clamp(min=0)
            batch = _under_variants(self.context.preprocessor, batch, turned.gather(1, codes).flatten())
        if self.options.augment:
            batch = self.context.preprocessor.augment(batch, self.generator)
        batch = self.balancer.noisy(batch, self.generator)
        batch = crossed(batch, draw, CROSSED if unlabelled else self.options.cross_modal, self.generator)
        if (self.options.missing or self.options.dropout) and len(batch.inputs) > 1:
            rates = self.balancer.missing_rates(self._missing_rates(draw).flatten())
            batch = random_missing(batch, rates, self.generator)
        return batch

    def _missing_rates(self, draw: Draw) -> Tensor:
        """A rate for the support and another for the query of each episode, 0 in most."""
        sides = (len(draw.support), 2)
        rates = 0.8 * torch.rand(sides, generator=self.generator)
        some = torch.rand((sides[0], 1), generator=self.generator) < self.options.missing
        rates = rates * some
        widths = torch.tensor([draw.support.shape[1], draw.query.shape[1]])
        return torch.repeat_interleave(rates, widths, dim=1)


def _under_variants(preprocessor: Preprocessor, batch: Batch, numbers: Tensor) -> Batch:
    """Each row under its symmetry."""
    parts, places = [], []
    for number in numbers.unique().tolist():
        at = (numbers == number).nonzero()[:, 0]
        parts.append(preprocessor.variant(batch.take(at), number))
        places.append(at)
    order = torch.cat(places).argsort()
    inputs = {m: torch.cat([p.inputs[m] for p in parts])[order] for m in batch.inputs}
    return batch._replace(inputs=inputs)
