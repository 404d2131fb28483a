"""The final fit: after model selection, training continues on training and validation tasks.

With few tasks, holding some out for validation costs accuracy: of four speakers two would train, one would
validate and one would test. What validation tasks settled stays. Priors and cross-modal maps are then refitted to
training and validation rows, with or without more training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from metamodal.mappings.cross_modal_maps import WEIGHT, without_maps
from metamodal.model import MetaModel
from metamodal.training.after.class_prior import (
    with_class_prior_of_all,
    without_class_prior,
)
from metamodal.training.after.cross_modal_maps import with_maps_of_all
from metamodal.training.after.fallback import with_fallback, without_fallback
from metamodal.training.after.regression_prior import with_regression_prior_of_all
from metamodal.training.after.stage import Report, Work
from metamodal.training.context import Context
from metamodal.training.loop.progress import Progress
from metamodal.training.loop.trainer import Trainer
from metamodal.training.loop.workers import WorkerDiedError
from metamodal.training.options import TrainOptions
from metamodal.types import Params

__all__ = ["final_fit", "trained_on_all"]


def final_fit(work: Work, model: MetaModel) -> tuple[MetaModel, Report]:
    """The model with what validation rows add, now that every choice is made."""
    plain, modality = without_fallback(model)
    context, params, steps = work.context(plain, work.table.seed + 1), plain.params, 0
    if work.options.final_fit and not work.interrupted:
        before = work.options.budget * (1 - work.options.final_fit)

        def watch(progress: Progress) -> None:
            work.watch(replace(progress, elapsed=before + progress.elapsed, candidate="final fit"))

        options = work.options.part(work.options.final_fit)
        params, steps = trained_on_all(context, options, params, watch)
    params = with_class_prior_of_all(context, params, work.outcome.get("class_prior_penalty"))
    params = with_regression_prior_of_all(context, params, work.outcome.get("regression_prior_penalty"))
    fitted = replace(plain, params=with_maps_of_all(context, plain.spec.mapping, params))
    notes = (
        (
            f"final fit: {steps} more steps with the validation tasks among the training tasks; the validation score is "
            "from before",
        )
        if steps
        else ()
    )
    outcome = {"final_fit_steps": steps}
    return with_fallback(fitted, modality) if modality else fitted, Report(outcome, notes)


def trained_on_all(
    context: Context,
    options: TrainOptions,
    params: Params,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> tuple[Params, int]:
    """The parameters trained on validation tasks too, and for how many steps; an interrupt leaves them unchanged.

    Class priors are empty afterwards.
    """
    pools = context.pools
    wider = replace(context, pools=replace(pools, train=[*pools.train, *pools.valid]))
    trainer = Trainer(wider, options, without_class_prior(without_maps(params)))
    try:
        with trainer.workers:
            for progress, _ in trainer.steps():
                watch(progress)
    except (KeyboardInterrupt, WorkerDiedError):
        return params, 0
    traits, classes = context.engine.traits, context.engine.output.has_classes
    settled = {
        k: v
        for k, v in params.items()
        if k == WEIGHT or (k in traits and (traits[k].settled or (traits[k].shrinks and not classes)))
    }
    return trainer.averaged() | settled, trainer.step
