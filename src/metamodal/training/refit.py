"""Refit: once validation has chosen, training goes on with the validation tasks among the others.

Where there are few tasks the validation ones are missed: of four speakers two would train, one validate
and one test. What validation settled stays as it is, for the number of tasks says no more than before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from metamodal.mappings.bridges import TRUST, without_bridges
from metamodal.training.caution import restrains
from metamodal.training.course import Course
from metamodal.training.material import Material
from metamodal.training.memory import forgotten, weighs_names
from metamodal.training.progress import Progress
from metamodal.training.workers import WorkerDiedError
from metamodal.types import Params

__all__ = ["refitted"]


def refitted(
    material: Material, params: Params, watch: Callable[[Progress], None] = lambda progress: None
) -> tuple[Params, int]:
    """The parameters trained on, and for how many steps; an interrupt leaves them as they were.

    Memories are empty in the end: `metamodal.training.memory.renewed` fills them.
    """
    tasks = material.tasks
    wider = replace(material, tasks=replace(tasks, train=[*tasks.train, *tasks.valid]))
    course = Course(wider, forgotten(without_bridges(params)))
    try:
        with course.workers:
            for progress, _ in course.steps():
                watch(progress)
    except (KeyboardInterrupt, WorkerDiedError):
        return params, 0
    fixed = material.engine.output.fixed
    settled = {k: v for k, v in params.items() if weighs_names(k) or k == TRUST or (fixed and restrains(k))}
    return course.averaged() | settled, course.step
