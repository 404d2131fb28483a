"""Adaptation: a model and a handful of labelled rows in, a predictor out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from metamodal.data.dataset import Dataset
from metamodal.data.identity import name_of
from metamodal.data.tables.cells import is_absent
from metamodal.data.tables.rows import Rows, dataset_of
from metamodal.decision import log_prior, thresholds
from metamodal.device import numpy_of
from metamodal.errors import DataError, MetamodalWarning
from metamodal.meta.learners.protocol import SelfTesting
from metamodal.model import MetaModel
from metamodal.predictor import Predictor, check_seen
from metamodal.types import Batch, one_hot

__all__ = ["adapt"]


def adapt(
    model: MetaModel,
    support: Rows | None,
    unreadable: str = "error",
    describe: Mapping[str, Any] | None = None,
    prior: str = "auto",
    *,
    empty: str = "error",
) -> Predictor:
    """A predictor from a handful of labelled rows; `unreadable` as in `read_cells`.

    A row whose class has a description may have no modality; without any such row, or without a
    support at all, classes are predicted from their descriptions (zero-shot). Of labels and numbers
    there may be no rows either: the predictor then predicts from the regression prior.

    Args:
        describe: descriptions by label, besides those in the support and before them.
        prior: how frequent classes are taken to be, `auto`, `balanced` or `support`; see `log_prior`.
        empty: `error`, or `absent` to leave out rows without any modality, with a warning that counts them.

    Raises:
        DataError: no target column, fewer than two classes, a row without any modality or target.
        OptionError: descriptions, and the model was trained without any.
    """
    if not model.targets.has_classes and (support is None or not len(support)):
        return _adapted(model, model.blank(), model.targets.names)
    if support is None or (describe and not len(support)):
        return _of_classes(model, model.blank(), [None], "the support", _by_name(describe))
    dataset = dataset_of(support, model.roles, unreadable)
    if dataset.schema.target is None and model.roles.target:
        wanted = " or ".join(map(repr, model.roles.columns("target")))
        raise DataError(
            f"{dataset.name}: the label column {wanted} is missing. Add it, or name the one that holds it."
        )
    inputs = model.inputs(dataset, unreadable)
    if empty == "absent":
        dataset, inputs = _with_cells(dataset, inputs)
    named = replace(model, targets=model.targets.labelled(dataset))
    if not model.targets.has_classes:
        targets = model.targets.encode(dataset)
        _check_known(~model.targets.output.known(targets).any(-1), dataset)
        check_seen(inputs, dataset, "learn from")
        adapted = replace(_adapted(model, inputs.labelled(targets), model.targets.names), rows=len(dataset))
        return _with_thresholds(model, adapted, inputs.labelled(targets))
    labels = _labels(dataset)
    descriptions = model.class_info.descriptions(dataset) | _by_name(describe)
    check_seen(inputs, dataset, "learn from", [is_absent(descriptions.get(label)) for label in labels])
    predictor = _of_classes(named, inputs, labels, dataset.name, descriptions, dataset.schema.target)
    counts = [labels.count(name) for name in predictor.labels]
    return replace(predictor, shift=log_prior(counts, prior), rows=len(dataset))


def _with_cells(dataset: Dataset, inputs: Batch) -> tuple[Dataset, Batch]:
    """The rows that have a modality; all of them where none has, so that the error names one."""
    seen = torch.stack(list(inputs.present.values())).any(0)
    if seen.all() or not seen.any():
        return dataset, inputs
    empty, columns = int((~seen).sum()), ", ".join(dict.fromkeys(inputs.present))
    warnings.warn(
        f"{dataset.name}: rows in which every modality is empty ({columns}) are left out: {empty} of {len(dataset)}.",
        MetamodalWarning,
        stacklevel=2,
    )
    return dataset.rows(seen.numpy()), inputs.take(seen)


def _of_classes(
    model: MetaModel,
    inputs: Batch,
    labels: Sequence[str | None],
    name: str,
    descriptions: Mapping[str, Any],
    target: str | None = None,
) -> Predictor:
    """A predictor of the classes that have rows or descriptions."""
    names = sorted({*descriptions, *(label for label in labels if label is not None)})
    if len(names) < 2:
        said = f"one class only ({names[0]!r})" if names else "no class"
        raise DataError(f"{name}: the support has {said}. Give rows of at least two.")
    known = target is None or target == model.roles.target
    class_info = model.class_info.of(names, descriptions, named=known)
    codes = torch.tensor([-1 if label is None else names.index(label) for label in labels])
    return _adapted(
        model, inputs.labelled(one_hot(codes, len(names)))._replace(class_info=class_info), tuple(names)
    )


def _adapted(model: MetaModel, support: Batch, names: tuple[str, ...]) -> Predictor:
    tokens = model.tokens(support)
    with torch.no_grad():
        return Predictor(model, model.engine.adapt(model.params, tokens), names)


def _with_thresholds(model: MetaModel, predictor: Predictor, support: Batch) -> Predictor:
    """A predictor of labels that gives each from the probability on that leave-one-out answers choose."""
    learner, output = model.engine.learner, model.targets.output
    if model.targets.kind != "multilabel" or not isinstance(learner, SelfTesting):
        return predictor
    with torch.no_grad():
        tokens = model.tokens(support)
        logits = learner.leave_one_out(model.engine.fn, model.params, predictor.state, tokens).cpu()
    known = ~support.targets.isnan().any(-1)
    chances = output.link(logits[known]).double().numpy()
    return replace(predictor, thresholds=thresholds(chances, numpy_of(support.targets[known]) > 0.5))


def _by_name(describe: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Descriptions by the canonical names of their labels."""
    return {name_of(label): cell for label, cell in (describe or {}).items()}


def _labels(dataset: Dataset) -> list[str]:
    labels = dataset.labels()
    for number, label in zip(dataset.numbers, labels):
        if label is None:
            raise DataError(
                f"{dataset.name} row {number}, column {dataset.schema.target}: the label is empty. Fill it or drop the row."
            )
    return list(labels)


def _check_known(unknown: Tensor, dataset: Dataset) -> None:
    if unknown.any():
        row = int(unknown.nonzero()[0])
        columns = ", ".join(dataset.schema.targets)
        raise DataError(
            f"{dataset.name} row {dataset.numbers[row]}, column {columns}: every target is empty. Fill one or drop the row."
        )
