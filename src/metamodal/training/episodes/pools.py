"""Where episodes come from: labelled tasks, tasks made of rows without labels, or both."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from metamodal.data.dataset import Dataset
from metamodal.data.features.encode import Preprocessor
from metamodal.data.tasks.episodes import Task, tasks_in
from metamodal.data.tasks.pseudo import pseudo_tasks
from metamodal.data.tasks.splits import Split, unlabelled_rows
from metamodal.errors import DataError, OptionError
from metamodal.types import Batch

__all__ = ["CROSSED", "TaskPools", "free_rows", "labelled_pools", "with_pseudo_tasks"]

CROSSED = 0.5
"""The share of unlabelled episodes whose support and query show different modalities."""


@dataclass(frozen=True)
class TaskPools:
    """Tasks for training and for validation, and for a `share` of training pseudo-tasks.

    `blind` says that the validation tasks are pseudo-tasks too.
    """

    train: list[Task]
    valid: list[Task]
    pseudo: list[Task] = field(default_factory=list)
    share: float = 0.0
    blind: bool = False

    @property
    def labelled(self) -> TaskPools:
        """These without pseudo-tasks."""
        return TaskPools(self.train, self.valid)

    @property
    def notes(self) -> list[str]:
        """What must be said of a training without labels."""
        said = []
        if self.share:
            every = "all" if self.share == 1 else f"{100 * self.share:.0f} % of"
            clusters = len(self.pseudo) - 1
            said.append(
                f"{every} training episodes come from {len(self.pseudo[0].classes)} rows without their labels: each "
                f"its own class, and {clusters} partitions into clusters"
            )
        if self.blind:
            said.append("validation is on such episodes too: its accuracy says nothing of any label")
        return said


_PARTS = {"train": "training", "valid": "validation"}


def _why(dataset: Dataset, split: Split) -> str:
    """What emptied a part, and what to do about it."""
    group, notes = dataset.schema.role("group"), "".join(f"; {note}" for note in split.notes)
    if group is not None and notes:
        return (
            f"{notes}. A group is never in two parts, and those of {group} are too few or too large for that: "
            "leave out --group, or name a column of smaller groups"
        )
    return f"{notes}. Give more labelled rows, or a split column"


def labelled_pools(dataset: Dataset, split: Split, share: float | None) -> TaskPools:
    """The labelled tasks of the training and the validation part; their share is left to pseudo-tasks.

    Args:
        share: of episodes from pseudo-tasks; without it none where the training part has labels, else all.

    Raises:
        DataError: no task to train on or to validate by, and pseudo-tasks do not stand in for it.
    """
    found = _labelled_tasks(dataset, split) if dataset.schema.target else ([], [])
    bare = share is None and not len(split.train)
    share = 1.0 if dataset.schema.target is None or bare else share or 0.0
    if not dataset.has_classes and share:
        raise OptionError(
            f"train.episodes.unlabelled={share}: its episodes tell classes apart, and the task is not classification. Leave it out."
        )
    for tasks, rows, part in ((found[0], split.train, "train"), (found[1], split.valid, "valid")):
        if not tasks and (share < 1 if part == "train" else not share):
            if not dataset.has_classes:
                raise DataError(
                    f"{dataset.name}: no task of the {_PARTS[part]} part has two labelled rows: it has {len(rows)} rows, "
                    f"split by {split.by}{_why(dataset, split)}."
                )
            raise DataError(
                f"{dataset.name}: no task of the {_PARTS[part]} part has two classes of two or more rows: it has "
                f"{len(rows)} rows, split by {split.by}{_why(dataset, split)}."
            )
    return TaskPools(found[0], found[1], share=share, blind=not found[1])


def free_rows(dataset: Dataset, split: Split, sources: TaskPools) -> tuple[np.ndarray, np.ndarray]:
    """The rows that may be learned from without labels, and those to validate by if no labels can."""
    if not sources.share:
        return split.train, np.arange(0)
    spare = unlabelled_rows(dataset.keys(), split)
    if not sources.blind or len(split.valid):
        return np.concatenate([split.train, spare]), split.valid
    kept = np.arange(len(spare)) % 5 == 0
    return np.concatenate([split.train, spare[~kept]]), spare[kept]


def with_pseudo_tasks(
    sources: TaskPools,
    preprocessor: Preprocessor,
    rows: Batch,
    free: tuple[np.ndarray, np.ndarray],
    seed: int,
) -> TaskPools:
    """The sources with the pseudo-tasks that their share asks for."""
    if not sources.share:
        return sources

    def tasks(part: np.ndarray) -> list[Task]:
        return pseudo_tasks(preprocessor.features(rows.take(torch.from_numpy(part))), part, seed)

    valid = tasks(free[1]) if sources.blind else sources.valid
    return TaskPools(sources.train, valid, tasks(free[0]), sources.share, sources.blind)


def _labelled_tasks(dataset: Dataset, split: Split) -> tuple[list[Task], list[Task]]:
    least = 1 if not dataset.has_classes else 2
    train, valid = (
        [t for t in tasks_in(dataset, rows) if len(t.usable(1)) >= least]
        for rows in (split.train, split.valid)
    )
    return train, valid
