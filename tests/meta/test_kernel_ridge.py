"""Kernel ridge regression: rows held out as if they were not there, and the kernel that predicts them best."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_circles
from sklearn.kernel_ridge import KernelRidge as Peer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import metamodal as mm
from metamodal.meta.learners.held_out import Folds, Spectrum, held_out
from metamodal.meta.learners.kernel_ridge import KernelRidge
from metamodal.meta.learners.views import PLAIN, RANKED, STANDARD, Columns
from metamodal.outputs import CLASSIFICATION, REGRESSION, Output
from metamodal.types import Batch

EVERY = torch.ones(24, dtype=torch.bool)


class Plain:
    """The embedding of a row is the row."""

    def __init__(self, output: Output) -> None:
        self.output = output

    def __call__(self, params, batch):
        return batch.inputs["x"]


def fitted(learner: KernelRidge, x: torch.Tensor, targets: torch.Tensor, output: Output):
    names = {"penalty": learner.penalty, "temperature": learner.temperature, "offset": learner.offset}
    params = {f"learner.log_{name}": torch.tensor(value).log() for name, value in names.items()}
    present = torch.ones(len(x), dtype=torch.bool)
    support = Batch({"x": x}, {"x": present}, targets)
    fn = Plain(output)
    return fn, params, learner.adapt(fn, params, support), support


def rows(classes: int, count: int, width: int = 6, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.eye(classes).repeat(count, 1)
    x = torch.randn(classes * count, width, generator=generator) + targets @ torch.randn(
        classes, width, generator=generator
    )
    return x, targets


@pytest.mark.parametrize(("most", "single"), [(4, 40), (8, 40), (8, 2)])
def test_rows_held_out_are_answered_as_by_a_fit_without_them(most: int, single: int):
    x, targets = rows(3, 8)
    y, penalty = targets.double() - 1 / 3, torch.tensor([0.07], dtype=torch.double)
    gram = x.double() @ x.double().mT
    folds = Folds.of(CLASSIFICATION, targets, EVERY, most, single)
    spectrum = Spectrum.of(gram)
    found = held_out(spectrum.inverse_at(penalty, folds)[0], spectrum.solved(penalty, y)[0], y, folds)
    for fold, there in zip(folds.rows, folds.there):
        out = fold[there]
        kept = torch.tensor([i for i in range(24) if i not in out])
        peer = Peer(alpha=0.07, kernel="precomputed").fit(gram[kept][:, kept], y[kept])
        np.testing.assert_allclose(found[out], peer.predict(gram[out][:, kept]), atol=1e-9)


def test_a_fold_is_one_row_of_every_class_and_rows_stand_alone_where_there_are_many():
    _, targets = rows(3, 8)
    folds = Folds.of(CLASSIFICATION, targets, EVERY, 8, 40)
    assert folds.rows.shape == (8, 3)
    assert (targets[folds.rows].sum(1) == 1).all()
    alone = Folds.of(CLASSIFICATION, targets, EVERY, 8, 8)
    assert alone.rows.shape == (24, 1)


def test_features_have_the_spectrum_of_their_products():
    x = torch.randn(30, 5, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    y, penalties = x[:, :2] * 3, torch.tensor([0.01, 1.0], dtype=torch.double)
    folds = Folds.of(REGRESSION, y, torch.ones(30, dtype=torch.bool), 5, 40)
    thin, full = Spectrum.of_features(x), Spectrum.of(x @ x.mT)
    torch.testing.assert_close(thin.solved(penalties, y), full.solved(penalties, y))
    torch.testing.assert_close(thin.inverse_at(penalties, folds), full.inverse_at(penalties, folds))


def test_with_one_row_a_class_nothing_is_chosen():
    x, targets = rows(5, 1)
    _, _, state, _ = fitted(KernelRidge(), x, targets, CLASSIFICATION)
    view, width, _ = state.kernel.tolist()
    assert (view, width, state.temperature.item()) == (PLAIN, 0.5, pytest.approx(12))
    assert (state.tests == 0).all()


def test_circles_take_a_gaussian_kernel():
    x, labels = make_circles(160, noise=0.05, factor=0.4, random_state=0)
    x, targets = torch.tensor(x).float(), torch.eye(2)[torch.tensor(labels)]
    fn, params, state, support = fitted(KernelRidge(), x, targets, CLASSIFICATION)
    assert state.kernel[1] > 0
    found = KernelRidge().predict(fn, params, state, support)
    assert (found.argmax(1) == targets.argmax(1)).float().mean() > 0.98
    tested = KernelRidge().leave_one_out(fn, params, state, support)
    assert (tested.argmax(1) == targets.argmax(1)).float().mean() > 0.95


def test_landmarks_answer_nearly_as_all_rows():
    x, labels = make_circles(400, noise=0.05, factor=0.4, random_state=0)
    x, targets = torch.tensor(x).float(), torch.eye(2)[torch.tensor(labels)]
    answers = []
    for learner in (KernelRidge(), KernelRidge(sample=150, landmarks=120)):
        fn, params, state, support = fitted(learner, x, targets, CLASSIFICATION)
        answers.append(learner.predict(fn, params, state, support).softmax(1))
    assert len(state.keys) == 120
    assert (answers[0] - answers[1]).abs().mean() < 0.03


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_ranks_do_not_change_with_the_unit_of_a_column(seed: int):
    x = torch.randn(24, 3, generator=torch.Generator().manual_seed(seed))
    other = torch.stack([x[:, 0].exp(), 5 * x[:, 1] - 3, x[:, 2] ** 3], 1)
    found = [Columns.of(z, EVERY).seen_in(RANKED, z) for z in (x, other)]
    torch.testing.assert_close(*found)
    straight = Columns.of(x, EVERY).seen_in(STANDARD, x * 1.0)
    torch.testing.assert_close(straight.square().sum(1).mean(), torch.tensor(1.0))


def test_a_row_has_no_say_in_an_output_whose_number_it_lacks():
    x, _ = rows(3, 8)
    y = torch.stack([x[:, 0], x[:, 1] - x[:, 2]], 1)
    holed = y.clone()
    holed[::3, 1] = torch.nan
    fn, params, state, support = fitted(KernelRidge(), x, holed, REGRESSION)
    found = KernelRidge().predict(fn, params, state, support)
    assert found.isfinite().all()
    assert (found[:, 1] - y[:, 1]).abs()[::3].mean() < 0.5
    assert (state.coefficients == 0).sum(0).tolist() == [0, 8]


@pytest.mark.parametrize("table", [load_iris, load_breast_cancer])
def test_an_untrained_classifier_is_as_good_as_a_logistic_regression(table):
    X, y = table(as_frame=True, return_X_y=True)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    peer = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    ours, theirs = (cross_val_score(m, X, y, cv=folds).mean() for m in (mm.Classifier(), peer))
    assert ours >= theirs - 0.011


def test_an_untrained_regressor_is_as_good_as_a_ridge():
    X, y = load_diabetes(as_frame=True, return_X_y=True)
    ours, theirs = (cross_val_score(m, X, y, cv=5).mean() for m in (mm.Regressor(), RidgeCV()))
    assert ours >= theirs - 0.01


def test_how_far_out_a_row_is_counts():
    near, far = np.random.default_rng(0).normal(size=(2, 60, 2))
    X = pd.DataFrame(np.concatenate([near * 0.3, far * 3]), columns=["a", "b"])
    y = ["near"] * 60 + ["far"] * 60
    assert cross_val_score(mm.Classifier(), X, y, cv=3).mean() > 0.8


def test_a_saved_predictor_answers_as_before(tmp_path):
    X, y = load_iris(as_frame=True, return_X_y=True)
    predictor = mm.Classifier().fit(X[::3], y[::3]).predictor_
    predictor.save(tmp_path / "predictor")
    found = mm.load(tmp_path / "predictor").predict_proba(X)
    pd.testing.assert_frame_equal(found, predictor.predict_proba(X))
