"""The class information that a model has of the classes that it is evaluated on."""

from __future__ import annotations

from metamodal.data.class_info import ClassTable
from metamodal.data.dataset import Dataset
from metamodal.data.tasks.episodes import Task
from metamodal.errors import OptionError
from metamodal.model import MetaModel

__all__ = ["class_table", "tasks_of_known_classes"]


def class_table(model: MetaModel, dataset: Dataset) -> ClassTable:
    """The class information of a table's rows: names only where they are those of the model's own target."""
    return model.class_info.table(dataset, named=dataset.schema.target == model.roles.target)


def tasks_of_known_classes(tasks: list[Task], classes: ClassTable, name: str) -> list[Task]:
    """The tasks with only those classes that have class information.

    Raises:
        OptionError: no class has any.
    """
    if classes.empty:
        raise OptionError(
            f"{name}: shot 0 predicts classes from class information alone, and this model has none of these classes. "
            "Train it with --describe C on a table that describes its classes, or pass --shot 1."
        )
    known = classes.known.numpy()
    result = []
    for task in tasks:
        keep = [k for k, rows in enumerate(task.rows) if known[rows[0]]]
        parts = (task.classes, task.rows, task.groups, *filter(None, [task.disjoint_by]))
        result.append(Task(task.name, *(tuple(x[k] for k in keep) for x in parts)))  # type: ignore[arg-type]
    return result
