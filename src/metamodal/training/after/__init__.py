"""Stages after training, in order: each fits something once the weights are trained, and validation tasks decide.

| stage | fits |
|---|---|
| `class_prior` | a classifier of the class names of training, for `per_modality` |
| `regression_prior` | a linear model of all training rows, for multilabel and regression targets |
| `untrained_candidate` | nothing: compares the model with the untrained one |
| `cross_modal_maps` | maps between modalities, for retrieval |
| `fallback` | nothing: compares all modalities with the best one alone |
| `final_fit` | the weights, on validation tasks too; priors and maps on their rows |
"""

from metamodal.training.after.class_prior import class_prior
from metamodal.training.after.cross_modal_maps import cross_modal_maps
from metamodal.training.after.fallback import fallback
from metamodal.training.after.final_fit import final_fit
from metamodal.training.after.regression_prior import regression_prior
from metamodal.training.after.stage import Report, Stage, Work
from metamodal.training.after.untrained import untrained_candidate

__all__ = ["STAGES", "Report", "Stage", "Work"]

STAGES: tuple[Stage, ...] = (
    class_prior,
    regression_prior,
    untrained_candidate,
    cross_modal_maps,
    fallback,
    final_fit,
)
"""What follows training, in order."""
