"""What a predictor answers: rates of classes, thresholds, rows without an answer, lacking columns, supervised scores."""

from __future__ import annotations

import io
import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import metamodal as mm
from metamodal.data.dataset import read_table
from metamodal.decision import log_prior, thresholds
from metamodal.errors import DataError, MetamodalWarning, OptionError
from metamodal.evaluation.evaluating import evaluate
from metamodal.evaluation.full import evaluate_full
from metamodal.evaluation.protocol import Protocol
from metamodal.experiment import untrained_for
from metamodal.meta.learners import learners
from metamodal.model import untrained


def weather(n: int = 300, seed: int = 0) -> pd.DataFrame:
    """Four classes of very unequal rates, of which the numbers say a little."""
    rng = np.random.default_rng(seed)
    k = rng.choice(4, n, p=[0.6, 0.3, 0.07, 0.03])
    return pd.DataFrame({"a": rng.normal(size=n) + k, "b": rng.normal(size=n), "sky": [f"w{c}" for c in k]})


def test_the_rates_of_a_sample_of_unequal_classes_are_its_own_and_those_of_episodes_are_even():
    assert log_prior([5, 5, 5]) == () == log_prior([3, 1]) == log_prior([90, 10], "balanced")
    assert np.allclose(np.exp(log_prior([90, 10])), [91 * 2 / 102, 11 * 2 / 102])
    assert log_prior([3, 1], "support") != ()
    with pytest.raises(OptionError, match="prior='suport': no such prior. Did you mean 'support'"):
        log_prior([1, 1], "suport")


def test_with_the_rates_of_the_support_a_sample_is_answered_better_than_by_its_commonest_class():
    frame, rows = weather(), weather(seed=1)
    learner = mm.MetaLearner(data__target="sky")
    accuracy = {
        prior: (learner.adapt(frame, prior=prior).predict(rows) == rows["sky"]).mean()
        for prior in ("auto", "balanced", "support")
    }
    assert accuracy["auto"] == accuracy["support"] > accuracy["balanced"]
    assert accuracy["auto"] >= (rows["sky"] == "w0").mean()
    assert learner.adapt(frame).prior == "support" and learner.adapt(frame.head(6)).prior == "balanced"


def test_the_prior_travels_with_the_predictor(tmp_path: Path):
    predictor = mm.MetaLearner(data__target="sky").adapt(weather())
    predictor.save(tmp_path / "p")
    again = mm.load(tmp_path / "p")
    assert again.prior == "support" and again.shift == predictor.shift
    pd.testing.assert_frame_equal(again.predict_proba(weather(20)), predictor.predict_proba(weather(20)))


def test_thresholds_are_where_f1_of_all_and_of_each_label_is_highest():
    p = np.array([[0.4, 0.1], [0.3, 0.2], [0.1, 0.05], [0.05, 0.04]])
    y = np.array([[True, True], [True, True], [False, False], [False, False]])
    found = thresholds(p, y)
    assert all(0 < t < 0.3 for t in found) and found[1] < found[0]
    assert thresholds(p, np.zeros_like(y)) == (0.5, 0.5)


def tags(n: int = 160, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    y = rng.random((n, 3)) < 0.15
    x = y @ np.random.default_rng(9).normal(size=(3, 6)) + 0.4 * rng.normal(size=(n, 6))
    return pd.DataFrame({"x": x.tolist(), "y": [[f"l{j}" for j in range(3) if row[j]] for row in y]})


def test_labels_of_an_untrained_model_are_no_worse_than_a_regression_on_the_rows_that_training_would_see():
    data = read_table(tags(), target="y")
    (found,) = evaluate(untrained_for(data), data, [Protocol(shot=6, episodes=30, baselines=True)])
    baseline = next(b for b in found.baselines if b.trained_on == "training rows")
    assert baseline.name == "logistic_regression"
    assert found.whole.score[0] > baseline.score[0] - baseline.score[1]
    plain = untrained(data.rows(data.split().train), learners["per_modality"]())
    (before,) = evaluate(plain, data, [Protocol(shot=6, episodes=30)])
    assert found.whole.score[0] > before.whole.score[0] + 0.1


def pets() -> pd.DataFrame:
    return pd.DataFrame({"size": [1.0, 2, 8, 9], "hue": [1.0, 1, 5, 5], "pet": ["cat", "cat", "dog", "dog"]})


def test_a_record_a_series_and_a_list_of_records_are_rows():
    predictor = mm.MetaLearner(data__target="pet").adapt(pets())
    record = {"size": 1.5, "hue": 1.0}
    for rows in (record, pd.Series(record), [record], [pd.Series(record)]):
        assert list(predictor.predict(rows)) == ["cat"]
    assert list(predictor.predict([record, {"size": 9, "hue": 5}])) == ["cat", "dog"]
    for wrong in ([], [1, 2]):
        with pytest.raises((OptionError, DataError), match="Give"):
            predictor.predict(wrong)


def test_rows_that_cannot_be_predicted_are_missing_with_a_reason_and_the_others_answered(tmp_path: Path, cli):
    pets().to_csv(tmp_path / "pets.csv", index=False)
    assert cli("adapt", "none", tmp_path / "pets.csv", "--target", "pet", "--out", tmp_path / "p").code == 0
    (tmp_path / "rows.csv").write_text("size,hue\n1,1\n,\n9,5\n")
    done = cli("predict", tmp_path / "p", tmp_path / "rows.csv")
    assert done.code == 0 and "1 of 3 rows have no answer" in done.err and "row 2" in done.err
    frame = pd.read_csv(io.StringIO(done.out))
    assert frame["label"].isna().tolist() == [False, True, False]
    assert "every modality is empty" in frame["reason"][1]
    document = json.loads(cli("predict", tmp_path / "p", tmp_path / "rows.csv", "--json").out)
    assert document["rows"][1]["label"] is None and "reason" in document["rows"][1]
    assert document["rows"][2]["label"] == "dog"


def test_a_target_named_reason_keeps_its_predictions_beside_the_reasons(tmp_path: Path, cli):
    rows = pd.DataFrame({"x": np.arange(20.0), "reason": np.arange(20) * 1.5})
    rows.to_csv(tmp_path / "t.csv", index=False)
    rows.assign(x=[None, *rows["x"][1:]]).to_csv(tmp_path / "q.csv", index=False)
    assert cli("adapt", "none", tmp_path / "t.csv", "--target", "reason", "--out", tmp_path / "p").code == 0
    frame = pd.read_csv(io.StringIO(cli("predict", tmp_path / "p", tmp_path / "q.csv").out))
    assert list(frame) == ["reason", "reason_"]
    assert frame["reason"].notna().sum() == 19 and frame["reason_"].notna().sum() == 1
    document = json.loads(cli("predict", tmp_path / "p", tmp_path / "q.csv", "--json").out)
    assert document["rows"][0]["reason"] is None and "every modality" in document["rows"][0]["reason_"]
    assert document["rows"][1] == {"reason": frame["reason"][1]}


def arrow(first: Any, second: Any, kind: pa.DataType) -> pa.Array:
    return pa.array([first, second] * 8, kind)


LABELS = {
    "int8": arrow(1, 2, pa.int8()),
    "uint64": arrow(2**64 - 1, 2**64 - 2, pa.uint64()),
    "float16": pa.array(np.array([0.5, 1.5] * 8, np.float16)),
    "float32": arrow(0.1, 1.5, pa.float32()),
    "bool": arrow(True, False, pa.bool_()),
    "string": arrow("a", "b", pa.large_string()),
    "timestamp": arrow(datetime(2024, 1, 1), datetime(2024, 2, 1, 12, 30), pa.timestamp("us")),
    "nanoseconds": pa.array([1, 2] * 8).cast(pa.timestamp("ns")),
    "date": arrow(date(2024, 1, 1), date(2024, 2, 1), pa.date32()),
    "time": arrow(time(1), time(2), pa.time64("us")),
    "duration": arrow(timedelta(days=1), timedelta(microseconds=2), pa.duration("us")),
    "decimal": arrow(Decimal("1.10"), Decimal("2.20"), pa.decimal128(3, 2)),
    "binary": arrow(b"a", b"b", pa.binary()),
}


# Decimals and half floats are read as numbers.
_READ_AS = {"decimal": pa.float64(), "float16": pa.float32()}


@pytest.mark.parametrize("name", LABELS)
def test_answers_have_the_type_of_the_labels_and_one_spelling_whichever_rows_lack_one(
    tmp_path: Path, cli, monkeypatch, name: str
):
    """Rows are written a chunk at a time, and a chunk without an answer once decided the type of all."""
    monkeypatch.setattr("metamodal.app.predicting._ROWS", 4)
    labels, x = LABELS[name], [0.0, 9.0] * 8
    pq.write_table(pa.table({"x": x, "y": labels}), tmp_path / "t.parquet")
    adapt = ("adapt", "none", tmp_path / "t.parquet", "--target", "y", "--target-kind", "classification")
    assert cli(*adapt, "--out", tmp_path / "p").code == 0
    spellings = set()
    for lacking in ([], [0], [1, 2], range(4), range(4, 16), [9], range(16)):
        asked = [None if i in lacking else cell for i, cell in enumerate(x)]
        pq.write_table(pa.table({"x": pa.array(asked, pa.float64())}), tmp_path / "q.parquet")
        for ending in ("parquet", "csv", "jsonl"):
            out = tmp_path / f"o.{ending}"
            assert cli("predict", tmp_path / "p", tmp_path / "q.parquet", "--out", out).code == 0
            if ending == "parquet":
                found = pq.read_table(out)["label"].combine_chunks()
                kept = labels.cast(_READ_AS.get(name, labels.type))
                assert found.type == kept.type
                wanted = [None if i in lacking else label for i, label in enumerate(kept.to_pylist())]
                assert found.to_pylist() == wanted
            elif ending == "csv":
                spellings |= set(pd.read_csv(out, dtype=str)["label"].dropna())
            else:
                rows = [json.loads(line) for line in out.read_text().splitlines()]
                assert [row["label"] is None for row in rows] == [i in lacking for i in range(16)]
                assert len({row["label"] for row in rows} - {None}) <= 2
        header = (tmp_path / "o.csv").read_text().splitlines()[0]
        spelled = {column[2:-1] for column in header.split(",") if column.startswith("p(")}
        assert spellings <= spelled and len(spelled) == 2


def test_reasons_of_late_rows_are_in_every_output(tmp_path: Path, cli, monkeypatch):
    monkeypatch.setattr("metamodal.app.predicting._ROWS", 4)
    pets().to_csv(tmp_path / "pets.csv", index=False)
    assert cli("adapt", "none", tmp_path / "pets.csv", "--target", "pet", "--out", tmp_path / "p").code == 0
    (tmp_path / "rows.csv").write_text("size,hue\n" + "1,1\n" * 9 + ",\n")
    to_stdout = pd.read_csv(io.StringIO(cli("predict", tmp_path / "p", tmp_path / "rows.csv").out))
    cli("predict", tmp_path / "p", tmp_path / "rows.csv", "--out", tmp_path / "o.csv")
    pd.testing.assert_frame_equal(to_stdout, pd.read_csv(tmp_path / "o.csv"))
    assert to_stdout["reason"].notna().tolist() == [False] * 9 + [True]


def test_a_label_that_holds_the_separator_is_refused_in_a_list(tmp_path: Path):
    frame = pd.DataFrame({"x": np.arange(8.0), "y": [["a"], ["c;d"]] * 4})
    with pytest.raises(DataError, match="the label 'c;d' holds ';'.* Rename it"):
        mm.MetaLearner(data__target="y").adapt(frame)


def test_probabilities_sum_to_one_at_their_own_precision():
    predictor = mm.MetaLearner(data__target="sky").adapt(weather())
    assert abs(predictor.predict_proba(weather(seed=1)).sum(axis=1) - 1).max() < 1e-12


def test_a_lacking_column_is_warned_of_with_the_nearest_that_is_there(tmp_path: Path, cli):
    pets().to_csv(tmp_path / "pets.csv", index=False)
    cli("adapt", "none", tmp_path / "pets.csv", "--target", "pet", "--out", tmp_path / "p")
    pets().rename(columns={"size": "Size"}).to_csv(tmp_path / "rows.csv", index=False)
    done = cli("predict", tmp_path / "p", tmp_path / "rows.csv")
    assert done.code == 0 and "lacks columns that the model knows: 'size' (is it 'Size'?)" in done.err
    strict = cli("predict", tmp_path / "p", tmp_path / "rows.csv", "--strict")
    assert strict.code == 3 and "is it 'Size'" in strict.err and not strict.out
    with pytest.warns(MetamodalWarning, match="lacks columns that the model knows: 'hue'"):
        mm.MetaLearner(data__target="pet").adapt(pets()).predict(pets()[["size"]])


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_full_evaluation_predicts_each_row_once_from_all_others_beside_scikit_learn(kind: str):
    rng = np.random.default_rng(0)
    frame = weather(120) if kind == "classification" else tags(120)
    frame = frame.rename(columns={"sky": "y"})
    if kind == "regression":
        frame["y"] = [float(np.sum(x)) + rng.normal(0, 0.1) for x in frame["x"]]
    data = read_table(frame, target="y")
    found = evaluate_full(lambda rows: untrained(rows, learners["per_modality"]()), data)
    names = {"classification": "accuracy", "multilabel": "average_precision", "regression": "r2"}
    score = found.model.scores[names[kind]]
    assert found.rows == 120 and found.folds == 5 and score[1] > 0
    assert len(found.baselines) == 3
    best = max(b.scores[names[kind]][0] for b in found.baselines)
    assert score[0] > best - 0.25
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("generic", [True, False], ids=["generic", "learned"])
@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
@pytest.mark.parametrize("seen", [True, False], ids=["seen", "unseen"])
def test_every_command_works_on_every_target_kind(
    tmp_path: Path, cli, monkeypatch, generic: bool, kind: str, seen: bool
):
    """With a picture, which only a featurizer turns into a vector: where generic features win, raw cells once went in."""
    from conftest import shapes_table
    from metamodal.meta.learners import PerModality
    from metamodal.training.selection.halving import Candidate

    frame = shapes_table(classes=10, rows=6)[["photo", "size", "label"]]
    k = frame["label"].str[-2:].astype(int)
    frame["y"] = {
        "classification": frame["label"],
        "multilabel": [["odd"] if i % 2 else ["even"] for i in k],
        "regression": k + 0.5,
    }[kind]
    if kind != "classification" and not seen:
        frame["ward"] = [f"t{i % 8}" for i in range(len(frame))]
    frame.drop(columns="label").to_parquet(tmp_path / "t.parquet")
    roles = ["--target", "y", *(["--task", "ward"] if "ward" in frame else [])]
    roles += ["--split-by", "row" if seen and kind == "classification" else "auto"]
    if generic:
        monkeypatch.setattr(
            "metamodal.experiment.runs.candidates", lambda *_: [Candidate(PerModality(), generic=True)]
        )
    budget = ["--budget", "1.5", *([] if generic else ["learner=ridge", "train.steps=3"])]
    quick = ["model.dim=16", "train.validation.episodes=6", "train.validation.count=1"]
    done = cli("train", tmp_path / "t.parquet", *roles, "--out", tmp_path / "run", *budget, *quick)
    assert done.code == 0 and "internal" not in done.err, done.err
    model = tmp_path / "run" / "model"
    shots = ["--shot", "1", "--episodes", "4", *(["--way", "2"] if kind == "classification" else [])]
    done = cli("evaluate", model, tmp_path / "t.parquet", *shots, "--baselines", "--subsets", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["baselines"]
    frame.head(24).drop(columns="label").to_parquet(tmp_path / "support.parquet")
    done = cli("adapt", model, tmp_path / "support.parquet", "--out", tmp_path / "p")
    assert done.code == 0, done.err
    done = cli("predict", tmp_path / "p", tmp_path / "t.parquet", "--json")
    assert done.code == 0 and len(json.loads(done.out)["rows"]) == len(frame), done.err


def test_training_rows_are_never_a_test(tmp_path: Path, cli):
    from conftest import hidden_table

    hidden_table(classes=8, rows=6).to_parquet(tmp_path / "t.parquet")
    options = ["model.dim=16", "train.steps=2", "train.validation.episodes=5", "data.shares=[0.75,0.25,0.0]"]
    done = cli("train", tmp_path / "t.parquet", "--target", "label", "--out", tmp_path / "run", *options)
    assert done.code == 0 and "kept no rows of it for a test" in done.err, done.err
    assert "episodes, " not in done.err
    again = cli("evaluate", tmp_path / "run" / "model", tmp_path / "t.parquet", "--episodes", 4)
    assert again.code == 3 and "kept no rows of it for a test" in again.err


def test_an_untrained_model_that_is_better_is_kept_and_said(monkeypatch):
    from conftest import shapes_table
    from metamodal.experiment import Experiment, run
    from metamodal.nesting import nested
    from metamodal.options import parse

    torch.manual_seed(0)
    data = read_table(shapes_table()[["vector", "size", "label"]], target="label")
    options = {"budget": 0.2, "validation__count": 1, "validation__episodes": 60, "optimiser__lr": 1e-9}
    done = run(
        parse(Experiment, {"learner": "in_context", "model": {"dim": 8}, "train": nested(options)}), data
    )
    outcome = done.model.record["outcome"]
    assert outcome["untrained"]["wins"] == (outcome["untrained"]["gain"] > outcome["untrained"]["ci95"])
    assert done.model.generic == outcome["untrained"]["wins"]
    assert any("untrained model is kept" in note for note in outcome["notes"]) == done.model.generic
