"""`Classifier` and `Regressor` are scikit-learn estimators, over columns of any kind."""

from __future__ import annotations

import subprocess
import sys
import warnings
from datetime import date
from decimal import Decimal
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import metamodal as mm
from conftest import nine_kinds_table


@parametrize_with_checks([mm.Classifier(), mm.Regressor()])
def test_they_are_estimators_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def iris() -> tuple[np.ndarray, np.ndarray]:
    return load_iris(return_X_y=True)


def test_options_of_the_learner_are_searched(iris):
    search = GridSearchCV(mm.Classifier(learner="ridge"), {"learner__penalty": [0.01, 100.0]}, cv=3)
    search.fit(*iris)
    assert search.best_params_["learner__penalty"] in (0.01, 100.0)
    assert search.best_estimator_.get_params()["learner__penalty"] == search.best_params_["learner__penalty"]
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] != scores[1] and scores.max() > 0.7


def test_options_are_parameters_by_their_path():
    clf = mm.Classifier(learner="per_modality")
    clf.set_params(learner__base__penalty=2.0, prior="support")
    assert clf.get_params()["learner__base__penalty"] == 2.0
    again = clone(clf)
    assert again.get_params() == clf.get_params() and again is not clf
    with pytest.raises(mm.OptionError, match="learner.penalti: no such option"):
        clone(clf).set_params(learner={"kind": "ridge", "penalti": 1}).fit([[1.0], [2.0]], ["a", "b"])


def test_groups_are_left_out_together(iris):
    groups = np.arange(len(iris[1])) % 10
    scores = cross_val_score(mm.Classifier(), *iris, groups=groups, cv=GroupKFold(5))
    assert len(scores) == 5 and scores.mean() > 0.75


def test_a_fitted_one_goes_through_joblib_into_a_fresh_process(iris, tmp_path: Path):
    clf = mm.Classifier().fit(*iris)
    joblib.dump(clf, tmp_path / "clf.joblib")
    code = (
        "import joblib, numpy as np, sys; from sklearn.datasets import load_iris;"
        "clf = joblib.load(sys.argv[1]); np.save(sys.argv[2], clf.predict_proba(load_iris().data))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "clf.joblib"), str(tmp_path / "p.npy")]
    subprocess.run(command, check=True)
    assert np.allclose(np.load(tmp_path / "p.npy"), clf.predict_proba(iris[0]), atol=1e-6)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return nine_kinds_table(3, 8)


def test_columns_of_every_kind_are_features_and_cells_may_be_missing(rows: pd.DataFrame):
    X, y = rows.drop(columns="label"), rows["label"]
    X = X.mask(np.random.default_rng(0).random(X.shape) < 0.3)
    X["size"] = rows["size"]
    clf = mm.Classifier().fit(X[::2], y[::2])
    assert clf.score(X[1::2], y[1::2]) >= 0.8
    assert list(clf.feature_names_in_) == list(X.columns) and clf.n_features_in_ == X.shape[1]
    assert set(clf.predictor_.model.modalities) >= {"photo", "voice", "note", "net", "cloud", "vector"}
    assert np.allclose(clf.predict_proba(X[1::2]).sum(1), 1)


def test_rows_of_any_shape_get_the_same_answer(rows: pd.DataFrame):
    X, y = rows[["size", "colour", "note"]], rows["label"]
    clf = mm.Classifier().fit(X[::2], y[::2])
    asked = X[1::2]
    expected = clf.predict_proba(asked)
    for same in (
        asked.to_dict("records"),
        pa.Table.from_pandas(asked, preserve_index=False),
        asked[["note", "size", "colour"]],
    ):
        assert np.allclose(clf.predict_proba(same), expected)
    assert np.allclose(mm.Classifier().fit(X[::2].to_dict("records"), y[::2]).predict_proba(asked), expected)


@pytest.mark.parametrize(
    "labels",
    [
        [3, 10, 2] * 8,
        [True, False, False] * 8,
        [0.0, 1.0, 2.0] * 8,
        ["b", "a", "c"] * 8,
        pd.Series(["x", "y", "z"] * 8, dtype="category"),
        np.array(["2020-01-01", "2021-01-01", "2022-01-01"] * 8, "datetime64[D]"),
    ],
    ids=str,
)
def test_labels_come_back_in_their_dtype(labels):
    X = np.random.default_rng(0).normal(size=(24, 3)) + 5 * np.arange(24)[:, None] % 15
    y = np.asarray(labels)
    answers = mm.Classifier().fit(X, labels).predict(X)
    assert answers.dtype.kind == y.dtype.kind and set(answers.tolist()) <= set(y.tolist())
    assert (answers == y).mean() > 0.5


def separated(labels: list) -> tuple[np.ndarray, np.ndarray]:
    """Six rows of each label, far apart, and which label is whose."""
    codes = np.arange(6 * len(labels)) % len(labels)
    return np.random.default_rng(0).normal(size=(len(codes), 2)) + 40 * codes[:, None], codes


@pytest.mark.parametrize(
    "labels",
    [
        ["1", "1.0", "2"],
        ["True", "true", "x"],
        ["-0.0", "0", "x"],
        ["2024-05-31", "2024-05-31 00:00:00", "x"],
        ["", " ", "x"],
        np.array([1, 2, 10**12], "datetime64[ns]"),
        np.array([1, 2, 10**12], "timedelta64[ns]"),
        np.array([1, 2, 3], "timedelta64[Y]"),
        [b"a", b"b", b"c"],
    ],
    ids=str,
)
def test_labels_that_the_library_would_take_for_one_stay_apart(labels):
    """Canonical names are for tables; an estimator's classes are the values of y."""
    X, codes = separated(list(labels))
    y = np.asarray(labels)[codes]
    clf = mm.Classifier().fit(X, y)
    assert (clf.classes_ == np.unique(y)).all() and clf.classes_.dtype == y.dtype
    assert (clf.predict(X) == y).mean() > 0.9
    assert (clf.predict_proba(X).argmax(1) == np.unique(y, return_inverse=True)[1]).mean() > 0.9


@pytest.mark.parametrize(
    "labels",
    [
        [3, 1],
        [True, False],
        ["b", "a"],
        [10**30, 10**30 + 1],
        [date(2024, 1, 1), date(2025, 1, 1)],
        [Decimal("1.10"), Decimal("2.20")],
        [pd.Interval(0, 1), pd.Interval(1, 2)],
    ],
    ids=str,
)
def test_objects_of_one_type_are_labels(labels):
    X, codes = separated(labels)
    y = pd.Series([labels[code] for code in codes], dtype=object)
    clf = mm.Classifier().fit(X, y)
    assert clf.classes_.tolist() == sorted(labels) and clf.score(X, y) == 1.0
    assert set(clf.predictor_.classes.tolist()) == set(labels) or isinstance(labels[0], (int, pd.Interval))


def test_rows_of_a_data_set_are_rows_of_an_estimator():
    """Its columns are of dtype object, labels too."""
    X, codes = separated([3, 1])
    table = mm.read_table(pd.DataFrame(X, columns=["a", "b"]).assign(y=np.array([3, 1])[codes]), target="y")
    clf = mm.Classifier().fit(table.frame[["a", "b"]], table.frame["y"])
    assert clf.score(table.frame[["a", "b"]], table.frame["y"]) == 1.0 and clf.classes_.tolist() == [1, 3]


def test_masked_cells_are_missing():
    X, codes = separated(["a", "b"])
    hidden = np.random.default_rng(1).random(X.shape) < 0.3
    for data, gaps in ((X, np.nan), (X.round().astype(int), None)):
        masked = np.ma.masked_array(np.where(hidden, -(10**6), data), mask=hidden)
        holes = np.where(hidden, gaps, data.astype(object))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mm.MetamodalWarning)
            found = mm.Classifier().fit(masked, codes).predict_proba(masked)
            assert np.allclose(found, mm.Classifier().fit(holes, codes).predict_proba(holes))
    with pytest.raises(mm.InputError, match="masked entries"):
        mm.Classifier().fit(X, np.ma.masked_array(codes, mask=codes == 1))


def test_a_row_without_any_cell_is_left_out_of_fit_and_predicted_by_what_is_known_without_it():
    X = pd.DataFrame({"note": ["purrs and meows", "meows", "barks", "barks at night"] * 8})
    y = np.array(["cat", "cat", "dog", "dog"] * 8)
    holes = X.mask(np.arange(32)[:, None] % 5 == 4)
    with pytest.warns(mm.MetamodalWarning, match=r"every modality is empty \(note\) are left out: 6 of 32"):
        clf = mm.Classifier(prior="support").fit(holes, y)
    rates = (pd.Series(y[holes["note"].notna()]).value_counts().sort_index() + 1) / (26 + 2)
    empty = clf.predict_proba(pd.DataFrame({"note": [None, "meows"]}))
    assert np.allclose(empty[0], rates) and empty[1, 0] > 0.5
    assert clf.predict(pd.DataFrame({"note": [None]}))[0] == rates.idxmax()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mm.MetamodalWarning)
        assert cross_val_score(mm.Classifier(), holes, y, cv=3).mean() > 0.7
        reg = mm.Regressor().fit(holes, np.arange(32.0))
        assert reg.predict(pd.DataFrame({"note": [None]}))[0] == 15.5
        with pytest.raises(mm.InputError, match="one class only"):
            mm.Classifier().fit(X.mask((y == "dog")[:, None]), y)


def test_a_class_of_empty_rows_alone_keeps_its_place_and_is_not_predicted():
    X, y = pd.DataFrame({"a": [0.0, 0.1, None, None, 9.0, 9.1]}), np.array(["x", "x", "y", "y", "z", "z"])
    with pytest.warns(mm.MetamodalWarning, match="2 of 6"):
        clf = mm.Classifier().fit(X, y)
    assert clf.classes_.tolist() == ["x", "y", "z"] and clf.predict_proba(X).shape == (6, 3)
    assert (clf.predict_proba(X)[:, 1] == 0).all() and clf.predict(X)[[0, 5]].tolist() == ["x", "z"]


def test_probabilities_sum_to_one_at_their_own_precision(iris):
    assert abs(mm.Classifier().fit(*iris).predict_proba(iris[0]).sum(1) - 1).max() < 1e-12


def test_they_stand_in_a_pipeline(rows: pd.DataFrame):
    chosen = FunctionTransformer(lambda X: X[["size", "note"]])
    pipe = make_pipeline(chosen, mm.Classifier()).fit(rows.drop(columns="label"), rows["label"])
    assert list(pipe[-1].feature_names_in_) == ["size", "note"]
    assert pipe.score(rows, rows["label"]) > 0.8


def test_a_number_is_learned_from_mixed_columns():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"size": rng.normal(size=60), "colour": rng.choice(["red", "blue"], 60)})
    X.loc[::9, "size"] = np.nan
    y = 3 * X["size"].fillna(0) + 2 * (X["colour"] == "red") + rng.normal(0, 0.1, 60)
    reg = mm.Regressor().fit(X[:40], y[:40])
    assert reg.score(X[40:], y[40:]) > 0.6


def test_a_trained_model_brings_its_own_features_and_learner(trained, shapes: pd.DataFrame, tmp_path: Path):
    learner, _ = trained
    learner.save(tmp_path / "model")
    few = shapes.groupby("label").head(3).head(12)
    X, y = few.drop(columns="label"), few["label"]
    for model in (learner, tmp_path / "model", str(tmp_path / "model")):
        clf = mm.Classifier(model).fit(X, y)
        assert np.allclose(clf.predict_proba(X), learner.adapt(few).predict_proba(X)[list(clf.classes_)])
    with pytest.raises(mm.OptionError, match="a trained model has its own"):
        mm.Classifier(learner, learner="ridge").fit(X, y)
    with pytest.raises(mm.OptionError, match="no trained model"):
        mm.Classifier(3).fit(X, y)
    with pytest.raises(mm.OptionError, match="predicts classification, not regression"):
        mm.Regressor(learner).fit(X, np.arange(len(X)))
    with pytest.raises(ValueError, match="'label' is the model's target"):
        mm.Classifier(learner).fit(few, y)


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        (pd.DataFrame({"a": [1.0, 2.0]}), ["x", "x"], "one class only"),
        (pd.DataFrame({"a": [1.0, 2.0]}), ["x", None], "contains NaN"),
        (pd.DataFrame({"a": [1.0, 2.0, 3.0]}), ["x", "y"], "inconsistent numbers of samples"),
        (pd.DataFrame({"a": [1.0, "x", 2.0]}), ["x", "y", "x"], "row 2, column a"),
        (pd.DataFrame({"a": [None, None]}), ["x", "y"], "every modality is empty"),
        (pd.DataFrame({"a": []}), [], "0 sample"),
        (pd.DataFrame({"a": [1.0, 2.0]}), [1, 1], r"one class only \('1'\)"),
        (pd.DataFrame({"a": [1.0, 2.0]}), np.array([1, "a"], object), r"several types \(int, str\)"),
        (pd.DataFrame({"a": [1.0, 2.0]}), pd.Series([{"a": 1}, {"a": 2}]), "type dict, which have no order"),
        (pd.DataFrame({"a": [1.0, 2.0]}), np.array([0.5, 1.5], object), "Unknown label type: continuous"),
        (pd.DataFrame({"a": [1.0, 2.0]}), ["\ud83d", "x"], "the label .* holds half a character"),
        (pd.DataFrame([[1.0], [2.0]], columns=pd.MultiIndex.from_tuples([("a", "b")])), ["x", "y"], "levels"),
    ],
)
def test_what_cannot_be_learned_from_is_a_value_error_with_the_remedy(X, y, words: str):
    with pytest.raises(ValueError, match=words):
        mm.Classifier().fit(X, y)


@pytest.mark.parametrize(
    "y",
    [["0,5", "1,5"], pd.Series(pd.date_range("2024", periods=2)), [object(), object()]],
    ids=lambda y: type(y[0]).__name__,
)
def test_what_is_no_number_is_no_target_of_a_regressor(y):
    with pytest.raises(mm.InputError, match="its cells are no numbers. Give numbers"):
        mm.Regressor().fit(pd.DataFrame({"a": [1.0, 2.0]}), y)


@pytest.mark.parametrize("learner", [5, {"kind": "ridge", "penalty": -1}, "zzz"], ids=str)
def test_a_learner_that_is_none_is_named_with_its_value(learner):
    with pytest.raises(mm.OptionError, match=r"learner(\.penalty)?="):
        mm.Classifier(learner=learner).fit(pd.DataFrame({"a": [1.0, 2.0]}), ["x", "y"])
