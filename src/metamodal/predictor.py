"""A predictor: a learner adapted to a support set, with the preprocessing that its rows need."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_map

from metamodal.answers import Answers
from metamodal.components import kind_of
from metamodal.data.dataset import Dataset
from metamodal.data.schema.label_type import LabelType
from metamodal.data.tables.rows import Rows, dataset_of
from metamodal.device import Precision, device_of
from metamodal.errors import DataError, OptionError
from metamodal.manifest import referring, write_folder
from metamodal.meta.learners import learners
from metamodal.meta.learners.protocol import Fusing
from metamodal.model import MetaModel
from metamodal.summary import Summary, listed
from metamodal.tensor_tree import flattened
from metamodal.types import Batch

__all__ = ["Predictor", "check_seen"]


@dataclass(frozen=True)
class Predictor:
    """A predictor: a learner adapted to a support set, with the preprocessing that its rows need.

    `MetaLearner.adapt` makes it, `load` reads it. It is a small value: `predict` and `predict_proba` answer
    rows, `save` writes a folder, `on` moves it to another device.

    >>> import pandas as pd, metamodal as mm
    >>> support = pd.DataFrame({"height": [20, 24, 60, 63], "pet": ["cat", "cat", "dog", "dog"]})
    >>> predictor = mm.MetaLearner(data__target="pet").adapt(support)
    >>> predictor.predict_proba([{"height": 22}, {"height": 61}]).round().to_numpy().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    >>> predictor.labels, predictor.kind, predictor.prior
    (('cat', 'dog'), 'classification', 'balanced')

    Attributes:
        model, state: the model it came from, and what adaptation made of the support.
        labels: names of the classes or labels, or of the columns of numbers, in the order of every answer.
        classes: the classes in the dtype of the support's labels.
        shift: added to the logits of classes that are not equally frequent; empty where they are.
        thresholds: probabilities from which on each label of several is given; empty means one half.
        rows: the number of support rows; `None` for a predictor that was loaded.
        weights: the share of each modality in the answers, where the learner fuses late; else empty.
        rates: `(k,)`, the probability of each class in a row of which nothing is known.
    """

    model: MetaModel
    state: Any
    labels: tuple[str, ...]
    shift: tuple[float, ...] = ()
    thresholds: tuple[float, ...] = ()
    rows: int | None = None

    def _summary(self) -> Summary:
        weights = self.weights
        shares = [f"{m} {share:.2f}" for m, share in weights.items()] or self.model.modalities
        facts = [("labels", listed(self.labels)), ("weights" if weights else "modalities", listed(shares))]
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
    def weights(self) -> dict[str, float]:
        """How much each modality counts in the answers, as shares that sum to one; `joint` is the classifier of all
        of them together. Empty where the learner fuses modalities before it classifies."""
        learner = self.model.engine.learner
        return learner.fusion_weights(self.state) if isinstance(learner, Fusing) else {}

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

    def __deepcopy__(self, memo: dict[Any, Any]) -> Predictor:
        """A copy of what was adapted; the model is a value that copies share."""
        return replace(self, state=copy.deepcopy(self.state, memo))

    def on(self, device: str = "auto", precision: Precision = "float32") -> Predictor:
        """The same predictor, computing on another device or in another precision; see `MetaModel.on`."""
        model = self.model.on(device, precision)
        where = device_of(model.params)
        return replace(self, model=model, state=tree_map(lambda tensor: tensor.to(where), self.state))

    def save(self, folder: str | Path, model: str | Path | None = None) -> Path:
        """Write the predictor as a folder that `metamodal.load` reads.

        An artifact that is there already is replaced, whole or not at all.

        Args:
            model: the folder of its model, to refer to by digest instead of embedding the model. The predictor is
                then a few kilobytes, and can be read as long as that folder stays as it is.

        Raises:
            OutputError: the folder holds files of others, or cannot be written.
            OptionError: an encoder that is an object of this process alone, or `model` is another model's folder.
        """
        tensors = {} if model is not None else dict(self.model.params)
        state = {
            "labels": list(self.labels),
            "state": flattened(self.state, "state", tensors),
            "shift": list(self.shift),
            "thresholds": list(self.thresholds),
        }
        if model is None:
            return write_folder(folder, {**self.model.to_record(), "predictor": state}, tensors)
        record = {
            "model": referring(folder, model, self.model.to_record(), self.model.params),
            "predictor": state,
        }
        return write_folder(folder, {**record, "targets": self.model.targets.to_dict()}, tensors)

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

    def batch(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        """Records as the model reads them: cells are taken to be of the kinds that training had, nothing is inferred.

        >>> import pandas as pd, metamodal as mm
        >>> support = pd.DataFrame({"height": [20, 24, 60, 63], "pet": ["cat", "cat", "dog", "dog"]})
        >>> predictor = mm.MetaLearner(data__target="pet").adapt(support)
        >>> logits = predictor.logits(predictor.batch([{"height": 22}, {"height": 61}]))
        >>> [predictor.labels[k] for k in logits.argmax(1)]
        ['cat', 'dog']

        Args:
            rows: one mapping from columns to cells a row; a column that is not named is absent.

        Raises:
            DataError: a cell that cannot be read, or a name that is no column of the model.
        """
        return self.model.batch(rows)

    def logits(self, batch: Batch) -> Float[Tensor, "n k"]:
        """The logits of rows that `batch` made, one column a label, on the CPU; of numbers, standardised numbers."""
        tokens = self.model.tokens(batch)
        with torch.no_grad():
            found = self.model.engine.predict(self.model.params, self.state, tokens).cpu()
        return found + torch.tensor(self.shift) if self.shift else found

    def answers(self, query: Rows, unreadable: str = "error", *, empty: str = "absent") -> Answers:
        """What is predicted of each row, and why a row has no answer.

        Args:
            query, unreadable: as in `predict`.
            empty: `error` to refuse a row that has no modality.
        """
        dataset = dataset_of(query, self.model.roles, unreadable)
        faults: dict[int, str] = {}
        inputs = self.model.inputs(dataset, unreadable, faults)
        if empty == "error":
            check_seen(inputs, dataset, "predict")
        logits = self.logits(inputs)
        there = torch.stack(list(inputs.present.values())).any(0).tolist()
        nothing = f"every modality is empty ({', '.join(self.model.modalities)})"
        reasons = tuple(None if ok else faults.get(row, nothing) for row, ok in enumerate(there))
        index = query.index if isinstance(query, pd.DataFrame) else None
        return Answers(self.model.targets, self.labels, self.thresholds, logits, reasons, index)


def check_seen(batch: Batch, dataset: Dataset, purpose: str, needed: Sequence[bool] | None = None) -> None:
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
