"""`Classifier` and `Regressor`: one table, one task, columns of any kind, in scikit-learn's manner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from metamodal.adaptation import adapt
from metamodal.artifact import load_artifact
from metamodal.components import component, component_record
from metamodal.data.dataset import read_table
from metamodal.data.identity import free_name, name_of
from metamodal.data.schema.label_type import LabelType
from metamodal.data.tables.rows import dataset_of
from metamodal.errors import DataError, InputError, OptionError
from metamodal.estimator import MetaLearner
from metamodal.meta.learners import UNTRAINED, learners
from metamodal.model import MetaModel, untrained
from metamodal.nesting import flat, merged, nested
from metamodal.predictor import Predictor
from metamodal.sklearn_input import (
    as_input_error,
    checked_target,
    distinct_names,
    frame_of_rows,
    has_cells,
    numbers_of,
    of_one_type,
)

__all__ = ["Classifier", "Regressor"]

_NESTED = "learner__"


class _Supervised(BaseEstimator):
    """What both have in common: rows of any kind in, one adaptation, answers for rows out."""

    _target_kind: str

    # Any value may be set: as everywhere in scikit-learn, `fit` looks at what it is.
    def __init__(
        self, model: Any = "none", *, learner: Any = None, kinds: Any = None, unreadable: Any = "error"
    ) -> None:
        self.model = model
        self.learner = learner
        self.kinds = kinds
        self.unreadable = unreadable

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.target_tags.required = True
        return tags

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters; with `deep` also the learner's options, as `learner__penalty`."""
        found = super().get_params(deep=False)
        deeper = flat({"learner": self._record()}) if deep and self.learner is not None else {}
        return found | deeper

    def set_params(self, **params: Any) -> _Supervised:
        """Change parameters; `learner__penalty=1` changes one option of the learner."""
        own = {name: value for name, value in params.items() if not name.startswith(_NESTED)}
        super().set_params(**own)
        if len(own) < len(params):
            changes = nested({name: params[name] for name in params.keys() - own.keys()})
            self.learner = merged(self._record(), changes["learner"])
        return self

    def _record(self) -> dict[str, Any]:
        """The learner's options as a record with its kind; as given, where they do not fit each other."""
        said = self.learner if self.learner is not None else UNTRAINED
        try:
            return component_record(learners, component(learners, said, "learner"))
        except (OptionError, TypeError):
            return dict(said) if isinstance(said, Mapping) else {"kind": said}

    def _adapted(self, frame: pd.DataFrame, y: Any, prior: str) -> Predictor:
        if self.unreadable not in ("error", "absent"):
            raise OptionError(f"unreadable={self.unreadable!r}: no such choice. Set 'error' or 'absent'.")
        if self.kinds is not None and not isinstance(self.kinds, Mapping):
            raise OptionError(f"kinds={self.kinds!r}: no mapping. Give kinds by column: {{'price': 'text'}}.")
        with as_input_error():
            model = self._trained_model()
            target = _target_name(model, y, frame)
            labelled = frame.assign(**{target: pd.Series(y, index=frame.index)})
            if model is not None:
                if self.learner is not None:
                    raise OptionError(
                        "learner: a trained model has its own. Leave it out, or set model='none'."
                    )
                if model.targets.kind != self._target_kind:
                    raise OptionError(
                        f"model: predicts {model.targets.kind}, not {self._target_kind}. Use the other estimator, or "
                        "another model."
                    )
                if target in frame:
                    raise InputError(f"X: column {target!r} is the model's target. Leave it out of X.")
                data = dataset_of(labelled, model.roles, self.unreadable)
                return adapt(model, data, self.unreadable, prior=prior, empty="absent")
            data = read_table(
                labelled,
                target=target,
                target_kind=self._target_kind,
                kinds=dict(self.kinds or {}),
                unreadable=self.unreadable,
            )
            learner = component(learners, self.learner if self.learner is not None else UNTRAINED, "learner")
            model = untrained(data, learner, self.unreadable)
            return adapt(model, data, self.unreadable, prior=prior, empty="absent")

    def _trained_model(self) -> MetaModel | None:
        model = self.model
        if isinstance(model, str) and model == "none":
            return None
        if isinstance(model, (str, Path)):
            model = load_artifact(model)
        if isinstance(model, MetaLearner):
            model = model.model
        if not isinstance(model, MetaModel):
            raise OptionError(
                f"model={self.model!r}: no trained model. Give 'none', a folder that train wrote, or a fitted MetaLearner."
            )
        return model

    def _fitted_frame(self, X: Any, y: Any) -> pd.DataFrame:
        if y is None:
            raise InputError("requires y to be passed, but the target y is None")
        with as_input_error():
            return self._frame(X, reset=True)

    def _frame(self, X: Any, *, reset: bool) -> pd.DataFrame:
        if issparse(X):
            raise InputError("sparse input is not supported. Pass X.toarray(), or a DataFrame.")
        if isinstance(X, pd.DataFrame) and X.columns.nlevels > 1:
            raise InputError("X: its columns have names of several levels. Give each one name.")
        if has_cells(X):
            frame = X if isinstance(X, pd.DataFrame) else frame_of_rows(X)
            frame = frame.reset_index(drop=True)
            if not len(frame):
                raise DataError("X has 0 samples (rows). A minimum of 1 is required.")
            if reset:
                validate_data(self, frame, reset=True, skip_check_array=True)
                self._names = [str(column) for column in frame.columns]
            elif not hasattr(self, "feature_names_in_"):
                validate_data(self, frame, reset=False, skip_check_array=True)
                frame = frame.set_axis(self._names, axis=1)
            return frame
        if isinstance(X, np.ma.MaskedArray):
            hidden = np.ma.getmaskarray(X)
            X = np.array(X.data, X.dtype if X.dtype.kind == "f" else object)
            X[hidden] = np.nan if X.dtype.kind == "f" else None
        array = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite="allow-nan")
        if reset:
            self._names = [f"x{i}" for i in range(array.shape[1])]
        return pd.DataFrame(array, columns=self._names)


class Classifier(ClassifierMixin, _Supervised):
    """A classifier for the rows of one table, whatever kinds its columns are of, in scikit-learn's manner.

    Images, texts, sounds, videos, series, numbers, categories, vectors, graphs and point clouds are columns as
    they are, and any cell may be missing. A row without any cell is left out of `fit`, with a warning, and is
    predicted by class frequency. `Pipeline`, `cross_val_score` and `GridSearchCV` work with it.

    >>> import pandas as pd
    >>> X = pd.DataFrame({"size": [20, 24, 60, None], "note": ["purrs", "meows", "barks", "barks a lot"]})
    >>> clf = Classifier().fit(X, ["cat", "cat", "dog", "dog"])
    >>> clf.predict([{"note": "barks"}, {"size": 22}]).tolist()
    ['dog', 'cat']

    Args:
        model: `"none"` for generic features that need no training, a folder that `train` or `MetaLearner.save`
            wrote, or a fitted `MetaLearner`, which brings what it learned from other tasks.
        learner: how an untrained model learns, by name or as a record such as `{"kind": "ridge", "penalty": 1.0}`;
            `stacked` where it is not given.
        kinds: the kinds of columns of which it is not to be inferred: `{"price": "text"}`.
        unreadable: whether a cell that cannot be read is an `error` or counts as `absent`.
        prior: how frequent classes are: `balanced`, `support` (as in the rows of `fit`), or `auto`.

    Attributes:
        classes_: the labels, sorted, in the dtype they came in.
        predictor_: the `Predictor` that answers.
        feature_names_in_, n_features_in_: the columns of `fit`.
    """

    _target_kind = "classification"

    def __init__(
        self,
        model: Any = "none",
        *,
        learner: Any = None,
        kinds: Any = None,
        unreadable: Any = "error",
        prior: Any = "auto",
    ) -> None:
        super().__init__(model, learner=learner, kinds=kinds, unreadable=unreadable)
        self.prior = prior

    def fit(self, X: Any, y: Any) -> Classifier:
        """Adapt to labelled rows.

        Args:
            X: `n` rows: a DataFrame of pandas or any that Arrow can read, an array `(n, columns)`, or a list of
                records.
            y: `n` labels, of two classes at least.

        Raises:
            InputError: rows or labels that cannot be learned from; it is a ValueError.
        """
        frame = self._fitted_frame(X, y)
        labels = checked_target(frame, y)
        self.classes_, codes = np.unique(of_one_type(labels), return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"y: one class only ({str(self.classes_[0])!r}). Give rows of at least two.")
        self._class_names = distinct_names(self.classes_)
        column = pd.Series(np.array(self._class_names, dtype=object)[codes], name=getattr(y, "name", None))
        predictor = self._adapted(frame, column, self.prior)
        if self._class_names == [name_of(label) for label in self.classes_]:
            predictor = predictor.of_labels(LabelType.of(list(self.classes_), pd.Series(labels).dtype))
        self.predictor_ = predictor
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of each row, `(n,)`."""
        chances = self.predict_proba(X)
        return self.classes_[chances.argmax(1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, `(n, classes)`, in the order of `classes_`."""
        check_is_fitted(self, "predictor_")
        with as_input_error():
            answers = self.predictor_.answers(self._frame(X, reset=False), self.unreadable)
        known = np.where(
            answers.lacking[:, None], self.predictor_.rates, answers.probabilities().to_numpy(float)
        )
        found = np.zeros((len(known), len(self.classes_)))  # a class that had empty rows alone stays at zero
        found[:, [self._class_names.index(name) for name in self.predictor_.labels]] = known
        return found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of rows whose label is predicted; of labels of any type, also those that scikit-learn has no score of."""
        found = self.predict(X)
        check_consistent_length(found, y, sample_weight)
        return float(np.average(found == of_one_type(y), weights=sample_weight))


class Regressor(RegressorMixin, _Supervised):
    """A regressor for the rows of one table, whatever kinds its columns are of, in scikit-learn's manner.

    Columns are those of `Classifier`; any cell may be missing. A row without any cell is predicted by the
    mean of `fit`. Numbers are standardised inside, and answers are in the unit of `y`.

    >>> import pandas as pd
    >>> X = pd.DataFrame({"rooms": [1, 2, 3, 4, 5, 6], "heating": ["gas", "oil"] * 3})
    >>> reg = Regressor().fit(X, [300, 400, 500, 600, 700, 800])
    >>> bool(reg.predict(pd.DataFrame({"rooms": [2], "heating": ["oil"]}))[0] < 600)
    True

    Args:
        model, learner, kinds, unreadable: as of `Classifier`.

    Attributes:
        predictor_: the `Predictor` that answers.
        feature_names_in_, n_features_in_: the columns of `fit`.
    """

    _target_kind = "regression"

    def fit(self, X: Any, y: Any) -> Regressor:
        """Adapt to rows with their numbers; arguments as of `Classifier.fit`."""
        frame = self._fitted_frame(X, y)
        numbers = numbers_of(checked_target(frame, y))
        self.predictor_ = self._adapted(frame, pd.Series(numbers, name=getattr(y, "name", None)), "balanced")
        self._mean = float(numbers.mean())
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The number of each row, `(n,)`; the mean of `fit` where a row has no cell."""
        check_is_fitted(self, "predictor_")
        with as_input_error():
            answers = self.predictor_.answers(self._frame(X, reset=False), self.unreadable)
        return np.where(answers.lacking, self._mean, np.asarray(answers.labels(), float))


def _target_name(model: MetaModel | None, y: Any, frame: pd.DataFrame) -> str:
    """The label column's name: the model's own, or one that no feature has."""
    if model is not None and (columns := model.roles.columns("target")):
        return columns[0]
    return free_name(str(getattr(y, "name", None) or "target"), {str(column) for column in frame.columns})
