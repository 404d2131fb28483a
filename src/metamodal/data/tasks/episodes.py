"""Tasks and episodes: where few-shot problems come from, and how one is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from metamodal.data.dataset import Dataset
from metamodal.errors import DataError, OptionError
from metamodal.types import Batch, Episode, one_hot

__all__ = [
    "Draw",
    "Sampling",
    "Shape",
    "Task",
    "draw_episodes",
    "episodes_of",
    "hidden",
    "random_missing",
    "tasks_in",
    "tasks_of",
]

_TRIES = 200  # of drawing classes that can be kept apart
POOL = ("",)
"""The classes of a task whose rows have labels or numbers: one pool of rows."""


@dataclass(frozen=True)
class Task:
    """Classes of rows that episodes are drawn from: all of a table, or those of one task value.

    `rows[k]` are the row numbers of class k, `groups[k]` their group entity as a code (-1: none), and
    `disjoint_by[k]` codes no one of which is on both sides of an episode, if there are such.
    Where rows have labels or numbers there are no classes: all rows are one pool without a name.
    """

    name: str
    classes: tuple[str, ...]
    rows: tuple[np.ndarray, ...]
    groups: tuple[np.ndarray, ...]
    disjoint_by: tuple[np.ndarray, ...] = ()

    def usable(self, shot: int) -> list[int]:
        """The classes that have a query row left after `shot` support rows."""
        return [k for k, rows in enumerate(self.rows) if len(rows) > shot]


@dataclass(frozen=True)
class Shape:
    """The shape of an episode: classes, support rows a class, query rows a class (at most).

    Without support rows, at `shot` 0, classes are predicted from class information alone. An episode
    of multilabel or regression targets has one pool of rows instead of classes, and may have no support.
    """

    way: int = 5
    shot: int = 1
    query: int = 15
    has_classes: bool = True

    def __post_init__(self) -> None:
        if not self.has_classes and self.way != 1:
            raise OptionError(f"way={self.way}: only classification has classes. Leave it out.")
        for name, least in (("way", 2 if self.has_classes else 1), ("shot", 0), ("query", 1)):
            if getattr(self, name) < least:
                raise OptionError(f"{name}={getattr(self, name)}: too small. Give {least} or more.")


@dataclass(frozen=True)
class Draw:
    """Row numbers of drawn episodes: support `(t, s)`, query `(t, q)`, with class codes alike.

    A class with fewer than the wished query rows fills up with row 0 under class code -1, and so does a
    support of no rows, which has a single one of these. `sizes` `(t, way)` are the rows that each
    drawn class has in all, `examples` `(t, way)` one of them.
    """

    support: Tensor
    support_codes: Tensor
    query: Tensor
    query_codes: Tensor
    names: tuple[tuple[str, ...], ...]
    tasks: tuple[str, ...]
    sizes: Tensor
    examples: Tensor

    def knowing(self, counts: Tensor | int) -> Draw:
        """The same episodes with only the first `counts` `(t)` rows of each support known."""
        place = torch.arange(self.support.shape[1])
        known = place < torch.as_tensor(counts).reshape(-1, 1)
        return replace(self, support_codes=torch.where(known, self.support_codes, -1))


@dataclass(frozen=True)
class Sampling:
    """How uneven classes and tasks are drawn: in proportion to their size to a power.

    0 draws all alike, so that small ones are over-sampled; 1 draws them as often as they are large.
    The size of a class is its rows, that of a task the classes it offers.
    """

    classes: float = 0.0
    tasks: float = 1.0


def tasks_in(dataset: Dataset, rows: np.ndarray) -> list[Task]:
    """The tasks among some of a table's rows."""
    labels, disjoint = dataset.labels(), dataset.disjoint_by() if dataset.schema.role("disjoint_by") else None
    return tasks_of(
        labels, dataset.tasks(), dataset.groups(), rows, has_classes=dataset.has_classes, disjoint_by=disjoint
    )


def tasks_of(
    labels: np.ndarray,
    tasks: np.ndarray,
    groups: np.ndarray,
    rows: np.ndarray,
    *,
    has_classes: bool = True,
    disjoint_by: np.ndarray | None = None,
) -> list[Task]:
    """The tasks among `rows`: one for each task value, or a single one without a task column.

    Args:
        has_classes: whether `labels` are classes; else all labelled rows of a task are one pool.
        disjoint_by: what no episode has on both its sides, of each row of the table.
    """
    group_codes = _coded(groups)
    disjoint_codes = None if disjoint_by is None else _coded(disjoint_by)
    if not has_classes:
        labels = np.array([None if label is None else POOL[0] for label in labels], dtype=object)
    found = []
    for name in sorted({str(t) for t in tasks[rows]}):
        members = rows[np.array([str(t) == name for t in tasks[rows]], dtype=bool)]
        classes = sorted({str(c) for c in labels[members] if c is not None})
        of_class = [members[labels[members] == c] for c in classes]
        kept = () if disjoint_codes is None else tuple(disjoint_codes[r] for r in of_class)
        found.append(
            Task(name, tuple(classes), tuple(of_class), tuple(group_codes[r] for r in of_class), kept)
        )
    return found


def _counted(tasks: list[Task], most: int = 4) -> str:
    """How many rows the largest classes have, of the task with the most classes."""
    task = max(tasks, key=lambda task: len(task.classes), default=None)
    if task is None:
        return "no task has a labelled row"
    sizes = sorted(zip(task.classes, map(len, task.rows)), key=lambda pair: -pair[1])
    shown = ", ".join(f"{name} has {n}" for name, n in sizes[:most])
    rest = len(sizes) - most
    return f"rows of a class: {shown}" + (f" and {rest} more as many or fewer" if rest > 0 else "")


def draw_episodes(
    tasks: list[Task],
    shape: Shape,
    count: int,
    rng: np.random.Generator,
    name: str = "table",
    sampling: Sampling | None = None,
) -> Draw:
    """`count` episodes, each within one task; by default classes alike and tasks by how many they offer.

    Support and query of a class share no row, nor a group entity where the class has several, and those of
    an episode nothing that is to be apart.

    Raises:
        DataError: no task has `way` classes of more than `shot` rows, or what is to be apart leaves none.
    """
    offers = [task.usable(shape.shot) for task in tasks]
    able = [i for i, classes in enumerate(offers) if len(classes) >= shape.way]
    if not able and not shape.has_classes:
        most = max((len(rows) for task in tasks for rows in task.rows), default=0)
        raise DataError(
            f"{name}: {shape.shot} support rows and a query need a task of {shape.shot + 1} or more rows, and the "
            f"largest of {len(tasks)} tasks has {most}. Lower --shot, or give more labelled rows."
        )
    if not able:
        best = max((len(classes) for classes in offers), default=0)
        where = f" in one task ({len(tasks)} tasks)" if len(tasks) > 1 else ""
        raise DataError(
            f"{name}: {shape.way}-way {shape.shot}-shot needs {shape.way} classes of {shape.shot + 1} or more "
            f"rows{where}, and there are {best} ({_counted(tasks)}). Lower --way or --shot, or give more labelled rows."
        )
    sampling = sampling or Sampling()
    weights = np.array([len(offers[i]) for i in able], dtype=float) ** sampling.tasks
    chosen = rng.choice(able, size=count, p=weights / weights.sum())
    support = np.full((count, shape.way, max(1, shape.shot)), -1, dtype=np.int64)
    query = np.full((count, shape.way, shape.query), -1, dtype=np.int64)
    names, sizes, examples = [], *np.zeros((2, count, shape.way), dtype=np.int64)
    for e, i in enumerate(chosen):
        share = None
        if sampling.classes:
            share = np.array([len(tasks[i].rows[k]) for k in offers[i]], dtype=float) ** sampling.classes
            share /= share.sum()
        classes, shown = _drawn_classes(tasks[i], offers[i], shape, rng, share, name)
        sizes[e] = [len(tasks[i].rows[k]) for k in classes]
        examples[e] = [tasks[i].rows[k][0] for k in classes]
        names.append(tuple(tasks[i].classes[k] for k in classes))
        for w, k in enumerate(classes):
            if shown is None:
                s, q = _drawn_rows(tasks[i].rows[k], tasks[i].groups[k], shape, rng)
            else:
                rows, mine = tasks[i].rows[k], np.isin(tasks[i].disjoint_by[k], shown)
                s, q = rng.permutation(rows[mine])[: shape.shot], rng.permutation(rows[~mine])[: shape.query]
            support[e, w, : len(s)] = s
            query[e, w, : len(q)] = q
    codes = np.arange(shape.way)[:, None]
    support_codes = np.where(support < 0, -1, codes)
    query_codes = np.where(query < 0, -1, codes)
    flat = (count, -1)
    return Draw(
        torch.from_numpy(np.maximum(support, 0).reshape(flat)),
        torch.from_numpy(support_codes.reshape(flat)),
        torch.from_numpy(np.maximum(query, 0).reshape(flat)),
        torch.from_numpy(query_codes.reshape(flat)),
        tuple(names),
        tuple(tasks[i].name for i in chosen),
        torch.from_numpy(sizes),
        torch.from_numpy(examples),
    )


def episodes_of(batch: Batch, draw: Draw, way: int, class_info: dict[str, Tensor] | None = None) -> Episode:
    """The drawn rows of an encoded table as a stack of episodes, on the table's device.

    Rows that have labels or numbers keep them; where the class code is -1 they are unknown, and such
    a row of the support is absent.

    Args:
        class_info: what is known of the drawn classes, `(t, way)`.
    """
    device = batch.targets.device
    support_codes, query_codes = draw.support_codes.to(device), draw.query_codes.to(device)
    support, query = hidden(batch.take(draw.support), support_codes < 0), batch.take(draw.query)
    if not batch.targets.shape[-1]:
        given = {name: x.to(device) for name, x in (class_info or {}).items()}
        support = support.labelled(one_hot(support_codes, way))._replace(class_info=given)
        return Episode(support, query.labelled(one_hot(query_codes, way)))
    return Episode(_known(support, support_codes), _known(query, query_codes))


def hidden(batch: Batch, rows: Bool[Tensor, "*n"]) -> Batch:
    """The batch with nothing to be seen of some rows."""
    return batch._replace(present={m: p & ~rows for m, p in batch.present.items()})


def random_missing(batch: Batch, rate: float | Tensor, rng: torch.Generator) -> Batch:
    """The batch with cells absent at random, but at least one cell left in a row that has any.

    Args:
        rate: the chance of each cell; a tensor broadcasts over rows and modalities.
    """
    names = list(batch.present)
    present = torch.stack([batch.present[m] for m in names], -1)
    order, chance = (torch.rand(present.shape, generator=rng).to(present.device) for _ in range(2))
    kept = present & (chance >= torch.as_tensor(rate, device=present.device))
    last = torch.where(present, order, -1.0).argmax(-1, keepdim=True)
    spared = torch.zeros_like(present).scatter(-1, last, True) & present
    kept = torch.where(kept.any(-1, keepdim=True), kept, spared)
    return batch._replace(present={m: kept[..., i] for i, m in enumerate(names)})


def _known(batch: Batch, codes: Tensor) -> Batch:
    return batch.labelled(torch.where(codes[..., None] >= 0, batch.targets, torch.nan))


def _coded(groups: np.ndarray) -> np.ndarray:
    """Group entities as codes; a row of no entity is one of its own, -1 where nothing is grouped."""
    if all(g is None for g in groups):
        return np.full(len(groups), -1, dtype=np.int64)
    names = [("row", i) if g is None else ("group", g) for i, g in enumerate(groups)]
    codes = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([codes[name] for name in names], dtype=np.int64)


def _drawn_classes(
    task: Task, offer: list[int], shape: Shape, rng: np.random.Generator, share: np.ndarray | None, name: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Classes of an episode, and the values whose rows may be in its support if any are to be apart."""
    for _ in range(_TRIES):
        classes = rng.choice(offer, size=shape.way, replace=False, p=share)
        if not task.disjoint_by:
            return classes, None
        values = np.unique(np.concatenate([task.disjoint_by[k] for k in classes]))
        counts = np.array([(task.disjoint_by[k][:, None] == values).sum(0) for k in classes])
        order = rng.permutation(len(values))
        enough = np.all(counts[:, order].cumsum(1) >= shape.shot, 0)
        left = np.all(counts[:, order[::-1]].cumsum(1) >= 1, 0)[::-1]
        cuts = np.flatnonzero(np.logical_and(enough[:-1], left[1:]))
        if len(cuts):
            return classes, values[order[: rng.choice(cuts) + 1]]
    raise DataError(
        f"{name}: task {task.name!r} has no {shape.way} classes of {shape.shot} support rows and a query row, once "
        "each value of the --disjoint-by column is kept to one of the two. Lower --way or --shot, or leave out --disjoint-by."
    )


def _drawn_rows(
    rows: np.ndarray, groups: np.ndarray, shape: Shape, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    order = rng.permutation(len(rows))
    if groups[0] >= 0:
        entities, codes = np.unique(groups, return_inverse=True)
        ranks = rng.permutation(len(entities))[codes[order]]
        lent = ranks < len(entities) // 2
        # many entities, lest the support be of one alone
        if not shape.has_classes and shape.shot <= lent.sum():
            return rows[order[lent][: shape.shot]], rows[order[~lent][: shape.query]]
        by_group = order[np.argsort(ranks, kind="stable")]
        taken = groups[by_group[: shape.shot]]
        rest = by_group[shape.shot :]
        apart = rest[~np.isin(groups[rest], taken)]
        if len(apart):
            return rows[by_group[: shape.shot]], rows[rng.permutation(apart)[: shape.query]]
    return rows[order[: shape.shot]], rows[order[shape.shot : shape.shot + shape.query]]
