"""`Classifier` and `Regressor` are scikit-learn estimators, over columns of any kind."""

from __future__ import annotations

import subprocess
import sys
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
    with pytest.raises(mm.OptionError, match="predicts classes, not numbers"):
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
    ],
)
def test_what_cannot_be_learned_from_is_a_value_error_with_the_remedy(X, y, words: str):
    with pytest.raises(ValueError, match=words):
        mm.Classifier().fit(X, y)
