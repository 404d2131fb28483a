"""Scores equal scikit-learn's, episodes are shared, and nothing tested was trained on."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, recall_score

from metamodal.data.dataset import read_table
from metamodal.data.features.digests import fingerprint
from metamodal.errors import DataError, OptionError
from metamodal.evaluation.baselines import baselines, baselines_for, logistic_regression
from metamodal.evaluation.baselines.fitting import support_logits
from metamodal.evaluation.evaluating import evaluate
from metamodal.evaluation.full import evaluate_full
from metamodal.evaluation.held_out import held_out
from metamodal.evaluation.metrics import calibration_error, episode_scores, interval
from metamodal.evaluation.protocol import Protocol
from metamodal.experiment import untrained_for
from metamodal.meta.learners import learners
from metamodal.model import untrained
from metamodal.types import Batch, Episode


def test_scores_equal_sklearn_s():
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 30, 4, generator=g)
    codes = torch.randint(4, (6, 30), generator=g)
    codes[:, 25:] = -1
    targets = (codes[..., None] == torch.arange(4)).float()
    scores = episode_scores(logits, targets)
    for t in range(6):
        y, guess = codes[t, :25].numpy(), logits[t, :25].argmax(-1).numpy()
        assert float(scores["accuracy"][t]) == pytest.approx(accuracy_score(y, guess))
        there = {"labels": np.unique(y), "average": "macro", "zero_division": 0}
        assert float(scores["recall_macro"][t]) == pytest.approx(recall_score(y, guess, **there))
        assert float(scores["f1_macro"][t]) == pytest.approx(f1_score(y, guess, **there))


def test_an_interval_covers_the_mean_as_often_as_it_says():
    g = torch.Generator().manual_seed(0)
    hits = 0
    for _ in range(400):
        mean, half = interval(0.3 + 0.1 * torch.randn(20, generator=g))
        hits += abs(mean - 0.3) <= half
    assert 0.92 <= hits / 400 <= 0.98


def test_calibration_error_is_nil_for_honest_and_large_for_boastful_probabilities():
    g = torch.Generator().manual_seed(0)
    p = torch.rand(20_000, generator=g)
    probabilities = torch.stack([p, 1 - p], 1)
    honest = (torch.rand(20_000, generator=g) < p).long()
    targets = torch.nn.functional.one_hot(1 - honest, 2).float()
    assert calibration_error(probabilities, targets) < 0.02
    boastful = torch.tensor([[0.99, 0.01]]).expand(1000, 2)
    half = torch.nn.functional.one_hot(torch.arange(1000) % 2, 2).float()
    assert calibration_error(boastful, half) == pytest.approx(0.49, abs=0.01)


def episodes(seed: int = 0) -> Episode:
    g = torch.Generator().manual_seed(seed)
    centres = {m: torch.randn(3, 20, generator=g) for m in "ab"}

    def batch(rows: int) -> Batch:
        codes = torch.arange(3).repeat_interleave(rows)
        inputs = {m: (c[codes] + torch.randn(len(codes), 20, generator=g))[None] for m, c in centres.items()}
        there = {m: torch.ones(1, len(codes)).bool() for m in "ab"}
        return Batch(inputs, there, torch.nn.functional.one_hot(codes, 3).float()[None])

    return Episode(batch(3), batch(6))


def test_logistic_regression_is_sklearn_s_on_the_plain_vectors():
    ep = episodes()
    x, q = (torch.cat([b.inputs["a"][0], b.inputs["b"][0]], 1).numpy() for b in ep)
    peer = LogisticRegression(C=10.0, max_iter=200).fit(x, ep.support.targets[0].argmax(1).numpy())
    found = torch.softmax(support_logits(logistic_regression, "classification", ep)[0], -1).numpy()
    np.testing.assert_allclose(found, peer.predict_proba(q), atol=2e-3)


@pytest.mark.parametrize("fusion", ["concatenated", "late"])
@pytest.mark.parametrize("name", list(baselines_for("classification", "support")))
def test_a_baseline_can_meet_any_absence(name: str, fusion: str):
    ep = episodes()
    support = ep.support._replace(
        present={"a": ep.support.targets[..., 2] == 0, "b": torch.zeros(1, 9).bool()}
    )
    out = support_logits(baselines[name], "classification", Episode(support, ep.query), fusion)
    assert out.isfinite().all()
    assert (out.exp().sum(-1) - 1).abs().max() < 1e-4


@pytest.fixture(scope="module")
def untrained_evaluation(shapes: pd.DataFrame):
    data = read_table(shapes, target="label")
    protocol = Protocol(4, 1, episodes=60, subsets=True, missing=0.5, baselines=True)
    (found,) = evaluate(untrained_for(data), data, [protocol])
    return found


def test_every_subset_is_measured_on_the_same_episodes(untrained_evaluation):
    found = untrained_evaluation
    subsets = [r.modalities for r in found.results if not r.missing]
    assert len(subsets) == len(set(subsets)) == 2**5 - 1
    assert {len(r.scores["accuracy"]) for r in found.results} == {60}


def test_the_document_has_the_promised_keys(untrained_evaluation):
    document = untrained_evaluation.to_dict()
    assert set(document) >= {"protocol", "results", "baselines", "best_single", "fusion_gain"}
    assert document["protocol"] == {
        "way": 4,
        "shot": 1,
        "query": 15,
        "episodes": 60,
        "seed": 0,
        "transductive": False,
        "unseen_classes": True,
    }
    for result in document["results"]:
        assert set(result) >= {
            "modalities",
            "learner",
            "missing",
            "accuracy",
            "recall_macro",
            "f1_macro",
            "ece",
        }
        assert set(result["accuracy"]) == {"mean", "ci95"}
    assert {b["name"] for b in document["baselines"]} == {"logistic_regression", "nearest_centroid"}


def test_support_and_query_may_show_different_modalities(shapes: pd.DataFrame):
    """Untrained features of one modality say nothing of another: chance, and as good as all where all are shown."""
    data = read_table(shapes, target="label", use=["photo", "vector", "sound"])
    protocol = Protocol(4, 2, query=3, episodes=40, cross=True)
    (found,) = evaluate(untrained_for(data), data, [protocol])
    crossed = {(r.modalities, r.queried): r.accuracy[0] for r in found.results if r.queried}
    names = found.whole.modalities
    assert set(crossed) == (
        {(names, (m,)) for m in names}
        | {(tuple(o for o in names if o != m), (m,)) for m in names}
        | {((a,), (b,)) for a in names for b in names if a != b}
    )
    assert abs(crossed[("photo",), ("sound",)] - 0.25) < 0.08
    assert crossed[names, ("vector",)] > 0.6
    record = next(r for r in found.to_dict()["results"] if r.get("query_modalities") == ["sound"])
    assert record["modalities"] == list(names)
    assert found.best_single.queried is None


def test_the_gain_of_fusion_is_paired(untrained_evaluation):
    found = untrained_evaluation
    best = found.best_single
    difference = (found.whole.scores["accuracy"] - best.scores["accuracy"]).double().numpy()
    mean, half = found.fusion_gain
    assert mean == pytest.approx(difference.mean())
    assert half == pytest.approx(2.001 * difference.std(ddof=1) / math.sqrt(60), rel=1e-3)


def test_generic_features_beat_chance_without_training(untrained_evaluation):
    mean, half = untrained_evaluation.whole.accuracy
    assert mean - half > 0.25


def test_missing_cells_cost_accuracy(untrained_evaluation):
    found = untrained_evaluation
    less = found.result(found.whole.modalities, 0.5)
    assert less.accuracy[0] < found.whole.accuracy[0]


def test_evaluation_is_seeded(shapes: pd.DataFrame):
    data = read_table(shapes, target="label")
    model = untrained_for(data)

    def scores(seed: int) -> torch.Tensor:
        (found,) = evaluate(model, data, [Protocol(3, 1, episodes=20, seed=seed, missing=0.3)])
        return torch.stack([r.scores["accuracy"] for r in found.results])

    assert torch.equal(scores(0), scores(0))
    assert not torch.equal(scores(0), scores(1))


def test_a_trained_model_is_tested_on_classes_it_never_saw(trained):
    learner, data = trained
    rows, unseen, _ = held_out(learner.model, data)
    assert unseen
    assert not {fingerprint(c) for c in data.labels()[rows]} & learner.model.seen.classes
    assert set(rows) == set(data.split().test)


def test_columns_not_in_use_are_absent_for_a_trained_model(trained, shapes):
    learner, _ = trained
    some = read_table(shapes, target="label", use=["photo", "note"])
    (found,) = evaluate(learner.model, some, [Protocol(4, 1, episodes=10)])
    assert found.whole.modalities == ("photo", "note")


def test_an_empty_test_part_does_not_send_a_trained_model_back_to_its_training_rows(trained, shapes):
    learner, _ = trained
    table = read_table(shapes.assign(part="train"), target="label", split="part")
    rows, unseen, _ = held_out(learner.model, table)
    assert unseen
    assert not {fingerprint(c) for c in table.labels()[rows]} & learner.model.seen.classes


def test_confusions_count_every_labelled_query_row(untrained_evaluation):
    found = untrained_evaluation
    assert sum(found.confusions.values()) == 60 * 4 * 7  # eight rows a class, one of them support
    right = sum(n for (true, guess), n in found.confusions.items() if true == guess)
    assert right / sum(found.confusions.values()) == pytest.approx(found.whole.accuracy[0])


def test_a_showcase_is_one_of_the_episodes(untrained_evaluation, shapes):
    labels = read_table(shapes, target="label").labels()
    for show in untrained_evaluation.showcases:
        assert [labels[r] for r in show.support] == list(show.support_names)
        assert [labels[r] for r in show.query] == list(show.query_names)
        assert set(show.predicted) <= set(show.support_names)


def test_too_wide_a_protocol_is_an_error(shapes: pd.DataFrame):
    data = read_table(shapes, target="label")
    with pytest.raises(
        DataError, match="9-way 1-shot needs 9 classes of 2 or more rows, and there are 4 \\(.*\\). Lower"
    ):
        list(evaluate(untrained_for(data), data, [Protocol(9, 1)]))


@pytest.mark.parametrize("wrong", [{"episodes": 1}, {"missing": 1.0}, {"missing": -0.1}])
def test_a_senseless_protocol_is_an_error(wrong: dict):
    with pytest.raises(OptionError):
        Protocol(**wrong)


def test_rows_without_a_label_are_left_out_of_cross_validation_with_a_note():
    rng = np.random.default_rng(0)
    label = np.array(["cat", "dog"] * 30, dtype=object)
    frame = pd.DataFrame({"height": rng.normal(size=60) + 3 * (label == "dog"), "pet": label})
    frame.loc[:4, "pet"] = None
    data = read_table(frame, target="pet")
    found = evaluate_full(lambda rows: untrained(rows, learners["per_modality"]()), data)
    assert "5 of 60 rows have no label and are left out" in found.notes
    assert found.rows == 55
