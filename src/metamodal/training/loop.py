"""Meta-training: episodes in, the best parameters out, within a budget of time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metamodal.data.encode import Preprocessor
from metamodal.data.pseudo import crossed
from metamodal.data.tasks import Draw, Sampling, Shape, Task, draw_episodes, episodes_of, random_missing
from metamodal.errors import DataError
from metamodal.evaluation.metrics import SCORES, interval, scores_of
from metamodal.meta.engine import Engine
from metamodal.meta.outer import classifier_start, outer_rules
from metamodal.outputs import Output
from metamodal.training.balance import Balancer, Tally
from metamodal.training.caution import CAUTIONS, cautious
from metamodal.training.options import TrainOptions
from metamodal.training.sources import CROSSED, Sources
from metamodal.training.told import Told
from metamodal.training.workers import Workers
from metamodal.types import Batch, Episode, Params

__all__ = ["Progress", "Trained", "meta_train"]

_QUICK = 20.0  # times as fast learners' variances and penalties of labels and numbers are learned


@dataclass(frozen=True)
class Progress:
    """Where training stands, after each step and each validation; which candidate's, where there are several.

    `accuracy` is the validation score: of labels and numbers what `SCORES` names instead.
    """

    step: int
    elapsed: float
    left: float
    loss: float
    episodes_per_second: float
    accuracy: float | None = None
    ci95: float | None = None
    best: float | None = None
    validated: bool = False
    candidate: str = ""


@dataclass(frozen=True)
class Trained:
    """The best parameters by validation accuracy, the validations in order, and why it ended.

    `balance` is what training saw of classes, tasks and modalities.
    """

    params: Params
    history: tuple[Progress, ...]
    ended: str
    steps: int
    balance: tuple[Tally, ...] = ()


def meta_train(
    engine: Engine,
    preprocessor: Preprocessor,
    rows: Batch,
    tasks: Sources,
    options: TrainOptions,
    *,
    seed: int = 0,
    start: Params | None = None,
    told: Told | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Trained:
    """Minimise the query loss of training episodes; keep the weights that validate best.

    The weights validated and kept are the running mean of those trained (Polyak averaging). An
    interrupt ends training and keeps what is best so far. Same seed and `options.steps`, same
    result; a budget of time alone makes the number of steps hang on the machine.

    Args:
        rows: the encoded table that `tasks` point into.
        start: parameters to go on from, kept unless training betters them; by default the engine's
            initial ones.
        told: what is known of the rows' classes.
        watch: called after every step and validation.
    """
    course = _Course(engine, preprocessor, rows, tasks, options, seed, start, told)
    judge = _Judge(engine, preprocessor, rows, tasks, options, seed, told)
    history: list[Progress] = []
    best_params, since, best = course.averaged(), 0, -math.inf
    if start is not None:
        best, _, best_params = judge(best_params)
    ended = "no improvement"
    try:
        with course.workers:
            for progress, due in course.steps():
                if due:
                    accuracy, ci95, params = judge(course.averaged())
                    if accuracy > best:
                        best, best_params, since = accuracy, params, 0
                    else:
                        since += 1
                    progress = course.progress(accuracy=accuracy, ci95=ci95, best=best, validated=True)
                    history.append(progress)
                watch(progress)
                if since >= options.patience:
                    break
            else:
                ended = "steps" if course.step == options.steps else "budget"
    except KeyboardInterrupt:
        ended = "interrupted"
        if math.isinf(best):
            best_params = course.averaged()
    return Trained(best_params, tuple(history), ended, course.step, course.balancer.tallies())


class _Course:
    """The parameters on their way, and the clock."""

    def __init__(
        self,
        engine: Engine,
        preprocessor: Preprocessor,
        rows: Batch,
        tasks: Sources,
        options: TrainOptions,
        seed: int,
        start: Params | None,
        told: Told | None,
    ) -> None:
        self.told = told
        self.engine, self.preprocessor, self.rows, self.options = engine, preprocessor, rows, options
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.variants = preprocessor.variants if options.variants and not engine.output.fixed else 1
        self.balancer = Balancer(rows, [*tasks.pseudo, *tasks.train], options, self.rng)
        begin = dict(start or engine.initial())
        if options.outer == "supervised":
            torch.manual_seed(seed)
            begin |= classifier_start(engine, self.balancer.classes * self.variants)
        self.params = {k: v.detach().clone().requires_grad_() for k, v in begin.items()}
        self.mean = {k: v.detach().clone() for k, v in self.params.items()}
        quick = _QUICK if engine.output.fixed else 1.0
        self.optimiser = torch.optim.AdamW(_groups(self.params, options, quick))
        self.pools = (tasks.train, _together(tasks.train))
        self.pseudo, self.unlabelled = tasks.pseudo, tasks.share
        self.sampling = Sampling(options.class_sampling, options.task_sampling)
        self.alone = self.balancer.modality_weights()
        self.step, self.loss, self.began = 0, math.nan, time.perf_counter()
        size = sum(v.numel() for v in self.params.values())
        self.seed, self.number, self.weights = seed, 0, torch.zeros(size).share_memory_()
        self.workers = Workers(options.workers, self._job, size + 1)

    def steps(self) -> Iterator[tuple[Progress, bool]]:
        """One optimiser step after another, each with whether a validation is due."""
        validated = 0
        while self._share() < 1 and self._elapsed() < self.options.budget:
            for group in self.optimiser.param_groups:
                group["lr"] = group["highest"] * 0.5 * (1 + math.cos(math.pi * self._share()))
            self._take_step()
            due = (
                int(self._share() * self.options.validations) > validated
                or self._share() >= 1
                or self._elapsed() >= self.options.budget
            )
            if due:
                validated = int(self._share() * self.options.validations)
            yield self.progress(), due

    def averaged(self) -> Params:
        return {k: v.clone() for k, v in self.mean.items() if not k.startswith("outer.")}

    def progress(self, **result: float | bool | None) -> Progress:
        elapsed = self._elapsed()
        left = elapsed / max(self._share(), 1e-9) - elapsed
        drawn = self.options.tasks if self.engine.output.fixed else self.options.episodes
        rate = self.step * drawn * self.options.workers / max(elapsed, 1e-9)
        return Progress(self.step, elapsed, max(0.0, left), self.loss, rate, **result)  # type: ignore[arg-type]

    def _share(self) -> float:
        """How much of training is done: of its steps, where their number is said, else of its time."""
        if self.options.steps:
            return self.step / self.options.steps
        return self._elapsed() / self.options.budget

    def _elapsed(self) -> float:
        return time.perf_counter() - self.began

    def _take_step(self) -> None:
        value = self._fill_gradients()
        torch.nn.utils.clip_grad_norm_(list(self.params.values()), self.options.clip)
        self.optimiser.step()
        self.step += 1
        self.loss = value if math.isnan(self.loss) else 0.98 * self.loss + 0.02 * value
        keep = min(self.options.averaging, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, mean in self.mean.items():
                mean.lerp_(self.params[name], 1 - keep)

    def _fill_gradients(self) -> float:
        """The gradient of a step's episodes in every parameter, those of other workers among them."""
        with torch.no_grad():
            torch.cat([v.flatten() for v in self.params.values()], out=self.weights)
        mean = self.workers.mean()
        parts = mean[:-1].split([v.numel() for v in self.params.values()])
        for value, part in zip(self.params.values(), parts):
            value.grad = part.view_as(value)
        return float(mean[-1])

    def _job(self, number: int) -> Tensor:
        """The gradient at the shared weights as one vector, and the loss behind it."""
        if number and self.number != number:
            self.number = number
            self.rng = np.random.default_rng([self.seed, number])
            self.balancer.rng = self.rng
            self.generator.manual_seed(self.seed + 1_000_003 * number)
        if number:
            parts = self.weights.split([v.numel() for v in self.params.values()])
            with torch.no_grad():
                for value, part in zip(self.params.values(), parts):
                    value.copy_(part.view_as(value))
        loss = self._episode_loss()
        found = torch.autograd.grad(loss, list(self.params.values()), materialize_grads=True)
        return torch.cat([*(g.flatten() for g in found), loss.detach()[None]])

    def _episode_loss(self) -> Tensor:
        """Query loss of a step's episodes, all modalities and, weighed, each by itself."""
        unlabelled = bool(self.unlabelled) and self.rng.random() < self.unlabelled
        shape, draw = self._drawn(
            self._pool(unlabelled), Sampling(tasks=0.0) if unlabelled else self.sampling
        )
        turned = torch.randint(self.variants, (len(draw.support), shape.way), generator=self.generator)
        raw = self._varied(draw, turned, unlabelled=unlabelled)
        self.balancer.count(draw, raw)
        encoded = self.engine.encode(self.params, raw, chunk=len(raw.targets))
        episodes = _stacked(encoded, draw, shape.way)
        if self.told is not None and not unlabelled:
            episodes = self.told.varied(episodes, draw, self.options, self.generator)
        targets = self.balancer.class_weights(draw, episodes.query.targets)
        weighed = Episode(episodes.support, episodes.query.labelled(targets))
        classes = self.balancer.numbers(draw) * self.variants + turned
        loss = outer_rules[self.options.outer](self.engine, self.params, weighed, classes)
        if (
            self.options.outer == "query"
            and self.options.alone
            and self.engine.learner.reads == "tokens"
            and len(raw.inputs) > 1
        ):
            for name in raw.inputs:
                alone = Episode(episodes.support.only([name]), episodes.query.only([name]))
                logits = self.engine.logits(self.params, alone)
                seen = _where_present(self.engine.output, targets, alone.query.present[name])
                loss = loss + self.options.alone * self.alone[name] * self.engine.output.loss(logits, seen)
        return loss

    def _pool(self, unlabelled: bool) -> list[Task]:
        """The tasks that a step's episodes are drawn from; of unlabelled rows half the time each by itself."""
        if not unlabelled:
            return self.pools[int(self.rng.random() < self.options.across)]
        each, clusters = self.pseudo[:1], self.pseudo[1:]
        return clusters if clusters and self.rng.random() < 0.5 else each

    def _drawn(self, pool: list[Task], sampling: Sampling) -> tuple[Shape, Draw]:
        """A step's episodes; of labels and numbers each with a random part of the support known."""
        if not self.engine.output.fixed:
            shape = _fitting(pool, int(self.rng.integers(1, self.options.rows)), self.options)
            return shape, draw_episodes(pool, shape, self.options.episodes, self.rng, sampling=sampling)
        shape = _pooled(pool, self.options)
        draw = draw_episodes(pool, shape, self.options.tasks, self.rng, sampling=sampling)
        return shape, draw.knowing(torch.from_numpy(self.rng.integers(0, shape.shot + 1, self.options.tasks)))

    def _varied(self, draw: Draw, turned: Tensor, *, unlabelled: bool) -> Batch:
        """The drawn rows, flat, each class under its symmetry `turned` `(t, k)`, augmented, with cells missing."""
        flat = torch.cat([draw.support, draw.query], 1)
        batch = self.balancer.recombined(self.rows.take(flat.flatten()), draw)
        if self.variants > 1:
            codes = torch.cat([draw.support_codes, draw.query_codes], 1).clamp(min=0)
            batch = _under_variants(self.preprocessor, batch, turned.gather(1, codes).flatten())
        if self.options.augment:
            batch = self.preprocessor.augment(batch, self.generator)
        batch = self.balancer.noisy(batch, self.generator)
        if unlabelled:
            batch = crossed(batch, draw, CROSSED, self.generator)
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


def _groups(params: Params, options: TrainOptions, quick: float = 1.0) -> list[dict[str, Any]]:
    """Parameters by whether they decay, whether they came trained, and whether they are scalars of the learner.

    Args:
        quick: how many times as fast those scalars learn.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, value in params.items():
        highest = options.pretrained_lr if ".pretrained." in name else options.lr
        if name.startswith("learner.") and not value.dim():
            highest *= max(quick, _QUICK if name.endswith("log_inner_lr") else 1.0)
        groups.setdefault((highest, options.weight_decay if value.dim() > 1 else 0.0), []).append(value)
    return [
        {"params": chosen, "weight_decay": decay, "lr": highest, "highest": highest}
        for (highest, decay), chosen in groups.items()
    ]


class _Judge:
    """The score of the same validation episodes every time; see `SCORES`.

    Episodes of labels and numbers know none to all of their support rows, in turn.
    """

    def __init__(
        self,
        engine: Engine,
        preprocessor: Preprocessor,
        rows: Batch,
        tasks: Sources,
        options: TrainOptions,
        seed: int,
        told: Told | None,
    ) -> None:
        self.engine = engine
        alone = len(tasks.valid) < 2  # one task tells nothing of others
        self.cautions = CAUTIONS[-1:] if alone else CAUTIONS
        most = max(len(task.usable(1)) for task in tasks.valid)
        self.shape = Shape(way=min(5, max(2, most)), shot=1, query=5)
        if engine.output.fixed:
            self.shape = _pooled(tasks.valid, options)
        rng = np.random.default_rng([seed, 1])
        sampling = Sampling(tasks=0.0) if tasks.blind else None
        episodes = options.valid_episodes // 3 + 1 if tasks.blind else options.valid_episodes
        self.draw = draw_episodes(tasks.valid, self.shape, episodes, rng, "validation", sampling)
        if engine.output.fixed:
            self.draw = self.draw.knowing(torch.arange(options.valid_episodes) % (self.shape.shot + 1))
        self.about = told.of(self.draw) if told and not tasks.blind else {}
        needed = torch.cat([self.draw.support, self.draw.query], 1)
        if tasks.blind:  # a row is its own class there: each appearance is to differ
            unique, where = needed.flatten(), torch.arange(needed.numel()).view_as(needed)
        else:
            unique, where = needed.unique(return_inverse=True)
        self.rows = rows.take(unique)
        if tasks.blind:
            generator = torch.Generator().manual_seed(seed)
            varied = preprocessor.augment(self.rows, generator)
            self.rows = crossed(varied, self.draw, CROSSED, generator)
        shots = self.draw.support.shape[1]
        self.draw = replace(self.draw, support=where[:, :shots], query=where[:, shots:])

    def __call__(self, params: Params) -> tuple[float, float, Params]:
        """The score, its interval, and the parameters with the caution that scores best."""
        cautions = self.cautions if self.engine.output.fixed else (0.0,)
        with torch.no_grad():
            encoded = self.engine.encode(params, self.rows)
            episodes = episodes_of(encoded, self.draw, self.shape.way, self.about)
            tried = [cautious(params, caution) for caution in cautions]
            scores = [self._score(each, episodes) for each in tried]
        best = max(range(len(tried)), key=lambda i: scores[i][0])
        return *scores[best], tried[best]

    def _score(self, params: Params, episodes: Episode) -> tuple[float, float]:
        logits, output = self.engine.logits(params, episodes), self.engine.output
        return interval(scores_of(output, logits, episodes.query.targets)[SCORES[output.name]])


def _together(tasks: list[Task]) -> list[Task]:
    """All tasks' classes as one task, unless tasks share class names.

    Of shared names nothing says whether they mean the same class (a diagnosis in every ward) or not
    (the first letter of every alphabet), so such tasks are never mixed.
    """
    names = [c for t in tasks for c in t.classes]
    if len(set(names)) < len(names) or not names:
        return tasks
    rows, groups = (tuple(x for t in tasks for x in getattr(t, field)) for field in ("rows", "groups"))
    return [Task("all", tuple(names), rows, groups)]


def _fitting(tasks: list[Task], shot: int, options: TrainOptions) -> Shape:
    """The wished shape, with no more classes than half of the tasks have, and no more shots."""
    for fewer in range(shot, 0, -1):
        counts = sorted(len(t.usable(fewer)) for t in tasks)
        middle = next((n for n in counts[len(counts) // 2 :] if n >= 2), 0)
        if middle:
            return Shape(way=min(options.way, middle), shot=fewer, query=options.rows - fewer)
    raise DataError("no training task has two classes of two or more rows. Give more labelled rows.")


def _pooled(tasks: list[Task], options: TrainOptions) -> Shape:
    """The wished shape of episodes of labels or numbers, with no more support rows than half of the tasks allow."""
    sizes = sorted(len(rows) for task in tasks for rows in task.rows)
    shot = max(1, min(options.support, sizes[len(sizes) // 2] - 1))
    return Shape(way=1, shot=shot, query=options.queries, pooled=True)


def _where_present(output: Output, targets: Tensor, present: Tensor) -> Tensor:
    """Targets of the rows that are there, the others unknown."""
    if output.fixed:
        return torch.where(present[..., None], targets, torch.nan)
    return targets * present[..., None]


def _stacked(encoded: Batch, draw: Draw, way: int) -> Episode:
    """Flat encoded rows of a draw as a stack of episodes."""
    tasks, shots = draw.support.shape
    place = torch.arange(tasks * (shots + draw.query.shape[1])).reshape(tasks, -1)
    return episodes_of(encoded, replace(draw, support=place[:, :shots], query=place[:, shots:]), way)


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
