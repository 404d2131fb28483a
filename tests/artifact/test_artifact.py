"""What is saved is what is loaded, to the bit; what is damaged or too new is refused with a remedy."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.overrides import TorchFunctionMode

import metamodal as mm
from metamodal import manifest
from metamodal.adaptation import adapt
from metamodal.artifact import load_artifact, save_artifact
from metamodal.data.dataset import read_table
from metamodal.errors import ArtifactError, OptionError, OutputError
from metamodal.experiment import Experiment, run
from metamodal.meta.learners import learners
from metamodal.model import MetaModel
from metamodal.options import parse
from metamodal.predictor import Predictor


@pytest.fixture
def saved(trained, tmp_path: Path) -> Path:
    return save_artifact(trained[0].model, tmp_path / "model")


def spec_of(saved: Path, **parts: dict) -> dict:
    """The artifact's spec with some options changed."""
    spec = json.loads((saved / "config.json").read_text())["spec"]
    network = spec["network"] | parts.get("network", {})
    return spec | parts | {"network": network}


def few(shapes: pd.DataFrame, rows: int = 3) -> pd.DataFrame:
    return shapes[shapes.groupby("label").cumcount() < rows].head(4 * rows)


def test_a_model_comes_back_as_it_was(trained, saved: Path, shapes: pd.DataFrame):
    first, again = trained[0].model, load_artifact(saved)
    assert isinstance(again, MetaModel)
    assert all(torch.equal(v, again.params[k]) for k, v in first.params.items())
    assert (again.preprocessor, again.roles, again.seen, again.record) == (
        first.preprocessor,
        first.roles,
        first.seen,
        first.record,
    )
    rows = shapes.drop(columns="label")
    assert np.array_equal(first.embed(rows), again.embed(rows))


@pytest.mark.parametrize(
    "learner",
    [
        *sorted({*learners, *learners.named}),
        {"kind": "per_modality", "base": "prototypes"},
        {"kind": "anil", "hidden": 8},
        {"kind": "modulated", "base": "anil"},
    ],
    ids=str,
)
def test_a_predictor_of_every_learner_predicts_the_same_bits_after_loading(hidden, tmp_path: Path, learner):
    data = read_table(hidden, target="label")
    brief = {"steps": 3, "budget": 60.0, "episodes": {"way": 5}, "validation": {"episodes": 5}}
    model = run(parse(Experiment, {"learner": learner, "model": {"dim": 16}, "train": brief}), data).model
    support, query = hidden.iloc[:30:3], hidden.iloc[1:30:3].drop(columns="label")
    predictor = adapt(model, support)
    save_artifact(predictor, tmp_path / "p")
    save_artifact(model, tmp_path / "m")
    before = predictor.predict_proba(query)
    for loaded in (load_artifact(tmp_path / "p"), adapt(load_artifact(tmp_path / "m"), support)):
        assert isinstance(loaded, Predictor)
        pd.testing.assert_frame_equal(loaded.predict_proba(query), before, check_exact=True)


def test_a_predictor_without_training_comes_back_too(shapes: pd.DataFrame, tmp_path: Path):
    predictor = mm.MetaLearner(data__target="label").adapt(few(shapes))
    save_artifact(predictor, tmp_path / "p")
    query = shapes.drop(columns="label").head(20)
    again = mm.load(tmp_path / "p")
    pd.testing.assert_frame_equal(
        again.predict_proba(query), predictor.predict_proba(query), check_exact=True
    )


def test_nothing_in_the_folder_executes(saved: Path):
    assert {p.name for p in saved.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert "metamodal adapt" in (saved / "README.md").read_text()


def change(saved: Path, **values) -> None:
    """Other values, with a digest that fits them: what an attacker writes, not what a disk damages."""
    config = saved / "config.json"
    record = json.loads(config.read_text("utf-8")) | values
    record["digest"] = manifest._digest(record)
    config.write_text(json.dumps(record), "utf-8")


def test_a_missing_artifact_says_where_one_comes_from(tmp_path: Path):
    with pytest.raises(ArtifactError, match="no artifact .* Give a folder that train or adapt wrote"):
        load_artifact(tmp_path / "nowhere")


def test_a_newer_artifact_names_the_version_that_reads_it(saved: Path):
    change(saved, format=99, version="7.0.0")
    with pytest.raises(
        ArtifactError, match="artifact format 99, this version reads 4. Use metamodal 7.0.0 or newer"
    ):
        load_artifact(saved)


def test_an_artifact_of_another_format_is_not_replaced_and_called_what_it_is(trained, saved: Path):
    change(saved, format=2)
    before = (saved / "config.json").read_bytes()
    with pytest.raises(OutputError, match="holds an artifact of format 2, and this version writes 4"):
        save_artifact(trained[0].model, saved)
    assert (saved / "config.json").read_bytes() == before


def test_damaged_tensors_are_noticed(saved: Path):
    path = saved / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="damaged .*checksum"):
        load_artifact(saved)
    path.unlink()
    with pytest.raises(ArtifactError, match="missing"):
        load_artifact(saved)
    path.symlink_to(path)
    with pytest.raises(ArtifactError, match="model.safetensors: cannot be read .*links"):
        load_artifact(saved)
    path.unlink()
    path.mkdir()
    with pytest.raises(ArtifactError, match="model.safetensors: cannot be read .Is a directory"):
        load_artifact(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '"x"'])
def test_a_damaged_configuration_is_noticed(saved: Path, text: str):
    (saved / "config.json").write_text(text)
    with pytest.raises(ArtifactError):
        load_artifact(saved)


def test_a_configuration_that_does_not_fit_its_tensors_is_noticed(saved: Path):
    change(saved, spec=spec_of(saved, learner={"kind": "prototypes", "temperature": 8.0}))
    with pytest.raises(ArtifactError, match="do not fit"):
        load_artifact(saved)


@pytest.mark.parametrize(
    "network",
    [{"dim": 65_536}, {"dim": 65_536, "decoders": True}, {"dim": 65_536, "fusion": {"kind": "attention"}}],
)
def test_a_network_that_the_tensors_do_not_have_is_refused_before_it_takes_memory(saved: Path, network: dict):
    """Its weights would be gigabytes: shapes are compared first, of tensors without storage."""
    change(saved, spec=spec_of(saved, network=network))
    taken: list[int] = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            if isinstance(found, torch.Tensor) and found.device.type == "cpu":
                taken.append(found.untyped_storage().nbytes())
            return found

    with Watch(), pytest.raises(ArtifactError, match="do not fit"):
        load_artifact(saved)
    assert max(taken, default=0) < 2**24


@pytest.mark.parametrize(("name", "part"), [("photo", {"size": 8192}), ("sound", {"length": 2**24})])
def test_a_fitted_shape_beyond_any_that_is_fitted_is_refused(saved: Path, name: str, part: dict):
    modalities = json.loads((saved / "config.json").read_text())["modalities"]
    name = next(n for n, found in modalities.items() if found["columns"] == [name])
    modalities[name]["fitted"] |= part
    change(saved, modalities=modalities)
    with pytest.raises(ArtifactError, match=f"modality {name} has shape"):
        load_artifact(saved)


def test_what_is_no_folder_is_no_artifact():
    for nothing in (None, 5):
        with pytest.raises(OptionError, match=f"load: {nothing} is no folder. Give the folder"):
            inspect.unwrap(load_artifact)(nothing)


def test_saving_replaces_an_artifact_but_nothing_else(trained, saved: Path, tmp_path: Path):
    save_artifact(trained[0].model, saved)
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("words")
    with pytest.raises(OutputError, match=r"holds files that metamodal did not write \(chapter.txt\)"):
        save_artifact(trained[0].model, other)
    assert (other / "chapter.txt").read_text() == "words"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "thesis"]


def test_arguments_of_a_wrong_type_are_option_errors():
    """In a process of its own: in this one every argument's type is checked beforehand."""
    code = """
import pandas as pd, metamodal as mm
frame = pd.DataFrame({"height": [1.0, 2.0, 3.0, 4.0], "pet": ["cat", "dog"] * 2})
predictor = mm.MetaLearner(data__target="pet").adapt(frame)
for call in (lambda: predictor.save(None), lambda: mm.read_table(frame, target="pet", plan=5)):
    try:
        call()
    except mm.OptionError as error:
        print(error)
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    save, plan = run.stdout.splitlines()
    assert save.startswith("save: None is no folder") and plan.startswith("plan=5: no plan")
