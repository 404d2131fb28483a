"""The trained thing: a meta-model that adapts to a support set, and the predictor that comes of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from metamodal.config import component_record
from metamodal.data.cells import is_absent
from metamodal.data.dataset import Dataset, open_table
from metamodal.data.descriptors import Descriptors
from metamodal.data.digests import fingerprint
from metamodal.data.encode import Preprocessor
from metamodal.data.encoders import Encoders
from metamodal.data.identity import name_of
from metamodal.data.reading import read_cells
from metamodal.data.roles import Roles
from metamodal.data.table import frame_of_cells
from metamodal.data.targets import Targets
from metamodal.decision import log_prior, thresholds
from metamodal.errors import DataError, MetamodalWarning, OptionError
from metamodal.manifest import flattened, write_folder
from metamodal.mappings.bridges import Bridges
from metamodal.mappings.fusion import AttentionWeights
from metamodal.mappings.model import Model, build_model, untrained_model
from metamodal.meta.engine import Engine
from metamodal.meta.learners import learners
from metamodal.meta.learners.protocol import SelfTesting
from metamodal.summary import Summary, listed
from metamodal.translation import HOW_TO_TRAIN, Route, Translated, Translator
from metamodal.types import Batch, Learner, Params, one_hot

__all__ = [
    "Answers",
    "MetaModel",
    "Predictor",
    "Rows",
    "Seen",
    "dataset_of",
    "fingerprint",
    "generic_model",
    "initial_model",
    "untrained",
]

Rows: TypeAlias = pd.DataFrame | Dataset | Mapping[Any, Any] | Sequence[Any] | pd.Series
"""What may be given as rows: a table, a list of records, or one row as a record or a Series."""


@dataclass(frozen=True)
class Seen:
    """What training and model selection looked at, so that evaluation can keep away from it.

    Names are kept as fingerprints: a group may be a patient, and a model travels.
    """

    classes: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class MetaModel:
    """Everything that turns a support set into a predictor.

    `generic` says that the model has no weights and reads generic features. `record` is the option
    tree and the outcome of training, as plain values. `descriptors` are what it can be told of classes
    besides their rows.
    """

    preprocessor: Preprocessor
    engine: Engine
    params: Params
    roles: Roles
    seen: Seen = field(default_factory=Seen)
    generic: bool = False
    record: dict[str, Any] = field(default_factory=dict)
    targets: Targets = field(default_factory=Targets)
    descriptors: Descriptors = field(default_factory=Descriptors)

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.preprocessor.modalities

    @property
    def bridges(self) -> Bridges:
        """Maps between modalities beside the shared space, where training found them of use."""
        return Bridges(self.params)

    def under(self, learner: Learner) -> MetaModel:
        """The same encoders under another learner, its own parameters as they start: a probe of the embedding."""
        engine = self.engine.under(learner)
        fresh = {k: v for k, v in engine.initial().items() if k.startswith("learner.")}
        kept = {k: v for k, v in self.params.items() if not k.startswith("learner.")}
        return replace(self, engine=engine, params=kept | {k: v.detach() for k, v in fresh.items()})

    def inputs(
        self, dataset: Dataset, unreadable: str = "error", faults: dict[int, str] | None = None
    ) -> Batch:
        """Any table's rows as this model reads them, before its encoders.

        A column that the model knows and the table lacks is a `MetamodalWarning`, and so is a column of
        categories none of which training knew.

        Args:
            faults: receives, by row, what cannot be read in it.
        """
        cells = self.preprocessor.read(dataset, unreadable, faults)
        for message in (*self.preprocessor.lacking(dataset), *self.preprocessor.unknown(cells)):
            warnings.warn(message, MetamodalWarning, stacklevel=2)
        batch = self.preprocessor.encode(cells)
        return self.preprocessor.features(batch) if self.generic else batch

    def tokens(self, inputs: Batch) -> Batch:
        """What the learner reads of the rows, without gradients."""
        with torch.no_grad():
            return self.engine.encode(self.params, inputs)

    def shared(self, inputs: Batch) -> Batch:
        """A token a modality in the shared space, before any task, without gradients."""
        with torch.no_grad():
            return self.engine.tokens(self.params, inputs)

    def embed(self, rows: Rows) -> np.ndarray:
        """The embedding `(n, d)` of each row in the shared space."""
        inputs = self.inputs(dataset_of(rows, self.roles))
        with torch.no_grad():
            return self.engine.embed(self.params, inputs).numpy()

    def attention(self, rows: Rows) -> AttentionWeights:
        """How much each modality of each row attends to each, before any task.

        Raises:
            OptionError: the model's fusion has no attention weights.
        """
        if not getattr(self.engine.model, "attends", False):
            raise OptionError(
                "attention: this model's fusion has no attention weights. Train one with model.fusion=attention."
            )
        tokens = self.shared(self.inputs(dataset_of(rows, self.roles)))
        with torch.no_grad():
            values = self.engine.attend(self.params, tokens)
        present = torch.stack([tokens.present[m] for m in self.modalities], -1)
        return AttentionWeights(self.modalities, values.numpy(), present.numpy())

    def save(self, folder: str | Path) -> Path:
        """Write the model as a folder that `metamodal.load` reads.

        An artifact that is there already is replaced, whole or not at all.

        Raises:
            OutputError: the folder holds files of others, or cannot be written.
            OptionError: an encoder that is an object of this process alone.
        """
        return write_folder(folder, self._record(), self.params)

    def _record(self) -> dict[str, Any]:
        network = self.record.get("model", {})
        return {
            "generic": self.generic,
            "network": {k: network[k] for k in ("fusion", "dim", "decoders", "impute") if k in network},
            "learner": component_record(learners, self.engine.learner),
            "modalities": self.preprocessor.to_dict(),
            "roles": asdict(self.roles),
            "descriptors": self.descriptors.to_dict(),
            "targets": self.targets.to_dict(),
            "seen": {k: sorted(v) for k, v in asdict(self.seen).items()},
            "training": self.record,
        }

    def translate(
        self,
        rows: Rows,
        source: str | Sequence[str],
        target: str,
        *,
        against: Rows | None = None,
        top: int | None = None,
    ) -> Translated:
        """The target modality's cell of each row, from the source modalities: decoded, or retrieved from
        those of `against`; see `Translator.translated`.

        Raises:
            OptionError: an unknown modality, no decoder of the target, or a model without a shared space.
            DataError: nothing to translate from, or nothing to choose among.
        """
        if self.generic:
            raise OptionError(
                "translate: an untrained model has no shared space. Train one: metamodal train TABLE --out DIR "
                f"{HOW_TO_TRAIN}."
            )
        route = Route((source,) if isinstance(source, str) else tuple(source), target, top)
        among = None if against is None else dataset_of(against, self.roles)
        translator = Translator(self.preprocessor, self.engine, self.params)
        return translator.translated(dataset_of(rows, self.roles), route, among)

    def adapt(
        self,
        support: Rows | None,
        unreadable: str = "error",
        describe: Mapping[str, Any] | None = None,
        prior: str = "auto",
    ) -> Predictor:
        """A predictor from a handful of labelled rows; `unreadable` as in `read_cells`.

        A row whose class has a description may have no modality; without any such row, or without a
        support at all, classes are told apart by their descriptions (zero-shot). Of labels and numbers
        there may be no rows either: the predictor then gives the population's answer.

        Args:
            describe: descriptions by label, besides those in the support and before them.
            prior: how frequent classes are taken to be, `auto`, `balanced` or `support`; see `log_prior`.

        Raises:
            DataError: no target column, fewer than two classes, a row without any modality or target.
            OptionError: descriptions, and the model was trained without any.
        """
        if self.targets.outputs and (support is None or not len(support)):
            return self._adapted(self.blank(), self.targets.names)
        if support is None or (describe and not len(support)):
            return self._of_classes(self.blank(), [None], "the support", _by_name(describe))
        dataset = dataset_of(support, self.roles)
        if dataset.schema.target is None and self.roles.target:
            wanted = " or ".join(map(repr, self.roles.columns("target")))
            raise DataError(
                f"{dataset.name}: the label column {wanted} is missing. Add it, or name the one that holds it."
            )
        inputs = self.inputs(dataset, unreadable)
        model = replace(self, targets=self.targets.labelled(dataset))
        if self.targets.outputs:
            targets = self.targets.encode(dataset)
            _check_known(~self.targets.output.known(targets).any(-1), dataset)
            _check_seen(inputs, dataset, "learn from")
            adapted = replace(self._adapted(inputs.labelled(targets), self.targets.names), rows=len(dataset))
            return self._with_thresholds(adapted, inputs.labelled(targets))
        labels = _labels(dataset)
        told = self.descriptors.described(dataset) | _by_name(describe)
        _check_seen(inputs, dataset, "learn from", [is_absent(told.get(label)) for label in labels])
        predictor = model._of_classes(inputs, labels, dataset.name, told, dataset.schema.target)
        counts = [labels.count(name) for name in predictor.labels]
        return replace(predictor, shift=log_prior(counts, prior), rows=len(dataset))

    def _of_classes(
        self,
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
        known = target is None or target == self.roles.target
        about = self.descriptors.about(names, told, named=known)
        codes = torch.tensor([-1 if label is None else names.index(label) for label in labels])
        return self._adapted(inputs.labelled(one_hot(codes, len(names)))._replace(about=about), tuple(names))

    def _adapted(self, support: Batch, names: tuple[str, ...]) -> Predictor:
        tokens = self.tokens(support)
        with torch.no_grad():
            return Predictor(self, self.engine.adapt(self.params, tokens), names)

    def _with_thresholds(self, predictor: Predictor, support: Batch) -> Predictor:
        """A predictor of labels that gives each from the probability on that leave-one-out answers choose."""
        learner, output = self.engine.learner, self.targets.output
        if self.targets.kind != "labels" or not isinstance(learner, SelfTesting):
            return predictor
        with torch.no_grad():
            tokens = self.tokens(support)
            logits = learner.leave_one_out(self.engine.fn, self.params, predictor.state, tokens)
        known = ~support.targets.isnan().any(-1)
        chances = output.link(logits[known]).double().numpy()
        return replace(predictor, thresholds=thresholds(chances, support.targets[known].numpy() > 0.5))

    def blank(self, rows: int = 1) -> Batch:
        """Rows without any modality or target."""
        inputs = {m: torch.zeros(rows, *kind.shape) for m, kind in self.preprocessor.fitted.items()}
        absent = {m: torch.zeros(rows, dtype=torch.bool) for m in inputs}
        batch = Batch(inputs, absent, torch.full((rows, self.targets.outputs), torch.nan))
        return self.preprocessor.features(batch) if self.generic else batch


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
        facts.append(("learner", str(component_record(learners, self.model.engine.learner)["kind"])))
        facts += [("prior", self.prior)] if self.kind == "classes" else []
        return Summary(f"Predictor of {len(self.labels):,} {self.kind}", tuple(facts))

    def __repr__(self) -> str:
        return str(self._summary())

    def _repr_html_(self) -> str:
        return self._summary().html()

    @property
    def prior(self) -> str:
        """How frequent classes are taken to be: `balanced`, or as in the `support`."""
        return "support" if self.shift else "balanced"

    @property
    def kind(self) -> str:
        """What is predicted: `classes`, `labels` or `numbers`."""
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
        return write_folder(folder, {**self.model._record(), "predictor": state}, tensors)

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
        if self.kind == "numbers":
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
        classes = p.kind == "classes"
        values = torch.softmax(self.logits, -1).numpy() if classes else p.model.targets.decode(self.logits)
        values[self.lacking] = np.nan
        names = pd.Index(p.classes) if classes else list(p.labels)
        return pd.DataFrame(values, columns=names, index=self.index)

    def labels(self) -> Any:
        """What `Predictor.predict` returns."""
        p, lacking = self.predictor, self.lacking
        if p.kind == "classes":
            return _with_gaps(p.classes[self.logits.argmax(1).numpy()], lacking)
        values = p.model.targets.decode(self.logits)
        if p.kind == "labels":
            return _with_gaps(values > (np.array(p.thresholds) if p.thresholds else 0.5), lacking)
        values[lacking] = np.nan
        return values[:, 0] if values.shape[1] == 1 else values


def _with_gaps(values: Any, lacking: np.ndarray) -> Any:
    """Values with missing ones in some rows; without such rows in their own dtype."""
    if not lacking.any():
        return values
    if isinstance(values, np.ndarray):
        values = values.astype(object)
        values[lacking] = None
        return values
    at = np.where(lacking, -1, np.arange(len(values)))
    return pd.api.extensions.take(values, at, allow_fill=True)


def dataset_of(rows: Rows, roles: Roles) -> Dataset:
    """Rows as a data set with the roles a model was trained with, as far as they have the columns.

    Raises:
        OptionError: what is given is no table and no row.
    """
    if isinstance(rows, Dataset):
        return rows
    return open_table(_frame_of_rows(rows), Roles(), roles)


def _frame_of_rows(rows: Any) -> pd.DataFrame:
    """A frame of a frame, of a list of records, or of one row as a record or a Series."""
    if isinstance(rows, pd.DataFrame):
        return rows
    records = [rows] if isinstance(rows, (Mapping, pd.Series)) else rows
    if not isinstance(records, (list, tuple)) or not all(
        isinstance(r, (Mapping, pd.Series)) for r in records
    ):
        raise OptionError(
            f"{type(rows).__name__} given where rows are needed. Give a DataFrame, a Dataset, a list of records, or "
            "one record {column: cell}; a file is read by read_table."
        )
    if not records:
        raise DataError("the list of records is empty. Give at least one row.")
    names = list(dict.fromkeys(name for record in records for name in (*record.keys(),)))
    return frame_of_cells({str(name): [record.get(name) for record in records] for name in names})


def initial_model(
    preprocessor: Preprocessor,
    learner: Learner,
    roles: Roles,
    *,
    fusion: str,
    dim: int,
    decoders: bool = False,
    impute: bool = False,
    targets: Targets | None = None,
    descriptors: Descriptors | None = None,
) -> MetaModel:
    """A model with random weights from torch's generator, ready for meta-training."""
    networks = {name: encoder.network() for name, encoder in preprocessor.encoders.tuned.items()}
    told = descriptors or Descriptors()
    network = build_model(
        preprocessor.spaces,
        fusion=fusion,
        dim=dim,
        pretrained=networks,
        text=told.space,
        names=len(told.names),
        decoders=decoders,
        impute=impute,
    )
    return replace(_assembled(preprocessor, network, learner, roles, targets=targets), descriptors=told)


def untrained(
    rows: Dataset, learner: Learner, unreadable: str = "error", encoders: Encoders | None = None
) -> MetaModel:
    """The model `none`: features that need no training here, scaled by the rows given, as numbers are."""
    cells = read_cells(rows, unreadable=unreadable, encoders=encoders)
    preprocessor = Preprocessor.fit(cells, encoders=encoders)
    targets = Targets.fit(rows, np.arange(len(rows)))
    return generic_model(preprocessor, learner, rows.schema.to_roles(), targets)


def generic_model(
    preprocessor: Preprocessor, learner: Learner, roles: Roles, targets: Targets | None = None
) -> MetaModel:
    """A model without weights of its own: a learner over generic features."""
    model = untrained_model(preprocessor.modalities)
    return _assembled(preprocessor, model, learner, roles, generic=True, targets=targets)


def _assembled(
    preprocessor: Preprocessor,
    model: Model,
    learner: Learner,
    roles: Roles,
    *,
    generic: bool = False,
    targets: Targets | None = None,
) -> MetaModel:
    targets = targets or Targets()
    engine = Engine(model, learner, preprocessor.modalities, targets.output, targets.outputs)
    return MetaModel(preprocessor, engine, engine.initial(), roles, generic=generic, targets=targets)


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
