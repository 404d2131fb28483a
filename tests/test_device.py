"""Device and precision: what they change, what they do not, and the contract that all components keep."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import metamodal as mm
from conftest import hidden_table
from metamodal.errors import OptionError

SPEC = {
    "learner": "ridge",
    "data": {"target": "label"},
    "train": {"steps": 20, "validation": {"episodes": 20}},
}


def test_every_component_computes_where_the_parameters_are():
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist"]
    contract = Path(__file__).with_name("device_contract.py")
    run = subprocess.run(
        [*command, str(contract)], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert run.returncode == 0, run.stdout


def test_half_precision_trains_and_answers_nearly_the_same():
    table = hidden_table()
    half = mm.MetaLearner(precision="bfloat16", **SPEC).fit(table)
    assert all(value.dtype == torch.float32 for value in half.model.params.values())
    support, query = table[::10], table[5::10]
    coarse = half.adapt(support).predict_proba(query).to_numpy()
    fine = replace_precision(half).adapt(support).predict_proba(query).to_numpy()
    assert 0 < abs(coarse - fine).max() < 0.05


def replace_precision(learner: mm.MetaLearner) -> mm.MetaLearner:
    return mm.MetaLearner.of(learner.model.on("cpu", "float32"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_there_is_reported_before_a_table_is_read():
    with pytest.raises(OptionError, match="device=cuda: torch sees no NVIDIA GPU here.*device=cpu"):
        mm.MetaLearner(device="cuda", **SPEC).fit(hidden_table())


def test_an_unknown_device_or_precision_is_an_option_error():
    with pytest.raises(OptionError, match="device"):
        mm.MetaLearner(device="gpu")
    with pytest.raises(OptionError, match="precision"):
        mm.MetaLearner(precision="float16")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("name", ["ridge", "kernel_ridge", "stacked"])
def test_a_model_of_a_gpu_answers_on_the_cpu(name: str, tmp_path: Path):
    table = hidden_table()
    learner = mm.MetaLearner(device="cuda", **SPEC | {"learner": name}).fit(table)
    support, query = table[::10], table[5::10]
    there = learner.adapt(support)
    there.save(tmp_path / "predictor")
    here = mm.load(tmp_path / "predictor")
    assert {value.device.type for value in here.model.params.values()} == {"cpu"}
    torch.testing.assert_close(
        torch.tensor(there.predict_proba(query).to_numpy()),
        torch.tensor(here.predict_proba(query).to_numpy()),
        atol=1e-3,
        rtol=0,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_the_device_holds_without_training_too():
    table = hidden_table()
    with pytest.raises(OptionError, match="device=cuda"):
        mm.MetaLearner(data__target="label", device="cuda").adapt(table)
    with pytest.raises(OptionError, match="device=cuda"):
        mm.MetaLearner(data__target="label", device="cuda").evaluate(table, episodes=2)
