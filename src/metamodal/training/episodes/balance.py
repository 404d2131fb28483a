"""Imbalance of classes, tasks and modalities: what training does about it, and what came of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from metamodal.data.tasks.episodes import Draw, Task
from metamodal.errors import OptionError, suggestion
from metamodal.training.episodes.options import EpisodeOptions
from metamodal.types import Batch

__all__ = ["Balancer", "Spread", "Tally", "check_modalities"]


@dataclass(frozen=True)
class Spread:
    """How unevenly something is shared out: the least, the most, and the effective number.

    The effective number is `exp(entropy)` of the shares: as many equal shares would be as uneven.
    """

    count: int
    least: float
    most: float
    effective: float

    @classmethod
    def of(cls, amounts: Sequence[float | int]) -> Spread:
        """Of no amounts, or of zeros alone, it is all zeros."""
        x = np.asarray(amounts, dtype=float)
        if not len(x) or x.sum() == 0:
            return cls(len(x), 0.0, 0.0, 0.0)
        shares = x[x > 0] / x.sum()
        return cls(len(x), float(x.min()), float(x.max()), math.exp(-float((shares * np.log(shares)).sum())))

    @property
    def ratio(self) -> float:
        return self.most / self.least if self.least else math.inf


@dataclass(frozen=True)
class Tally:
    """What training saw of the units of one sort, beside what the table has of them."""

    what: str
    table: Spread
    seen: Spread
    options: dict[str, str]


class Balancer:
    """Changes drawn rows as the options say, weighs classes and modalities, and counts what is drawn.

    Args:
        rows: the encoded table that `tasks` point into.
    """

    def __init__(
        self, rows: Batch, tasks: Sequence[Task], options: EpisodeOptions, rng: np.random.Generator
    ) -> None:
        self.rows, self.options, self.rng = rows, options, rng
        self.tasks = tasks
        self.has_classes = rows.targets.shape[-1] == 0
        if not self.has_classes:
            _check_classless(options)
        names = list(rows.present)
        check_modalities(options.noise, names, "train.episodes.noise")
        check_modalities(options.dropout, names, "train.episodes.dropout")
        members = np.unique(np.concatenate([r for task in tasks for r in task.rows]))
        present = {m: p.numpy() for m, p in rows.present.items()}
        self.coverage = {m: float(p[members].mean()) for m, p in present.items()}
        self._mates = {
            m: {int(row): r[p[r]] for task in tasks for r in task.rows for row in r}
            for m, p in present.items()
            if options.mix_cells
        }
        unique = Counter(name for task in tasks for name in task.classes)
        self._key = {
            (task.name, name): name if unique[name] == 1 else f"{task.name}/{name}"
            for task in tasks
            for name in task.classes
        }
        self._task_of = {self._key[task.name, name]: task.name for task in tasks for name in task.classes}
        self._number = {name: i for i, name in enumerate(self._task_of)}
        self.drawn: Counter[str] = Counter()
        self.shown: Counter[str] = Counter()
        self.rows_seen = self.recombined_cells = 0

    def class_weights(self, draw: Draw, targets: Tensor) -> Tensor:
        """Targets `(t, n, k)` weighed by each class's rows to minus the power, one on average."""
        power = self.options.class_weight
        if not power:
            return targets
        weights = draw.sizes.to(targets.dtype).clamp(min=1) ** -power
        return targets * (weights / weights.mean(1, keepdim=True))[:, None, :]

    def modality_weights(self, power: float) -> dict[str, float]:
        """Weights of the modalities' own losses: coverage to this negative power, one on average."""
        raw = {m: max(share, 1e-3) ** -power for m, share in self.coverage.items()}
        mean = sum(raw.values()) / len(raw)
        return {m: weight / mean for m, weight in raw.items()}

    def recombined(self, batch: Batch, draw: Draw) -> Batch:
        """Rows some of whose cells are those of another row of their class.

        The other row is not on the other side of the episode, and has the modality: so a cell that is
        absent may be filled by a classmate's. With one modality nothing changes.
        """
        if not self.options.mix_cells or len(batch.inputs) < 2:
            return batch
        flat = torch.cat([draw.support, draw.query], 1).numpy()
        real = torch.cat([draw.support_codes, draw.query_codes], 1).numpy() >= 0
        shots = draw.support.shape[1]
        inputs, present = dict(batch.inputs), dict(batch.present)
        for m, mates in self._mates.items():
            donors = flat.copy()
            for e, i in np.argwhere(real & (self.rng.random(flat.shape) < self.options.mix_cells)):
                other = flat[e, shots:] if i < shots else flat[e, :shots]
                able = np.setdiff1d(mates[int(flat[e, i])], other)
                if len(able):
                    donors[e, i] = self.rng.choice(able)
            changed = donors != flat
            if changed.any():
                at = torch.from_numpy(donors.flatten())
                inputs[m], present[m] = self.rows.inputs[m][at], self.rows.present[m][at]
                self.recombined_cells += int(changed.sum())
        return batch._replace(inputs=inputs, present=present)

    def noisy(self, batch: Batch, generator: Generator) -> Batch:
        """Gaussian noise on the tensors of the modalities that the options name."""
        inputs = dict(batch.inputs)
        for m, scale in self.options.noise.items():
            x = inputs[m]
            noise = scale * torch.randn(x.shape, generator=generator)
            inputs[m] = x + noise * batch.present[m].view(-1, *[1] * (x.dim() - 1))
        return batch._replace(inputs=inputs)

    def missing_rates(self, rates: Tensor) -> Tensor:
        """Chances `(n, m)` that cells are left out: `rates` of the rows, and each modality's dropout."""
        dropped = torch.tensor([float(self.options.dropout.get(m, 0.0)) for m in self.rows.present])
        return 1 - (1 - rates[:, None]) * (1 - dropped)

    @property
    def classes(self) -> int:
        """How many classes there are to train on."""
        return len(self._task_of)

    def numbers(self, draw: Draw) -> Tensor:
        """The number of each drawn class among all, `(t, way)`."""
        numbers = self._number
        return torch.tensor(
            [
                [numbers[self._key.get((task, name), name)] for name in names]
                for task, names in zip(draw.tasks, draw.names)
            ]
        )

    def count(self, draw: Draw, batch: Batch) -> None:
        """Remember what an episode was made of."""
        for task, names in zip(draw.tasks, draw.names):
            self.drawn.update(self._key.get((task, name), name) for name in names)
        for m, present in batch.present.items():
            self.shown[m] += int(present.sum())
        self.rows_seen += len(batch.targets)

    def tallies(self) -> tuple[Tally, ...]:
        """Classes, tasks and modalities: in the table, and as training saw them."""
        sizes = {self._key[t.name, n]: len(r) for t in self.tasks for n, r in zip(t.classes, t.rows)}
        classes = Tally(
            "classes, by rows",
            Spread.of(list(sizes.values())),
            Spread.of([self.drawn[name] for name in sizes]),
            self._said("class_sampling", "class_weight"),
        )
        found = [] if not self.has_classes else [classes]
        if len(self.tasks) > 1:
            of_task: Counter[str] = Counter()
            for name, count in self.drawn.items():
                of_task[self._task_of[name]] += count
            rows = [sum(map(len, t.rows)) for t in self.tasks]
            seen = [of_task[t.name] for t in self.tasks]
            found.append(
                Tally(
                    "tasks, by rows",
                    Spread.of(rows),
                    Spread.of(seen),
                    self._said("task_sampling", "cross_task"),
                )
            )
        if len(self.coverage) > 1:
            shares = [self.shown[m] / max(1, self.rows_seen) for m in self.coverage]
            options = ("missing", "mix_cells", "dropout", "noise")
            table = Spread.of(list(self.coverage.values()))
            found.append(
                Tally("modalities, by share of rows", table, Spread.of(shares), self._said(*options))
            )
        return tuple(found)

    def _said(self, *names: str) -> dict[str, str]:
        return {name: str(getattr(self.options, name)) for name in names}


def _check_classless(options: EpisodeOptions) -> None:
    """OptionError if an option is about classes, which multilabel and regression targets do not have."""
    for name in ("class_sampling", "class_weight", "mix_cells"):
        if getattr(options, name):
            raise OptionError(
                f"train.episodes.{name}={getattr(options, name)}: only classification has classes. Leave it out."
            )


def check_modalities(said: Mapping[str, float], known: Sequence[str], option: str) -> None:
    """OptionError unless every name is a modality."""
    for name in said:
        if name not in known:
            raise OptionError(f"{option}.{name}: no such modality. {suggestion(name, known)}")
