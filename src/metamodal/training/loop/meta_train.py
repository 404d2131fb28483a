"""Meta-training: episodes in, the best parameters out, within a budget of time."""

from __future__ import annotations

import math
from collections.abc import Callable

from metamodal.training.context import Context
from metamodal.training.loop.progress import Progress, Trained
from metamodal.training.loop.trainer import Trainer
from metamodal.training.loop.workers import WorkerDiedError
from metamodal.training.losses.generalisation_gap import GapMeter
from metamodal.training.options import TrainOptions
from metamodal.training.selection.validation import ValidationEpisodes
from metamodal.types import Params

__all__ = ["DIED", "meta_train"]

DIED = "the death of a worker process"
"""How training ended where a worker process was killed."""


def meta_train(
    context: Context,
    options: TrainOptions,
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
    trainer, validation = Trainer(context, options, start), ValidationEpisodes(context)
    meter = GapMeter(context, tuple(trainer.loss_terms.fixed))
    history: list[Progress] = []
    best_params, since, best = trainer.averaged(), 0, -math.inf
    if start is not None:
        best, _, best_params = validation(best_params)
    ended = "no improvement"
    try:
        trainer.validated(meter)
        with trainer.workers:
            for progress, due in trainer.steps():
                if due:
                    accuracy, ci95, params = validation(trainer.averaged())
                    better = accuracy > best
                    if better:
                        best, best_params, since = accuracy, params, 0
                    else:
                        since += 1
                    trainer.validated(meter)
                    progress = trainer.progress(
                        accuracy=accuracy, ci95=ci95, best=best, validated=True, diagnosis=trainer.diagnosed()
                    )
                    history.append(progress)
                    if better:
                        keep(params, progress)
                watch(progress)
                if since >= options.validation.patience:
                    break
            else:
                ended = "steps" if trainer.step == options.steps else "budget"
    except (KeyboardInterrupt, WorkerDiedError) as cause:
        ended = "interrupted" if isinstance(cause, KeyboardInterrupt) else DIED
        if math.isinf(best) and ended == DIED:
            raise
        if math.isinf(best):
            best_params = trainer.averaged()
    return Trained(best_params, tuple(history), ended, trainer.step, trainer.sampler.balancer.tallies())
