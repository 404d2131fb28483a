"""What a model is told of the classes that it is evaluated on."""

from __future__ import annotations

from metamodal.data.dataset import Dataset
from metamodal.data.descriptors import ClassTable
from metamodal.data.tasks.episodes import Task
from metamodal.errors import OptionError
from metamodal.model import MetaModel

__all__ = ["class_table", "told_tasks"]


def class_table(model: MetaModel, dataset: Dataset) -> ClassTable:
    """What the model is told of a table's classes: names only where they are those of its own target."""
    return model.descriptors.table(dataset, named=dataset.schema.target == model.roles.target)


def told_tasks(tasks: list[Task], told: ClassTable, name: str) -> list[Task]:
    """The tasks with those classes alone that something is known of besides their rows.

    Raises:
        OptionError: nothing is known of any class.
    """
    if told.empty:
        raise OptionError(
            f"{name}: shot 0 tells classes apart by what is known of them, and this model is told nothing of these. "
            "Train it with --describe C on a table that describes its classes, or pass --shot 1."
        )
    known = told.told.numpy()
    found = []
    for task in tasks:
        keep = [k for k, rows in enumerate(task.rows) if known[rows[0]]]
        parts = (task.classes, task.rows, task.groups, *filter(None, [task.disjoint_by]))
        found.append(Task(task.name, *(tuple(x[k] for k in keep) for x in parts)))  # type: ignore[arg-type]
    return found
