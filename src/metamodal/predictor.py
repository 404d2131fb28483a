"""A predictor: a learner adapted to a support set, with the preprocessing that its rows need."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.components import kind_of
from metamodal.data.dataset import Dataset
from metamodal.data.identity import name_of
from metamodal.data.schema.label_type import LabelType
from metamodal.data.tables.cells import is_absent
from metamodal.data.tables.rows import Rows, dataset_of
from metamodal.decision import log_prior, thresholds
from metamodal.errors import DataError, MetamodalWarning, OptionError
from metamodal.manifest import flattened, write_folder
from metamodal.meta.learners import learners
from metamodal.meta.learners.protocol import SelfTesting
from metamodal.model import MetaModel
from metamodal.summary import Summary, listed
from metamodal.types import Batch, one_hot

__all__ = ["Answers", "Predictor", "adapt"]


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
    support at all, classes are told apart by their descriptions (zero-shot). Of labels and numbers
    there may be no rows either: the predictor then gives the population's answer.

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
    dataset = dataset_of(support, model.roles)
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
        _check_seen(inputs, dataset, "learn from")
        adapted = replace(_adapted(model, inputs.labelled(targets), model.targets.names), rows=len(dataset))
        return _with_thresholds(model, adapted, inputs.labelled(targets))
    labels = _labels(dataset)
    told = model.descriptors.described(dataset) | _by_name(describe)
    _check_seen(inputs, dataset, "learn from", [is_absent(told.get(label)) for label in labels])
    predictor = _of_classes(named, inputs, labels, dataset.name, told, dataset.schema.target)
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
    told: Mapping[str, Any],
    target: str | None = None,
) -> Predictor:
    """A predictor of the classes that rows show or descriptions tell of."""
    names = sorted({*told, *(label for label in labels if label is not None)})
    if len(names) < 2:
        said = f"one class only ({names[0]!r})" if names else "no class"
        raise DataError(f"{name}: the support has {said}. Give rows of at least two.")
    known = target is None or target == model.roles.target
    about = model.descriptors.about(names, told, named=known)
    codes = torch.tensor([-1 if label is None else names.index(label) for label in labels])
    return _adapted(model, inputs.labelled(one_hot(codes, len(names)))._replace(about=about), tuple(names))


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
        logits = learner.leave_one_out(model.engine.fn, model.params, predictor.state, tokens)
    known = ~support.targets.isnan().any(-1)
    chances = output.link(logits[known]).double().numpy()
    return replace(predictor, thresholds=thresholds(chances, support.targets[known].numpy() > 0.5))


@dataclass(frozen=True)
class Predictor:
    """An adapted learner with its preprocessing: what users and servers hold.

    `labels` are the names of the classes or labels, or of the numbers' columns; `classes` are the classes
    in the dtype of the support. `shift` is added to the logits of classes that are not equally frequent,
    `thresholds` are the probabilities from which on each label is given (½ where there are none). `rows` is the
    number of support rows, of a predictor that was not loaded.
    """

    model: MetaModel
    state: Any
    labels: tuple[str, ...]
    shift: tuple[float, ...] = ()
    thresholds: tuple[float, ...] = ()
    rows: int | None = None

    def _summary(self) -> Summary:
        facts = [("labels", listed(self.labels)), ("modalities", listed(self.model.modalities))]
        if self.rows is not None:
            facts.insert(1, ("rows", f"{self.rows:,}"))
        facts.append(("learner", kind_of(learners, self.model.engine.learner)))
        facts += [("prior", self.prior)] if self.kind == "classification" else []
        return Summary(f"Predictor of {len(self.labels):,} {self.model.targets.output.plural}", tuple(facts))

    def __repr__(self) -> str:
        return str(self._summary())

    def _repr_html_(self) -> str:
        return self._summary().html()

    @property
    def rates(self) -> Float[np.ndarray, "k"]:
        """How frequent each class is taken to be: its probability in a row of which nothing is known."""
        logits = torch.tensor(self.shift or (0.0,) * len(self.labels), dtype=torch.float64)
        return torch.softmax(logits, 0).numpy()

    @property
    def prior(self) -> str:
        """How frequent classes are taken to be: `balanced`, or as in the `support`."""
        return "support" if self.shift else "balanced"

    @property
    def kind(self) -> str:
        """What is predicted: `classification`, `multilabel` or `regression`."""
        return self.model.targets.kind

    @property
    def outputs(self) -> int:
        """How many outputs the adapted state answers with, one a label: of a row of nothing and one of zeros.

        Raises:
            ValueError: the state does not answer each row.
        """
        nothing = self.model.blank(2)
        rows = nothing._replace(present={m: torch.tensor([False, True]) for m in nothing.present})
        with torch.no_grad():
            logits = self.model.engine.predict(self.model.params, self.state, self.model.tokens(rows))
        if logits.ndim != 2 or len(logits) != 2:
            raise ValueError(f"the state answers two rows with {tuple(logits.shape)} numbers")
        return logits.shape[1]

    def save(self, folder: str | Path) -> Path:
        """Write the predictor, its model included, as a folder that `metamodal.load` reads.

        An artifact that is there already is replaced, whole or not at all.

        Raises:
            OutputError: the folder holds files of others, or cannot be written.
            OptionError: an encoder that is an object of this process alone.
        """
        tensors = dict(self.model.params)
        state = {
            "labels": list(self.labels),
            "state": flattened(self.state, "state", tensors),
            "shift": list(self.shift),
            "thresholds": list(self.thresholds),
        }
        return write_folder(folder, {**self.model.to_record(), "predictor": state}, tensors)

    def of_labels(self, labels: LabelType) -> Predictor:
        """The same with the classes in the dtype of other labels that have the same names."""
        return replace(self, model=replace(self.model, targets=replace(self.model.targets, labels=labels)))

    @property
    def classes(self) -> Any:
        """The classes in the dtype that the support's labels had, in the order of `labels`."""
        return self.model.targets.labels.labels(self.labels)

    def predict(self, query: Rows, unreadable: str = "error") -> Any:
        """What scikit-learn's estimators return of their kind.

        Of classes the likeliest `(n)`, in the dtype that the support's labels had; of labels which of them are
        above their thresholds, booleans `(n, k)` in the order of `labels`; of numbers `(n)`, or `(n, k)` where
        there are several, in their own unit.

        Args:
            query: a DataFrame, a Dataset, a list of records, or one row as a record or a Series.
            unreadable: `error`, or `absent`: a cell that cannot be read counts as empty, and a row without any
                modality is answered by a missing value.
        """
        return self.answers(query, unreadable, empty=unreadable).labels()

    def predict_proba(self, query: Rows, unreadable: str = "error") -> pd.DataFrame:
        """The probability of each label, one column a label, rows indexed as those of the query.

        Args:
            query, unreadable: as in `predict`; a row without any modality has missing values.

        Raises:
            OptionError: numbers, which have no probabilities.
        """
        if self.kind == "regression":
            raise OptionError(
                "predict_proba: the targets are numbers, which have no probabilities. Call predict."
            )
        return self.answers(query, unreadable, empty=unreadable).probabilities()

    def answers(self, query: Rows, unreadable: str = "error", *, empty: str = "absent") -> Answers:
        """What is predicted of each row, and why a row has no answer.

        Args:
            query, unreadable: as in `predict`.
            empty: `error` to refuse a row that has no modality.
        """
        dataset = dataset_of(query, self.model.roles)
        faults: dict[int, str] = {}
        inputs = self.model.inputs(dataset, unreadable, faults)
        if empty == "error":
            _check_seen(inputs, dataset, "predict")
        tokens = self.model.tokens(inputs)
        with torch.no_grad():
            logits = self.model.engine.predict(self.model.params, self.state, tokens)
        if self.shift:
            logits = logits + torch.tensor(self.shift)
        there = torch.stack(list(inputs.present.values())).any(0).tolist()
        nothing = f"every modality is empty ({', '.join(self.model.modalities)})"
        reasons = tuple(None if ok else faults.get(row, nothing) for row, ok in enumerate(there))
        index = query.index if isinstance(query, pd.DataFrame) else None
        return Answers(self, logits, reasons, index)


@dataclass(frozen=True)
class Answers:
    """The logits `(n, k)` of a predictor's rows; a row that has a reason has no answer."""

    predictor: Predictor
    logits: Tensor
    reasons: tuple[str | None, ...]
    index: pd.Index | None = None

    @property
    def lacking(self) -> np.ndarray:
        """Which rows have no answer."""
        return np.array([reason is not None for reason in self.reasons], dtype=bool)

    def probabilities(self) -> pd.DataFrame:
        """Of classes or labels, one column each; missing values where there is no answer."""
        p = self.predictor
        classes = p.kind == "classification"
        logits = self.logits.double()
        values = torch.softmax(logits, -1).numpy() if classes else p.model.targets.decode(logits)
        values[self.lacking] = np.nan
        names = _index_of(p.classes) if classes else list(p.labels)
        return pd.DataFrame(values, columns=names, index=self.index)

    def labels(self) -> Any:
        """What `Predictor.predict` returns."""
        p, lacking = self.predictor, self.lacking
        if p.kind == "classification":
            return self.likeliest(p.classes)
        values = p.model.targets.decode(self.logits.double())
        if p.kind == "multilabel":
            return _with_gaps(values > (np.array(p.thresholds) if p.thresholds else 0.5), lacking)
        values[lacking] = np.nan
        return values[:, 0] if values.shape[1] == 1 else values

    def likeliest(self, classes: Any) -> Any:
        """The likeliest class of each row, of the predictor's classes in any spelling."""
        return _with_gaps(classes[self.logits.argmax(1).numpy()], self.lacking)


def _index_of(classes: Any) -> pd.Index:
    """Classes as names of columns; pandas has no index of half floats."""
    return pd.Index(classes.astype(np.float32) if classes.dtype == np.float16 else classes)


def _with_gaps(values: Any, lacking: np.ndarray) -> Any:
    """Values with missing ones in some rows; without such rows in their own dtype."""
    if not lacking.any():
        return values
    if isinstance(values, np.ndarray) and values.dtype.kind in "mM":
        return np.where(lacking, np.array("NaT", values.dtype), values)
    if isinstance(values, np.ndarray):
        values = values.astype(object)
        values[lacking] = None
        return values
    at = np.where(lacking, -1, np.arange(len(values)))
    return pd.api.extensions.take(values, at, allow_fill=True)


def _by_name(describe: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Descriptions by the canonical names of their labels."""
    return {name_of(label): told for label, told in (describe or {}).items()}


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


def _check_seen(batch: Batch, dataset: Dataset, purpose: str, needed: Sequence[bool] | None = None) -> None:
    """DataError if a row that is needed has no modality; by default all are."""
    there = torch.stack(list(batch.present.values())).any(0)
    if needed is not None:
        there |= ~torch.tensor(needed)
    if not there.all():
        row = int((~there).nonzero()[0])
        columns = ", ".join(dict.fromkeys(batch.present))
        raise DataError(
            f"{dataset.name} row {dataset.numbers[row]}: every modality is empty ({columns}), nothing to {purpose}. Fill one or drop the row."
        )
