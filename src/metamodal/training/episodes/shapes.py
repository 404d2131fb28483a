"""What episodes a table's tasks allow: their shape, and whether tasks may be mixed."""

from __future__ import annotations

from metamodal.data.tasks.episodes import Shape, Task
from metamodal.errors import DataError
from metamodal.training.episodes.options import EpisodeOptions

__all__ = ["fitting_shape", "pooled_shape", "together"]


def fitting_shape(tasks: list[Task], shot: int, options: EpisodeOptions) -> Shape:
    """The wished shape, with no more classes than half of the tasks have, and no more shots."""
    for fewer in range(shot, 0, -1):
        counts = sorted(len(t.usable(fewer)) for t in tasks)
        middle = next((n for n in counts[len(counts) // 2 :] if n >= 2), 0)
        if middle:
            return Shape(way=min(options.way, middle), shot=fewer, query=options.rows - fewer)
    raise DataError("no training task has two classes of two or more rows. Give more labelled rows.")


def pooled_shape(tasks: list[Task], options: EpisodeOptions) -> Shape:
    """The wished shape for labels or numbers, with no more support rows than half of the tasks allow."""
    sizes = sorted(len(rows) for task in tasks for rows in task.rows)
    shot = max(1, min(options.support, sizes[len(sizes) // 2] - 1))
    return Shape(way=1, shot=shot, query=options.query, has_classes=False)


def together(tasks: list[Task]) -> list[Task]:
    """All tasks' classes as one task, unless tasks share class names.

    Of shared names nothing says whether they mean the same class (a diagnosis in every ward) or not
    (the first letter of every alphabet), so such tasks are never mixed.
    """
    names = [c for t in tasks for c in t.classes]
    if len(set(names)) < len(names) or not names:
        return tasks
    parts = (
        tuple(x for t in tasks for x in getattr(t, field)) for field in ("rows", "groups", "disjoint_by")
    )
    return [Task("all", tuple(names), *parts)]
