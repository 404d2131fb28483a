"""Which rows of a table a model may be tested on: those that training never saw."""

from __future__ import annotations

import numpy as np

from metamodal.data.dataset import Dataset
from metamodal.data.features.digests import fingerprint
from metamodal.data.tasks.episodes import tasks_in
from metamodal.data.tasks.splits import rows_of
from metamodal.errors import DataError
from metamodal.evaluation.told import class_table, told_tasks
from metamodal.model import MetaModel

__all__ = ["held_out", "unseen_in", "widest_way"]


def held_out(model: MetaModel, dataset: Dataset) -> tuple[np.ndarray, bool, tuple[str, ...]]:
    """Rows that training never saw, whether their classes are new too, and notes on the choice.

    Of the table that the model was trained on, the rows that its artifact keeps as the test part. Of
    others the test part of the split column if there is one and it is not empty. Else, for a trained
    model, rows of classes, tasks and groups that it did not see; for an untrained one the part that a
    trained one would be tested on, so that the two compare.

    Raises:
        DataError: the table that the model was trained on, and no row of it was kept for a test.
    """
    labels, seen = dataset.labels(), model.seen.classes
    notes: list[str] = []
    recorded = model.record.get("split")
    untrained = model.generic if not dataset.has_classes else not recorded and not seen
    same = (dataset.keys().digest(), dataset.keys(blind=True).digest())
    if recorded and recorded["rows"]["test"] and recorded["keys"] in same:
        rows = rows_of(recorded["rows"]["test"])
        rows = rows[labels[rows] != np.array(None)]
        return rows, unseen_in(model, dataset, rows), tuple(recorded["notes"])
    if recorded and recorded["keys"] in same:
        raise DataError(
            f"{dataset.name}: the model was trained on this table and kept no rows of it for a test. Give a table of "
            "new rows, or train with a test part: data.shares=[0.6,0.2,0.2], or a split column with test rows."
        )
    by_split = untrained or dataset.schema.role("split") or _split_by_row(model)
    split = dataset.split(model.record.get("seed", 0)) if by_split else None
    if split is not None and (untrained or len(split.test)):
        rows = split.test if len(split.test) else np.flatnonzero(labels != np.array(None))
        notes += split.notes
    else:
        rows, said = _fresh(model, dataset)
        notes += said
    unseen = unseen_in(model, dataset, rows)
    if seen and not unseen:
        notes.append("some of these classes were seen in training")
    if not untrained and not dataset.has_classes and not unseen:
        notes.append("these tasks were seen in training")
    return rows, unseen, tuple(notes)


def unseen_in(model: MetaModel, dataset: Dataset, rows: np.ndarray) -> bool:
    """Whether the classes of rows are new to the model; of labels and numbers, the tasks."""
    if dataset.has_classes:
        return not _known(dataset.labels()[rows], model.seen.classes)
    tasks = dataset.tasks()[rows]
    return any(t is not None for t in tasks) and not _known(tasks, model.seen.tasks)


def widest_way(model: MetaModel, dataset: Dataset, shot: int, most: int) -> int:
    """The largest way up to `most` that the test rows allow, two at least."""
    rows, _, _ = held_out(model, dataset)
    tasks = tasks_in(dataset, rows)
    if not shot and dataset.has_classes:
        tasks = told_tasks(tasks, class_table(model, dataset), dataset.name)
    return max(2, min(most, max((len(t.usable(shot)) for t in tasks), default=2)))


def _split_by_row(model: MetaModel) -> bool:
    by = model.record.get("outcome", {}).get("split_by")
    return bool(model.seen.classes) and by == "row"


def _fresh(model: MetaModel, dataset: Dataset) -> tuple[np.ndarray, list[str]]:
    """Labelled rows of classes, tasks and groups that training did not see, as far as there are any."""
    labels, seen = dataset.labels(), model.seen
    notes = []
    fresh = np.array([label is not None for label in labels])
    new_class = np.array([label is None or fingerprint(label) not in seen.classes for label in labels])
    if (fresh & new_class).any():
        fresh &= new_class
    columns = ((dataset.tasks(), seen.tasks, "task"), (dataset.groups(), seen.groups, "group"))
    for values, known, role in columns:
        new = np.array([v is None or fingerprint(v) not in known for v in values])
        if known and (fresh & new).any():
            fresh &= new
        elif known:
            notes.append(f"every {role} of this table was seen in training")
    return np.flatnonzero(fresh), notes


def _known(labels: np.ndarray, classes: frozenset[str]) -> bool:
    return any(fingerprint(label) in classes for label in set(labels) if label is not None)
