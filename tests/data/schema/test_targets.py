"""Targets of three kinds: what a table's cells say, episodes, training, cold start, predictions, artifacts."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

from metamodal.adaptation import adapt
from metamodal.artifact import load_artifact, save_artifact
from metamodal.data.dataset import Dataset, read_table
from metamodal.data.schema.targets import Targets
from metamodal.data.tasks.episodes import Shape, draw_episodes, episodes_of, tasks_in
from metamodal.data.tasks.splits import Plan
from metamodal.errors import DataError, OptionError
from metamodal.estimator import MetaLearner
from metamodal.evaluation.baselines import ridge_regression, support_mean
from metamodal.evaluation.baselines.fitting import support_logits
from metamodal.evaluation.evaluating import evaluate
from metamodal.evaluation.metrics import label_scores, number_scores, scores_of
from metamodal.evaluation.protocol import Protocol
from metamodal.meta.learners import learners
from metamodal.model import untrained
from metamodal.nesting import nested
from metamodal.outputs import outputs
from metamodal.training.selection.shrinkage import shrunk
from metamodal.types import Batch, Episode


def numbers_table(tasks: int = 40, rows: int = 12, seed: int = 0, slope: float = 0.3) -> pd.DataFrame:
    """`y = 10 + 3 (w x + task's offset + task's slopes x + noise)`, and `z` beside it, often unknown."""
    rng = np.random.default_rng(seed)
    w, found = np.array([1.0, -1.0, 0.5]), []
    for t in range(tasks):
        offset, own = rng.normal(0, 1), rng.normal(0, slope, 3)
        for x in rng.normal(size=(rows, 3)):
            y = x @ (w + own) + offset + rng.normal(0, 0.2)
            z = None if rng.random() < 0.4 else float(2 - 5 * y)
            found.append({"a": x[0], "b": x[1], "c": x[2], "y": 10 + 3 * y, "z": z, "user": f"u{t:03}"})
    return pd.DataFrame(found)


def labels_table(rows: int = 240, seed: int = 0) -> pd.DataFrame:
    """Words that tell of each of three labels; every fourth row has none of them."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(rows):
        flags = rng.random(3) < (0.0 if i // 12 % 4 == 0 else 0.5)
        x = rng.normal(0, 0.5, 4) + np.concatenate([2.0 * flags, [0.0]])
        names = [name for name, flag in zip(("sea", "sun", "wind"), flags) if flag]
        record = {"x": x.tolist(), "tags": names, "day": f"d{i % 12:02}"}
        found.append(record | {f"is_{n}": int(f) for n, f in zip(("sea", "sun", "wind"), flags)})
    return pd.DataFrame(found)


QUICK = {"steps": 60, "budget": 60.0, "validation__count": 4, "validation__episodes": 60}


@pytest.fixture(scope="module")
def numbers() -> Dataset:
    return read_table(numbers_table(100), target="y", task="user", use=["a", "b", "c"])


@pytest.fixture(scope="module")
def regressor(numbers: Dataset) -> MetaLearner:
    return MetaLearner(learner="ridge", model__dim=32, train=nested(QUICK | {"steps": 200})).fit(numbers)


@pytest.fixture(scope="module")
def tags() -> Dataset:
    return read_table(labels_table(), target="tags", task="day", use=["x"])


@pytest.fixture(scope="module")
def tagger(tags: Dataset) -> MetaLearner:
    return MetaLearner(learner="ridge", model__dim=32, train=nested(QUICK)).fit(tags)


# What a table says


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1.5, 2.0, None], "regression"),
        (["1.5", "2", None], "regression"),
        ([1.0, 2.0], "classification"),
        ([1, 2], "classification"),
        (["a", "b"], "classification"),
        ([True, False], "classification"),
        ([["a"], ["a", "b"], []], "multilabel"),
        ([{"a"}, {"b"}], "multilabel"),
    ],
)
def test_the_cells_of_one_column_tell_the_kind_of_the_target(cells, kind):
    frame = pd.DataFrame({"x": range(len(cells)), "y": pd.Series(cells, dtype=object)})
    assert read_table(frame, target="y").schema.target_kind == kind


def test_several_columns_are_labels_or_numbers():
    frame = pd.DataFrame({"x": [1, 2], "a": [0, 1], "b": [True, None], "c": [7, 8], "d": ["one", "two"]})
    assert read_table(frame, target=["a", "b"]).schema.target_kind == "multilabel"
    schema = read_table(frame, target=["a", "c"]).schema
    assert (schema.target_kind, schema.targets, schema.target) == ("regression", ("a", "c"), "a")
    with pytest.raises(DataError, match=r"column d: 'one' is no number and neither 0 nor 1"):
        read_table(frame, target=["a", "d"])
    with pytest.raises(OptionError, match=r"--target names 2 columns, and classification has one"):
        read_table(frame, target=["a", "c"], target_kind="classification")
    with pytest.raises(
        OptionError, match=r"--target-kind regresion: no such kind. Did you mean 'regression'"
    ):
        read_table(frame, target="a", target_kind="regresion")
    with pytest.raises(OptionError, match=r"--target-kind multilabel, and no target"):
        read_table(frame, target_kind="multilabel")


def test_a_bad_number_is_an_error_that_names_row_column_and_remedy():
    frame = pd.DataFrame({"x": range(6), "y": [0.5, 1.5, "n/a", 2, 3, float("inf")]})
    data = read_table(frame, target="y", target_kind="regression")
    with pytest.raises(
        DataError, match=r"row 3, column y: 'n/a' is no number. Pass --na n/a if the cells are empty"
    ):
        Targets.fit(data, np.arange(6))


def test_numbers_are_standardised_by_the_training_rows_and_come_back(numbers):
    train = numbers.split().train
    targets = Targets.fit(numbers, train)
    raw = numbers.frame["y"].to_numpy(float)
    assert targets.mean[0] == pytest.approx(raw[train].mean())
    assert targets.scale[0] == pytest.approx(raw[train].std())
    np.testing.assert_allclose(targets.decode(targets.encode(numbers))[:, 0], raw, rtol=1e-5, atol=1e-5)


def test_an_empty_target_among_several_is_unknown_and_never_zero():
    data = read_table(numbers_table(), target=["y", "z"], use=["a"])
    targets = Targets.fit(data, np.arange(len(data)))
    z = data.frame["z"]
    unknown = np.array([cell is None for cell in z])
    assert unknown.any() and (targets.encode(data)[:, 1].isnan().numpy() == unknown).all()
    assert targets.mean[1] == pytest.approx(np.mean([cell for cell in z if cell is not None]))


def test_labels_stand_in_lists_in_strings_or_in_columns():
    frame = labels_table(20)
    listed = Targets.fit(read_table(frame, target="tags"), np.arange(20))
    columns = Targets.fit(read_table(frame, target=["is_sea", "is_sun", "is_wind"]), np.arange(20))
    assert (listed.names, columns.names) == (("sea", "sun", "wind"), ("is_sea", "is_sun", "is_wind"))
    a = listed.encode(read_table(frame, target="tags"))
    b = columns.encode(read_table(frame, target=["is_sea", "is_sun", "is_wind"]))
    assert torch.equal(a, b)
    text = frame.assign(tags=["; ".join(names) or None for names in frame["tags"]])
    spelt = listed.encode(read_table(text, target="tags", target_kind="multilabel"))
    assert torch.equal(spelt[~spelt.isnan().any(1)], a[a.any(1)])
    odd = frame.assign(tags=[["see"], *frame["tags"][1:]])
    with pytest.raises(
        DataError, match=r"row 1, column tags: the label 'see' is not known .* Did you mean 'sea'"
    ):
        listed.encode(read_table(odd, target="tags"))


# Tasks, episodes and splits


@pytest.mark.parametrize("by", ["task", "group", "row", "time"])
def test_a_table_of_numbers_is_split_by_all_but_class(by):
    frame = numbers_table(12, 10).assign(visit=lambda f: [i // 3 for i in f.index], when=lambda f: f.index)
    data = read_table(frame, target="y", task="user", group="visit", time="when", use=["a"], plan=Plan(by))
    split = data.split()
    parts = [set(part.tolist()) for part in (split.train, split.valid, split.test)]
    assert all(parts) and not parts[0] & parts[1] and not parts[0] & parts[2] and not split.unseen_classes
    with pytest.raises(OptionError, match=r"split_by=class, and the target is no class"):
        read_table(frame, target="y", use=["a"], plan=Plan("class")).split()


def test_episodes_of_numbers_share_neither_row_nor_group_nor_task():
    frame = numbers_table(6, 12).assign(visit=lambda f: [f"v{i // 3}" for i in f.index])
    data = read_table(frame, target="y", task="user", group="visit", use=["a"])
    draw = draw_episodes(
        tasks_in(data, np.arange(len(data))), Shape(1, 3, 5, has_classes=False), 40, np.random.default_rng(0)
    )
    for support, query, codes, task in zip(draw.support, draw.query, draw.query_codes, draw.tasks):
        query = query[codes >= 0]
        assert not set(data.groups()[support]) & set(data.groups()[query])
        assert set(data.tasks()[torch.cat([support, query])]) == {task}


def test_without_a_task_column_the_whole_table_is_one_task(tags):
    data = read_table(labels_table(30), target="tags", use=["x"])
    (task,) = tasks_in(data, np.arange(30))
    assert [len(rows) for rows in task.rows] == [30]


def test_a_support_of_no_rows_is_one_that_is_absent_and_unknown(numbers):
    batch = Batch(
        {"x": torch.ones(len(numbers), 2)},
        {"x": torch.ones(len(numbers), dtype=torch.bool)},
        Targets.fit(numbers, np.arange(len(numbers))).encode(numbers),
    )
    tasks = tasks_in(numbers, np.arange(len(numbers)))
    draw = draw_episodes(tasks, Shape(1, 0, 4, has_classes=False), 3, np.random.default_rng(0))
    support, query = episodes_of(batch, draw, 1)
    assert support.targets.isnan().all() and not support.present["x"].any()
    assert not query.targets.isnan().any()


# Scores


def test_scores_of_labels_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    logits = np.round(rng.normal(size=(5, 12, 4)), 1)  # with ties
    true = (rng.random((5, 12, 4)) < 0.4).astype(float)
    found = label_scores(torch.from_numpy(logits), torch.from_numpy(true))
    for t in range(5):
        able = [k for k in range(4) if 0 < true[t, :, k].sum() < 12]
        expected = np.mean([average_precision_score(true[t, :, k], logits[t, :, k]) for k in able])
        assert float(found["average_precision"][t]) == pytest.approx(expected)
        said = (logits[t] > 0).astype(int)
        assert float(found["f1_micro"][t]) == pytest.approx(f1_score(true[t], said, average="micro"))
        assert float(found["f1_macro"][t]) == pytest.approx(f1_score(true[t], said, average="macro"))
        assert float(found["accuracy"][t]) == pytest.approx((said == true[t]).all(1).mean())


def test_scores_of_numbers_pass_over_the_unknown():
    true = torch.tensor([[[1.0, torch.nan], [-1.0, 2.0]]])
    said = torch.tensor([[[0.0, 9.0], [0.0, 1.0]]])
    found = number_scores(said, true)
    assert {k: float(v[0]) for k, v in found.items()} == {"r2": 0.0, "mae": 1.0, "rmse": 1.0}
    assert scores_of(outputs["regression"], said, torch.full_like(true, torch.nan))["r2"].isnan().all()


def test_a_baseline_of_numbers_is_ridge_on_the_known_rows():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1, 6, 3)), rng.normal(size=(1, 6, 2))
    y[0, 4, 1] = np.nan
    asked = rng.normal(size=(1, 5, 3))

    def batch(inputs, targets):
        there = torch.ones(inputs.shape[:2], dtype=torch.bool)
        return Batch({"x": torch.from_numpy(inputs)}, {"x": there}, torch.from_numpy(targets))

    episode = Episode(batch(x, y), batch(asked, np.zeros((1, 5, 2))))
    found = support_logits(ridge_regression, "regression", episode)[0].numpy()
    known = [0, 1, 2, 3, 5]
    np.testing.assert_allclose(found[:, 0], Ridge().fit(x[0], y[0, :, 0]).predict(asked[0]), rtol=1e-5)
    expected = Ridge().fit(x[0, known], y[0, known, 1]).predict(asked[0])
    np.testing.assert_allclose(found[:, 1], expected, rtol=1e-5)
    mean = support_logits(support_mean, "regression", episode)[0].numpy()
    np.testing.assert_allclose(mean[0], np.nanmean(y[0], 0), rtol=1e-5)


# Cold start


def blup(frame: pd.DataFrame, support: np.ndarray, query: np.ndarray, slope: float = 0.3) -> np.ndarray:
    """The best linear unbiased predictor of a task's rows, from the numbers that made the table."""
    w = np.array([1.0, -1.0, 0.5])
    x, y = frame[["a", "b", "c"]].to_numpy(), (frame["y"].to_numpy() - 10) / 3

    def covariance(a, b):
        return 1 + slope**2 * x[a] @ x[b].T

    inner = covariance(support, support) + 0.04 * np.eye(len(support))
    left = np.linalg.solve(inner, y[support] - x[support] @ w)
    return 10 + 3 * (x[query] @ w + covariance(query, support) @ left)


def test_with_few_rows_a_task_is_never_worse_than_without_support_and_near_the_best_predictor(
    regressor, numbers
):
    frame, rows = numbers.frame.astype(dict.fromkeys("abcy", float)), numbers.split().test
    errors = {}
    for shot in (1, 2, 5):
        (found,) = evaluate(regressor.model, numbers, [Protocol(shot=shot, episodes=100)])
        gain, ci95 = found.whole.gain
        assert gain > ci95
        tasks = tasks_in(numbers.rows(rows), np.arange(len(rows)))
        draw = draw_episodes(tasks, Shape(1, shot, 15, has_classes=False), 100, np.random.default_rng(shot))
        best = [
            np.sqrt(np.mean(np.square(blup(frame, rows[s], rows[q]) - frame["y"].to_numpy()[rows[q]])))
            for s, q in ((s.numpy(), q[c >= 0].numpy()) for s, q, c in zip(*draw_rows(draw)))
        ]
        errors[shot] = found.whole.scores["rmse"].mean(), np.mean(best)
    assert errors[5][0] < errors[2][0] < errors[1][0]
    for measured, least in errors.values():
        assert measured < 1.6 * least


def draw_rows(draw):
    return draw.support, draw.query, draw.query_codes


def test_where_tasks_are_alike_support_rows_do_no_harm():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 12))
    frame = pd.DataFrame({"x": x.tolist(), "y": x[:, 0] + rng.normal(0, 1.5, 200)})
    data = read_table(frame, target="y", use=["x"])
    learner = MetaLearner(learner="ridge", model__dim=32, train=nested(QUICK)).fit(data)
    (found,) = evaluate(learner.model, data, [Protocol(shot=1, episodes=200)])
    gain, _ = found.whole.gain
    assert gain > -0.02


def test_caution_leads_to_the_prediction_without_support(regressor, numbers):
    model = regressor.model
    tokens = model.tokens(model.inputs(numbers)).labelled(model.targets.encode(numbers))
    tasks = tasks_in(numbers, np.arange(len(numbers)))
    draw = draw_episodes(tasks, Shape(1, 5, 4, has_classes=False), 4, np.random.default_rng(0))
    far = model.engine.logits(shrunk(model.engine, model.params, 30.0), episodes_of(tokens, draw, 1))
    none = model.engine.logits(model.params, episodes_of(tokens, draw.knowing(0), 1))
    torch.testing.assert_close(far, none, atol=1e-4, rtol=1e-4)


# The pipeline


def test_training_on_numbers_beats_the_mean_and_the_untrained_self(regressor, numbers):
    test = numbers.split().test
    (learned,) = evaluate(regressor.model, numbers, [Protocol(shot=5, episodes=60)], rows=test)
    plain = untrained(numbers.rows(numbers.split().train), learners["per_modality"]())
    (before,) = evaluate(plain, numbers, [Protocol(shot=5, episodes=60)], rows=test)
    assert learned.whole.score[0] > max(0.7, before.whole.score[0])
    assert regressor.model.record["outcome"]["score"] == "r2"


def test_predictions_are_in_the_unit_of_the_table(regressor, numbers):
    frame = numbers.frame.astype(dict.fromkeys("abcy", float))
    one = frame[frame["user"] == numbers.tasks()[numbers.split().test[0]]]
    predictor = regressor.adapt(one[:6])
    said, true = predictor.predict(one[6:].drop(columns="y")), one["y"][6:]
    assert said.shape == (6,) and np.abs(said - true).mean() < 0.5 * frame["y"].std()
    nobody = regressor.adapt(one[:0]).predict(one[6:])
    assert np.abs(said - true).mean() < np.abs(nobody - true).mean()
    with pytest.raises(OptionError, match=r"predict_proba: the targets are numbers"):
        predictor.predict_proba(one[6:])


def test_a_support_row_without_any_target_is_an_error(regressor, numbers):
    frame = numbers.frame[:3].assign(y=[1.0, None, 2.0])
    with pytest.raises(DataError, match=r"row 2, column y: every target is empty"):
        regressor.adapt(frame)


def test_several_numbers_are_predicted_at_once_though_some_are_unknown():
    frame = numbers_table()
    data = read_table(frame, target=["y", "z"], task="user", use=["a", "b", "c"])
    learner = MetaLearner(learner="ridge", model__dim=32, train=nested(QUICK)).fit(data)
    (found,) = evaluate(learner.model, data, [Protocol(shot=5, episodes=40, baselines=True)])
    document = found.to_dict()
    assert set(document["results"][0]["outputs"]) == {"y", "z"}
    assert found.whole.score[0] > 0.7
    predictor = learner.adapt(frame[frame["z"].notna()][:6][["a", "b", "c", "z"]])  # no y at all
    assert predictor.predict(frame[6:9]).shape == (3, 2)
    assert "NaN" not in json.dumps(document)


def test_labels_are_learned_and_predicted_as_booleans(tagger, tags):
    (found,) = evaluate(tagger.model, tags, [Protocol(shot=5, episodes=40, baselines=True)])
    assert found.whole.primary == "average_precision" and found.whole.score[0] > 0.85
    methods = {(b.name, b.trained_on) for b in found.baselines}
    logistic = {("logistic_regression", rows) for rows in ("support", "training rows")}
    assert methods == {("support_mean", "support"), *logistic}
    predictor = tagger.adapt(tags.rows(tags.split().test[:8]))
    query = tags.rows(tags.split().test[8:20])
    said, shares = predictor.predict(query), predictor.predict_proba(query)
    assert said.shape == (12, 3) and said.dtype == bool
    assert len(predictor.thresholds) == 3 and all(0 < limit < 1 for limit in predictor.thresholds)
    assert (said == (shares.to_numpy() > predictor.thresholds)).all() and list(shares) == [
        "sea",
        "sun",
        "wind",
    ]


@pytest.mark.parametrize("kind", ["regression", "multilabel"])
def test_models_and_predictors_come_back_from_disk_the_same(kind, request, tmp_path):
    learner = request.getfixturevalue({"regression": "regressor", "multilabel": "tagger"}[kind])
    data = request.getfixturevalue({"regression": "numbers", "multilabel": "tags"}[kind])
    learner.save(tmp_path / "model")
    again = load_artifact(tmp_path / "model")
    assert again.targets == learner.model.targets and again.roles == learner.model.roles
    support, query = data.rows(np.arange(6)), data.rows(np.arange(6, 12))
    predictor = learner.adapt(support)
    save_artifact(predictor, tmp_path / "predictor")
    for other in (adapt(again, support), load_artifact(tmp_path / "predictor")):
        np.testing.assert_array_equal(other.predict(query), predictor.predict(query))


@pytest.mark.parametrize("option", ["class_sampling", "class_weight", "mix_cells"])
def test_options_about_classes_are_refused_where_there_are_none(numbers, option):
    with pytest.raises(OptionError, match=rf"train.episodes.{option}=0.5: only classification has classes"):
        MetaLearner(train=nested(QUICK | {f"episodes__{option}": 0.5})).fit(numbers)


def test_the_commands_take_numbers_from_a_table_to_predictions(tmp_path, cli):
    frame = numbers_table(12, 8).drop(columns="z")
    frame.to_csv(tmp_path / "all.csv", index=False)
    frame[:5].to_csv(tmp_path / "few.csv", index=False)
    frame[5:8].drop(columns="y").to_csv(tmp_path / "new.csv", index=False)
    roles = ["--target", "y", "--task", "user"]
    said = json.loads(cli("schema", tmp_path / "all.csv", *roles, "--json").out)
    assert said["target_kind"] == "regression"
    quick = ["train.steps=20", "train.validation.count=2", "train.validation.episodes=20", "model.dim=16"]
    done = cli("train", tmp_path / "all.csv", *roles, "--out", tmp_path / "run", *quick)
    assert done.code == 0 and "the task is regression: y" in done.err and "% r2" in done.err
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Predicted against true" in page and "no support rows" in page
    done = cli(
        "evaluate", tmp_path / "run/model", tmp_path / "all.csv", "--shot", 0, "--episodes", 10, "--json"
    )
    assert json.loads(done.out)["protocol"]["outputs"] == ["y"]
    done = cli("evaluate", tmp_path / "run/model", tmp_path / "all.csv", "--way", 3)
    assert done.code == 2 and "--way 3: regression has no classes" in done.err
    assert cli("adapt", tmp_path / "run/model", tmp_path / "few.csv", "--out", tmp_path / "p").code == 0
    done = cli("predict", tmp_path / "p", tmp_path / "new.csv", "--out", tmp_path / "said.csv")
    assert done.code == 0 and list(pd.read_csv(tmp_path / "said.csv")) == ["y", "reason"]


def test_the_command_predict_writes_labels_and_their_probabilities(tagger, tags, tmp_path, cli):
    save_artifact(tagger.adapt(tags.rows(np.arange(8))), tmp_path / "p")
    tags.frame[8:12][["x"]].to_json(tmp_path / "new.jsonl", orient="records", lines=True)
    done = cli("predict", tmp_path / "p", tmp_path / "new.jsonl", "--json")
    rows = json.loads(done.out)["rows"]
    assert done.code == 0 and len(rows) == 4
    assert all(r["labels"] == [n for n, p in r["probabilities"].items() if p > 0.5] for r in rows)
    cli("predict", tmp_path / "p", tmp_path / "new.jsonl", "--out", tmp_path / "said.csv")
    assert list(pd.read_csv(tmp_path / "said.csv")) == ["labels", "p(sea)", "p(sun)", "p(wind)", "reason"]


def test_an_audit_names_every_bad_number(tmp_path, cli):
    frame = numbers_table(4, 8).drop(columns="z").astype(object)
    frame.loc[2, "y"], frame.loc[5, "y"] = "high", "low"
    frame.to_csv(tmp_path / "t.csv", index=False)
    done = cli("audit", tmp_path / "t.csv", "--target", "y", "--task", "user", "--json")
    faults = [f for f in json.loads(done.out)["problems"] if f["column"] == "y"]
    assert done.code == 3 and [f["row"] for f in faults] == [3, 6]
