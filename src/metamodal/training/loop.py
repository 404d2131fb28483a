"""Meta-training: episodes in, the best parameters out, within a budget of time."""

from __future__ import annotations

import math
from collections.abc import Callable

from metamodal.training.course import Course
from metamodal.training.gap import Gauge
from metamodal.training.judge import Judge
from metamodal.training.material import Material
from metamodal.training.progress import Progress, Trained
from metamodal.training.workers import WorkerDiedError
from metamodal.types import Params

__all__ = ["DIED", "meta_train"]

DIED = "the death of a worker process"
"""How training ended where a worker process was killed."""


def meta_train(
    material: Material,
    *,
    start: Params | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    keep: Callable[[Params, Progress], None] = lambda params, progress: None,
) -> Trained:
    """Minimise the query loss of training episodes; keep the weights that validate best.

    The weights validated and kept are the running mean of those trained (Polyak averaging). An
    interrupt ends training and keeps what is best so far, and so does a worker process that dies. Same seed and `options.steps`, same
    result; a budget of time alone makes the number of steps hang on the machine.

    Args:
        start: parameters to go on from, kept unless training betters them; by default the engine's
            initial ones.
        watch: called after every step and validation.
        keep: called with the parameters and the validation whenever they are the best so far.
    """
    course, judge = Course(material, start), Judge(material)
    gauge = Gauge(material, tuple(course.joint.fixed))
    history: list[Progress] = []
    best_params, since, best = course.averaged(), 0, -math.inf
    if start is not None:
        best, _, best_params = judge(best_params)
    ended = "no improvement"
    try:
        course.validated(gauge)
        with course.workers:
            for progress, due in course.steps():
                if due:
                    accuracy, ci95, params = judge(course.averaged())
                    better = accuracy > best
                    if better:
                        best, best_params, since = accuracy, params, 0
                    else:
                        since += 1
                    course.validated(gauge)
                    progress = course.progress(
                        accuracy=accuracy, ci95=ci95, best=best, validated=True, diagnosis=course.diagnosed()
                    )
                    history.append(progress)
                    if better:
                        keep(params, progress)
                watch(progress)
                if since >= material.options.patience:
                    break
            else:
                ended = "steps" if course.step == material.options.steps else "budget"
    except (KeyboardInterrupt, WorkerDiedError) as cause:
        ended = "interrupted" if isinstance(cause, KeyboardInterrupt) else DIED
        if math.isinf(best) and ended == DIED:
            raise
        if math.isinf(best):
            best_params = course.averaged()
    return Trained(best_params, tuple(history), ended, course.step, course.supply.balancer.tallies())
