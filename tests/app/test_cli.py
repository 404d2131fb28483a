"""The command line: data on stdout, words on stderr, exit codes, and one-line errors with a remedy."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from metamodal.adaptation import adapt
from metamodal.app.parser import parsed, parser
from metamodal.artifact import save_artifact
from metamodal.errors import OptionError

COMMANDS = ["demo", "schema", "train", "evaluate", "adapt", "predict", "translate", "doctor"]
QUICK = [
    "--use",
    "photo,size",
    "train.steps=3",
    "train.episodes.way=5",
    "train.validation.episodes=5",
    "train.validation.count=1",
    "model.dim=16",
]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_help_imports_neither_torch_nor_pandas():
    done = python("-X", "importtime", "-m", "metamodal", "--help")
    assert done.returncode == 0
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not modules & {"torch", "pandas", "numpy", "sklearn", "pydantic", "matplotlib", "yaml"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_the_common_options(command: str, capsys):
    with pytest.raises(SystemExit) as done:
        parser().parse_args([command, "--help"])
    text = capsys.readouterr().out
    assert done.value.code == 0
    assert f"example: metamodal {command}" in text
    assert {"--json", "--quiet", "--seed"} <= set(text.split())


def test_assignments_may_stand_anywhere_among_the_options():
    options = parsed(
        ["train", "t.csv", "seed=1", "--target", "x", "train.optimiser.lr=0.1", "--out", "o", "model.dim=8"]
    )
    assert options.overrides == ["seed=1", "train.optimiser.lr=0.1", "model.dim=8"]
    with pytest.raises(OptionError, match="--wat=1: not understood. See metamodal train --help"):
        parsed(["train", "t.csv", "--out", "o", "--wat=1"])
    with pytest.raises(OptionError, match="a=1: not understood"):
        parsed(["evaluate", "none", "t.csv", "a=1"])


def test_the_module_is_the_program():
    assert python("-m", "metamodal", "--version").stdout.startswith("metamodal ")


def test_schema_prints_roles_kinds_and_evidence(cli, shapes_file: Path, tmp_path: Path):
    done = cli("schema", shapes_file, "--target", "label", "--json", "--out", tmp_path / "roles.yaml")
    assert done.code == 0
    columns = {c["name"]: c for c in json.loads(done.out)["columns"]}
    assert columns["photo"]["kind"] == "image"
    assert columns["label"]["role"] == "target"
    assert all(c["evidence"] for c in columns.values())
    again = cli("schema", shapes_file, "--schema", tmp_path / "roles.yaml", "--json")
    assert {c["name"]: c["role"] for c in json.loads(again.out)["columns"]} == {
        n: c["role"] for n, c in columns.items()
    }


def test_a_table_without_a_target_can_be_trained_on_and_schema_says_how_to_name_one(cli, tmp_path: Path):
    (tmp_path / "t.csv").write_text("size,hue\n1,2\n3,4\n")
    done = cli("schema", tmp_path / "t.csv")
    assert "train would learn from rows without labels. Name one: --target C" in done.err


def test_one_of_a_kind_is_counted_in_the_singular(cli, tmp_path: Path):
    (tmp_path / "t.csv").write_text("size,price\n1,2.5\n")
    kind = ("--target", "price", "--target-kind", "regression")
    done = cli("adapt", "none", tmp_path / "t.csv", *kind, "--out", tmp_path / "p")
    assert "1 number from 1 row of size" in done.err


def test_words_for_people_go_to_stderr_and_quiet_silences_them(cli, shapes_file: Path):
    loud, quiet = cli("schema", shapes_file), cli("schema", shapes_file, "--quiet")
    assert loud.out == quiet.out == quiet.err == ""
    assert "photo" in loud.err


def test_train_evaluate_adapt_predict_hang_together(cli, shapes_file: Path, shapes, tmp_path: Path):
    out = tmp_path / "run"
    done = cli("train", shapes_file, *QUICK, "--target", "label", "--budget", 60, "--out", out, "--json")
    assert done.code == 0
    document = json.loads(done.out)
    assert document["outcome"]["steps"] == 3
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 3
    assert "<html" in (out / "report.html").read_text()

    done = cli(
        "evaluate",
        out / "model",
        shapes_file,
        "--way",
        3,
        "--episodes",
        10,
        "--subsets",
        "--missing",
        0.5,
        "--baselines",
        "--json",
        "--report",
        tmp_path / "r.html",
    )
    assert done.code == 0
    document = json.loads(done.out)
    assert document["protocol"]["unseen_classes"] is True
    assert len(document["results"]) == 2**2 - 1 + 1
    assert document["results"][-1]["missing"] == 0.5
    assert (tmp_path / "r.html").exists()

    names = ["class16", "class17", "class18"]
    rows = shapes[shapes["label"].isin(names)]
    first = rows.groupby("label").cumcount() < 3
    rows[first].to_parquet(tmp_path / "support.parquet")
    rows[~first].drop(columns="label").to_parquet(tmp_path / "query.parquet")
    done = cli("adapt", out / "model", tmp_path / "support.parquet", "--out", tmp_path / "p", "--json")
    assert json.loads(done.out)["labels"] == names
    done = cli("predict", tmp_path / "p", tmp_path / "query.parquet")
    assert done.code == 0
    frame = pd.read_csv(io.StringIO(done.out))
    assert list(frame.columns) == ["label", "probability", *(f"p({n})" for n in names), "reason"]
    assert len(frame) == int((~first).sum())
    cli("predict", tmp_path / "p", tmp_path / "query.parquet", "--out", tmp_path / "labels.jsonl")
    assert pd.read_json(tmp_path / "labels.jsonl", lines=True)["label"].tolist() == frame["label"].tolist()
    done = cli("predict", tmp_path / "p", tmp_path / "query.parquet", "--json")
    assert [r["label"] for r in json.loads(done.out)["rows"]] == frame["label"].tolist()

    again = cli("train", shapes_file, *QUICK, "--target", "label", "--out", out)
    assert again.code == 2
    assert "--resume" in again.err
    resumed = cli("train", shapes_file, *QUICK, "--target", "label", "--out", out, "--resume", "--json")
    assert resumed.code == 0
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 2


def test_an_experiment_file_is_the_option_tree(cli, shapes_file: Path, tmp_path: Path):
    (tmp_path / "e.yaml").write_text(
        f"data:\n  table: {shapes_file}\n  target: label\n  use: [vector, size]\nlearner: ridge\n"
        "model:\n  dim: 16\ntrain:\n  steps: 2\n  episodes: {way: 5}\n  validation: {episodes: 5}\n"
    )
    done = cli("train", tmp_path / "e.yaml", "train.optimiser.lr=1e-2", "--out", tmp_path / "run", "--json")
    assert done.code == 0
    record = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert record["training"]["train"]["optimiser"]["lr"] == 0.01
    assert record["spec"]["learner"]["kind"] == "ridge"
    assert set(record["modalities"]) == {"vector", "size"}


def test_a_branch_without_options_is_one_line_with_the_remedy(cli, tmp_path: Path):
    (tmp_path / "e.yaml").write_text("data: 3\n")
    done = cli("train", tmp_path / "e.yaml", "--out", tmp_path / "run")
    assert done.code == 2
    assert "data holds no options. Write name: value lines" in done.err


def test_evaluating_none_needs_no_training(cli, shapes_file: Path):
    done = cli("evaluate", "none", shapes_file, "--target", "label", "--episodes", 20, "--json")
    assert done.code == 0
    document = json.loads(done.out)
    assert document["protocol"]["way"] == 4  # a fifth of twenty classes is for testing
    assert document["results"][0]["accuracy"]["mean"] > 0.25


def test_adapting_none_reads_standard_input(cli, tmp_path: Path, monkeypatch):
    text = "size,pet\n20,cat\n22,cat\n60,dog\n63,dog\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    done = cli("adapt", "none", "-", "--target", "pet", "--out", tmp_path / "p")
    assert done.code == 0, done.err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"size\n21\n61\n")))
    done = cli("predict", tmp_path / "p", "-")
    assert pd.read_csv(io.StringIO(done.out))["label"].tolist() == ["cat", "dog"]


def test_doctor_lists_versions_devices_and_kinds(cli):
    document = json.loads(cli("doctor", "--json").out)
    assert document["versions"]["torch"]
    assert document["devices"][0].startswith("cpu")
    assert document["kinds"]["image"] == "ready"
    assert document["problems"] == []
    assert set(document["extras"]) >= {"audit", "video", "points"}
    assert not {"pytest", "ruff", "mypy", "dev"} & (document["versions"].keys() | document["extras"].keys())


def test_doctor_says_which_files_cannot_be_read_and_how_to_read_them(cli, monkeypatch):
    import metamodal.app.doctor as doctor

    found = doctor.find_spec
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name in ("av", "trimesh") else found(name))
    kinds = json.loads(cli("doctor", "--json").out)["kinds"]
    assert "for video files: python -m pip install 'metamodal[video]'" in kinds["video"]
    assert "PLY, OFF, OBJ and STL files: python -m pip install 'metamodal[points]'" in kinds["points"]
    assert "AAC files (.m4a, .aac): python -m pip install 'metamodal[video]'" in kinds["audio"]
    assert kinds["image"] == kinds["tabular"] == "ready"


def bad_tables(folder: Path, shapes: pd.DataFrame) -> dict[str, Path]:
    """A table for each way of being wrong."""
    frames = {"sound": shapes}
    broken = shapes.copy()
    broken.loc[4, "photo"] = broken.loc[4, "photo"][:70]
    frames["truncated"] = broken
    frames["nan"] = shapes.assign(size=[np.nan if i == 6 else v for i, v in enumerate(shapes["size"])])
    frames["one class"] = shapes[shapes["label"] == "class00"]
    frames["few"] = shapes[["size", "label"]].groupby("label").head(1)
    frames["empty"] = shapes.iloc[:0]
    paths = {}
    for name, frame in frames.items():
        paths[name] = folder / f"{name}.parquet"
        if name == "nan":
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(
                pa.table({"size": frame["size"].to_numpy(), "label": frame["label"].tolist()}), paths[name]
            )
        else:
            frame.to_parquet(paths[name])
    paths["two kinds"] = folder / "two.jsonl"
    paths["two kinds"].write_text(
        '{"x": 1, "label": "a"}\n{"x": [1, 2], "label": "b"}\n{"x": 3, "label": "a"}\n'
    )
    paths["missing file"] = folder / "nowhere.csv"
    return paths


@pytest.fixture(scope="module")
def bad(tmp_path_factory, shapes: pd.DataFrame) -> dict[str, Path]:
    return bad_tables(tmp_path_factory.mktemp("bad"), shapes)


@pytest.mark.parametrize("command", ["evaluate", "adapt", "train"])
@pytest.mark.parametrize(
    ("table", "options", "code", "words"),
    [
        ("missing file", [], 3, ["nowhere.csv", "no such file", "Give a table"]),
        ("sound", ["--use", "phto"], 2, ["--use 'phto'", "Did you mean 'photo'?"]),
        ("two kinds", [], 3, ["two.jsonl row 2, column x", "two kinds", "Fix"]),
        ("truncated", [], 3, ["truncated.parquet row 5, column photo", "not a readable image", "Replace"]),
        ("nan", [], 3, ["nan.parquet row 7", "size is nan", "leave the cell empty"]),
        ("empty", [], 3, ["empty.parquet", "no rows"]),
        ("one class", [], 3, ["one class.parquet"]),
    ],
)
def test_bad_input_is_one_line_with_the_remedy(cli, bad, tmp_path, command, table, options, code, words):
    arguments = {
        "evaluate": ["evaluate", "none", bad[table], "--target", "label", "--episodes", 5],
        "adapt": ["adapt", "none", bad[table], "--target", "label", "--out", tmp_path / "p"],
        "train": ["train", bad[table], *QUICK[2:], "--target", "label", "--out", tmp_path / "run"],
    }[command]
    done = cli(*arguments, *options)
    assert done.code == code
    assert done.out == ""
    lines = [line for line in done.err.splitlines() if line.startswith("metamodal: ")]
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]
    assert "Traceback" not in done.err
    assert not (tmp_path / "p").exists()
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ["evaluate", "none", "{few}", "--target", "label"],
            3,
            ["2-way 1-shot needs", "Lower --way or --shot"],
        ),
        (
            ["evaluate", "none", "{sound}", "--target", "label", "--way", "50"],
            3,
            ["50-way 1-shot needs 50 classes"],
        ),
        (
            ["evaluate", "none", "{sound}", "--target", "label", "--shot", "0"],
            2,
            ["shot 0 predicts classes from class information alone"],
        ),
        (["evaluate", "none", "{sound}"], 2, ["no target column is named", "--target"]),
        (["evaluate", "nowhere", "{sound}"], 3, ["nowhere: no artifact"]),
        (["trian"], 2, ["'trian'", "--help"]),
        (
            ["train", "{sound}", "--target", "label", "--out", "{tmp}/x", "train.lrr=1"],
            2,
            ["train.lrr", "'train.optimiser.lr'"],
        ),
        (
            ["train", "{sound}", "--target", "label", "--out", "{tmp}/x", "--budget", "-3"],
            2,
            ["--budget", "above 0"],
        ),
        (["train"], 2, ["required: TABLE|EXPERIMENT.yaml, --out"]),
        (["schema", "{sound}", "--kind", "photo"], 2, ["--kind photo", "COLUMN=KIND"]),
        (["predict", "{tmp}/none", "{sound}"], 3, ["no artifact"]),
    ],
)
def test_a_wrong_call_is_one_line_with_the_remedy(cli, bad, tmp_path, arguments, code, words):
    names = {name.replace(" ", "_"): path for name, path in bad.items()} | {"tmp": tmp_path}
    done = cli(*(a.format(**names) for a in arguments))
    assert done.code == code
    assert done.out == ""
    (line,) = [text for text in done.err.splitlines() if text.startswith("metamodal: ")]
    for word in words:
        assert word in line


def test_a_model_is_no_predictor_and_a_predictor_no_model(cli, trained, shapes, shapes_file, tmp_path):
    model = trained[0].model
    save_artifact(model, tmp_path / "m")
    save_artifact(adapt(model, shapes.head(24)), tmp_path / "p")
    done = cli("predict", tmp_path / "m", shapes_file)
    assert done.code == 3
    assert "a model, not a predictor" in done.err
    done = cli("evaluate", tmp_path / "p", shapes_file)
    assert done.code == 3
    assert "a predictor, not a model" in done.err


def test_an_unreadable_cell_may_count_as_absent_if_asked(cli, bad):
    done = cli(
        "evaluate",
        "none",
        bad["truncated"],
        "--target",
        "label",
        "--episodes",
        5,
        "--unreadable",
        "absent",
        "--json",
    )
    assert done.code == 0


def test_ctrl_c_keeps_the_best_model_and_ends_with_130(cli, shapes_file: Path, tmp_path: Path, monkeypatch):
    from metamodal.training.loop.bar import Bar

    show = Bar.__call__

    def interrupting(self, progress):
        show(self, progress)
        if progress.step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Bar, "__call__", interrupting)
    done = cli("train", shapes_file, *QUICK, "--target", "label", "--out", tmp_path / "run")
    assert done.code == 130
    assert "interrupted" in done.err
    assert cli("evaluate", tmp_path / "run" / "model", shapes_file, "--way", 3, "--episodes", 5).code == 0


def test_a_bug_is_one_line_and_debug_shows_where(cli, monkeypatch):
    from metamodal.app.commands import doctor

    def broken(options):
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(doctor, "COMMAND", replace(doctor.COMMAND, run=broken))
    done = cli("doctor")
    assert done.code == 1
    assert "internal error: ZeroDivisionError: by nought" in done.err
    assert "Traceback" not in done.err
    assert "Traceback" in cli("doctor", "--debug").err


def test_an_interrupt_is_one_whatever_the_code_between_makes_of_it(cli, monkeypatch):
    from metamodal.app.commands import doctor

    def renaming(options):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as cause:
            raise RuntimeError("Error calling __set_name__") from cause  # as the import of a class has it

    monkeypatch.setattr(doctor, "COMMAND", replace(doctor.COMMAND, run=renaming))
    done = cli("doctor")
    assert done.code == 130
    assert "interrupted" in done.err and "internal error" not in done.err


def test_a_predictor_may_refer_to_its_model_and_finds_it_where_it_moved(trained, shapes, tmp_path, cli):
    save_artifact(trained[0].model, tmp_path / "model")
    few = shapes[shapes["label"].isin(["class16", "class17"])]
    few.to_parquet(tmp_path / "few.parquet")
    adapted = cli(
        *("adapt", tmp_path / "model", tmp_path / "few.parquet", "--out", tmp_path / "small", "--no-embed"),
        *("--device", "cpu", "--precision", "float32"),
    )
    assert adapted.code == 0, adapted.err
    query = ("predict", tmp_path / "small", tmp_path / "few.parquet", "--json")
    first = cli(*query)
    assert first.code == 0, first.err
    (tmp_path / "model").rename(tmp_path / "moved")
    lost = cli(*query)
    assert lost.code == 3 and "its model is not in" in lost.err and "--model DIR" in lost.err
    again = cli(*query, "--model", tmp_path / "moved")
    assert again.code == 0 and again.out == first.out
    none = cli(
        "adapt", "none", tmp_path / "few.parquet", "--target", "label", "--no-embed", "--out", tmp_path / "x"
    )
    assert none.code == 2 and "--no-embed" in none.err


def test_half_precision_answers_from_the_command_line(trained, shapes, tmp_path, cli):
    save_artifact(trained[0].model, tmp_path / "model")
    few = shapes[shapes["label"].isin(["class16", "class17"])]
    few.to_parquet(tmp_path / "few.parquet")
    cli("adapt", tmp_path / "model", tmp_path / "few.parquet", "--out", tmp_path / "p")
    full = cli("predict", tmp_path / "p", tmp_path / "few.parquet", "--json")
    half = cli("predict", tmp_path / "p", tmp_path / "few.parquet", "--json", "--precision", "bfloat16")
    assert half.code == 0, half.err
    rows = zip(json.loads(full.out)["rows"], json.loads(half.out)["rows"])
    assert all(abs(a["probabilities"]["class16"] - b["probabilities"]["class16"]) < 0.1 for a, b in rows)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("command", ["evaluate", "adapt"])
def test_a_device_that_is_not_there_is_a_wrong_option(command: str, shapes_file, tmp_path, cli):
    more = ("--out", tmp_path / "p") if command == "adapt" else ("--episodes", 2)
    found = cli(command, "none", shapes_file, "--target", "label", "--device", "cuda", *more)
    assert found.code == 2 and "device=cuda: torch sees no NVIDIA GPU here" in found.err
