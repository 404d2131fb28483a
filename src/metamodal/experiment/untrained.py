"""The untrained model for a table: what `none` is where a table is evaluated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from metamodal.components import component
from metamodal.data.dataset import Dataset
from metamodal.data.features.encoders import Encoders
from metamodal.meta.learners import UNTRAINED, learners
from metamodal.model import MetaModel, untrained
from metamodal.training.after.regression_prior import prior_of_rows
from metamodal.types import Learner

__all__ = ["untrained_for"]


def untrained_for(
    dataset: Dataset,
    learner: Learner | None = None,
    unreadable: str = "error",
    encoders: Encoders | None = None,
) -> MetaModel:
    """The model `none` for a table to be evaluated on: scaled by rows outside the test part.

    Of multilabel and regression targets, those rows also give the prediction without any support row.
    """
    split = dataset.split()
    rest = np.concatenate([split.train, split.valid]) if len(split.test) else np.arange(0)
    rows = dataset.rows(rest) if len(rest) else dataset
    model = untrained(rows, learner or component(learners, UNTRAINED, "learner"), unreadable, encoders)
    if model.targets.has_classes or not len(rest):
        return model
    known = model.inputs(rows, unreadable).labelled(model.targets.encode(rows))
    params = prior_of_rows(model.engine, model.params, model.tokens(known), rows.tasks())
    return replace(model, params=params)
