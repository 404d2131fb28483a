"""A run that ends early, however it ends, leaves the best model of its validations; resuming says what it keeps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import hidden_table
from metamodal.adaptation import adapt
from metamodal.artifact import load_artifact
from metamodal.data.dataset import read_table
from metamodal.errors import ArtifactError, OutputError
from metamodal.experiment import Experiment, run
from metamodal.manifest import is_artifact
from metamodal.model import MetaModel
from metamodal.nesting import nested
from metamodal.options import parse
from metamodal.training.loop import workers
from metamodal.training.loop.meta_train import DIED

BRIEF = [
    "--no-test",
    "model.dim=16",
    "train.validation.count=60",
    "train.validation.episodes=20",
    "train.validation.patience=1000",
    "learner=ridge",
]
KILLS = int(os.environ.get("METAMODAL_TEST_KILLS", "3"))  # of each signal; the moments are drawn anew


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    hidden_table(classes=20, rows=6).to_parquet(path)
    return path


def started(rows: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "metamodal", "train", str(rows), "--target", "label", "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "--budget", "60", *BRIEF, *more],
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )


def after_first_validation(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if b"validation" in line:
            return
    raise AssertionError("ended before its first validation")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_killed_after_a_validation_leaves_a_model_that_loads(
    rows: Path, tmp_path: Path, number: signal.Signals
):
    rng = np.random.default_rng(os.getpid())
    for i in range(KILLS):
        out = tmp_path / f"run{i}"
        process = started(rows, out, *(["train.workers=2"] if i == 2 else []))
        after_first_validation(process)
        time.sleep(float(rng.uniform(0, 0.5)))
        process.send_signal(number)
        if number == signal.SIGINT and i == 1:  # twice
            time.sleep(float(rng.uniform(0, 0.2)))
            process.send_signal(number)
        _, words = process.communicate(timeout=120)
        assert process.returncode == (-9 if number == signal.SIGKILL else 130), words.decode()
        model = load_artifact(out / "model")
        assert isinstance(model, MetaModel)
        outcome = model.record["outcome"]
        assert outcome["steps"] > 0 and outcome["ended"] in ("unfinished", "interrupted")
        assert len(adapt(model, pd.read_parquet(rows).head(12)).labels) == 2


def test_the_best_model_so_far_is_kept_at_each_validation_that_betters_it():
    kept: list[MetaModel] = []
    data = read_table(hidden_table(classes=20, rows=6), target="label")
    options = {
        "steps": 20,
        "budget": 60.0,
        "validation__count": 4,
        "validation__episodes": 20,
        "episodes__way": 5,
    }
    done = run(
        parse(Experiment, {"learner": "ridge", "model": {"dim": 16}, "train": nested(options)}),
        data,
        keep=kept.append,
    )
    scores = [model.record["outcome"]["valid_accuracy"] for model in kept]
    assert scores == sorted(set(scores)) and len(scores) >= 1
    assert scores[-1] == max(p.accuracy for p in done.trained.history)
    assert kept[-1].record["outcome"]["ended"] == "unfinished"


def test_a_worker_that_dies_costs_the_rest_of_the_training_and_nothing_else(monkeypatch):
    data = read_table(hidden_table(classes=20, rows=6), target="label")
    kept: list[MetaModel] = []

    def keep(model: MetaModel) -> None:
        kept.append(model)
        for process in living:
            process.kill()

    living: list = []
    entered = workers.Workers.__enter__

    def enter(self):
        found = entered(self)
        living[:] = self.processes
        return found

    monkeypatch.setattr(workers.Workers, "__enter__", enter)
    options = {
        "budget": 30.0,
        "steps": 400,
        "validation": {"count": 40, "episodes": 20},
        "workers": 2,
        "episodes": {"way": 5},
    }
    experiment = parse(Experiment, {"learner": "ridge", "model": {"dim": 16}, "train": options})
    done = run(experiment, data, keep=keep)
    assert done.trained.ended == DIED and kept
    assert done.model.record["outcome"]["steps"] < 400


def test_a_disk_that_is_full_during_training_costs_no_training(rows: Path, tmp_path: Path, cli, monkeypatch):
    from metamodal import storage

    real, calls = os.replace, []

    def full(source, target):
        if "model" in str(target) and not calls:
            calls.append(target)
            raise OSError(28, "No space left on device")
        return real(source, target)

    monkeypatch.setattr(storage.os, "replace", full)
    done = cli("train", rows, "--target", "label", "--out", tmp_path / "run", *BRIEF, "train.steps=6")
    assert done.code == 0, done.err
    assert "warning: the best model so far is not saved" in done.err and "no space left" in done.err
    assert is_artifact(tmp_path / "run" / "model")


def test_resuming_counts_all_steps_and_keeps_the_options_of_the_first_run(rows: Path, tmp_path: Path, cli):
    out = tmp_path / "run"
    first = cli("train", rows, "--target", "label", "--out", out, *BRIEF, "train.steps=4", "--seed", 3)
    assert first.code == 0, first.err
    again = cli("train", rows, "--target", "label", "--out", out, "--resume", "train.steps=5", "--json")
    assert again.code == 0, again.err
    assert "resume: from the weights of" in again.err and "start anew" in again.err
    assert json.loads(again.out)["outcome"]["steps"] == 9
    record = load_artifact(out / "model").record
    assert (record["model"]["dim"], record["learner"]["kind"], record["seed"]) == (16, "ridge", 3)
    assert record["train"]["validation"]["episodes"] == 20


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("model.dim=32", "model.dim=32: the model in .* was trained with model.dim=16"),
        ("model.fusion=attention", "model.fusion=attention: .* was trained with model.fusion=mean"),
        ("learner=prototypes", "learner=prototypes: .* was trained with learner=ridge"),
    ],
)
def test_an_option_that_contradicts_the_weights_is_refused_and_the_model_stays(
    rows: Path, tmp_path: Path, cli, option: str, named: str
):
    out = tmp_path / "run"
    assert cli("train", rows, "--target", "label", "--out", out, *BRIEF, "train.steps=2").code == 0
    before = (out / "model" / "config.json").read_bytes()
    done = cli("train", rows, "--target", "label", "--out", out, "--resume", option)
    assert done.code == 2
    import re

    assert re.search(named, done.err), done.err
    assert (out / "model" / "config.json").read_bytes() == before


def test_a_second_run_into_one_folder_is_refused_and_the_first_keeps_all_of_its_own(
    rows: Path, tmp_path: Path, cli
):
    out = tmp_path / "run"
    process = started(rows, out)
    after_first_validation(process)
    metrics = (out / "metrics.jsonl").read_bytes()
    for command in (("train", rows, "--target", "label", *BRIEF), ("demo",)):
        second = cli(*command, "--out", out)
        assert second.code == OutputError.exit_code and "another process is writing to it" in second.err
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert (out / "metrics.jsonl").read_bytes().startswith(metrics)
    assert cli("train", rows, "--target", "label", "--out", out, "--resume", "train.steps=1").code == 0


def test_a_run_that_fails_before_it_writes_leaves_no_folder(tmp_path: Path, cli):
    done = cli("train", tmp_path / "none.csv", "--target", "label", "--out", tmp_path / "a" / "run")
    assert done.code != 0 and not (tmp_path / "a").exists()


def test_resuming_without_a_model_says_so(rows: Path, tmp_path: Path, cli):
    done = cli("train", rows, "--target", "label", "--out", tmp_path / "run", "--resume")
    assert done.code == ArtifactError.exit_code and "no artifact" in done.err


@pytest.mark.parametrize("name", ["report.html", "metrics.jsonl"])
def test_a_folder_with_others_files_of_a_runs_names_is_left_as_it_is(
    rows: Path, tmp_path: Path, cli, name: str
):
    (tmp_path / name).write_text('{"theirs": 1}\n')
    done = cli("train", rows, "--target", "label", "--out", tmp_path, *BRIEF, "train.steps=2")
    assert done.code == OutputError.exit_code, done.err
    assert f"holds {name} and no model" in done.err
    assert (tmp_path / name).read_text() == '{"theirs": 1}\n' and not (tmp_path / "model").exists()


def test_a_run_killed_before_its_first_model_can_be_made_again(rows: Path, tmp_path: Path, cli):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "elapsed": 0.1, "loss": 2.0}\n')
    done = cli("train", rows, "--target", "label", "--out", tmp_path, *BRIEF, "train.steps=2")
    assert done.code == 0, done.err


@pytest.mark.parametrize("command", ["predict", "schema", "encode", "audit", "evaluate"])
def test_a_table_is_never_replaced_by_what_is_made_of_it(tmp_path: Path, cli, command: str):
    table = tmp_path / "pets.csv"
    table.write_text("size,pet\n1,cat\n2,cat\n8,dog\n9,dog\n")
    predictor = tmp_path / "predictor"
    assert cli("adapt", "none", table, "--target", "pet", "--out", predictor).code == 0
    before = table.read_bytes()
    flag = {"audit": "--html", "evaluate": "--report"}.get(command, "--out")
    first = {"predict": [predictor], "evaluate": ["none"]}.get(command, [])
    again = tmp_path / "." / "pets.csv"
    done = cli(command, *first, table, flag, f"{again.parent}/./pets.csv")
    assert done.code in (2, 3) and table.read_bytes() == before
    assert "is the table that is read. Name another file" in done.err


def test_a_reader_that_has_read_enough_ends_the_command_in_silence(tmp_path: Path, cli):
    table, predictor = tmp_path / "pets.csv", tmp_path / "predictor"
    table.write_text("size,pet\n" + "1,cat\n9,dog\n" * 20_000)
    (tmp_path / "few.csv").write_text("size,pet\n1,cat\n2,cat\n8,dog\n9,dog\n")
    assert cli("adapt", "none", tmp_path / "few.csv", "--target", "pet", "--out", predictor).code == 0
    command = [sys.executable, "-m", "metamodal", "predict", str(predictor), str(table)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 1
