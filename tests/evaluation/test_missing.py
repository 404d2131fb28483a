"""Absence as a signal where it is one, and attention to what is there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import metamodal as mm
from metamodal.data.dataset import Dataset, read_table
from metamodal.errors import OptionError
from metamodal.evaluation.evaluating import evaluate
from metamodal.evaluation.protocol import Protocol
from metamodal.experiment import Experiment, run
from metamodal.mappings.fusion import fusions
from metamodal.model import MetaModel
from metamodal.nesting import nested
from metamodal.options import parse


def telling(tells: bool, tasks: int = 40, rows: int = 16, seed: int = 0) -> Dataset:
    """Tasks of two classes and two vectors, both noise; v is missing in 9 of 10 rows of one class and in 1 of 10 of
    the other, or in every second row of both."""
    rng = np.random.default_rng(seed)
    found = []
    for task, k in [(f"task{t}", k) for t in range(tasks) for k in (0, 1)]:
        for _ in range(rows):
            u, v = rng.normal(size=(2, 6)).tolist()
            gone = rng.random() < ((0.1, 0.9)[k] if tells else 0.5)
            found.append({"u": u, "v": None if gone else v, "task": task, "label": f"{task} {k}"})
    return read_table(pd.DataFrame(found), target="label", task="task")


def meta_trained(fusion: str, data: Dataset, **more) -> MetaModel:
    train = {
        "steps": 250,
        "budget": 60.0,
        "episodes__way": 2,
        "episodes__rows": 6,
        "episodes__count": 4,
        "episodes__cross_task": 0.0,
        "episodes__missing": 0.0,
    }
    train |= {
        "losses__unimodal__weight": 0.0,
        "validation__count": 2,
        "validation__episodes": 20,
        "fallback": False,
    } | more
    said = {"learner": "ridge", "model": {"dim": 16, "fusion": fusion}, "train": nested(train)}
    return run(parse(Experiment, said), data).model


def accuracy(model: MetaModel, data: Dataset) -> float:
    (found,) = evaluate(model, data, [Protocol(2, 4, episodes=200)])
    return found.whole.score[0]


@pytest.mark.slow
@pytest.mark.parametrize("fusion", list(fusions))
def test_absence_that_hangs_on_the_class_is_found_and_other_absence_is_not(fusion: str):
    """No rule does better than nine in ten; what cells hold tells nothing, so that chance is a half."""
    data = telling(tells=True)
    model = meta_trained(fusion, data)
    brief = accuracy(meta_trained(fusion, data, steps=3), data)
    found = accuracy(model, data)
    assert 0.85 < found < 0.95
    assert found > brief + 0.03
    assert accuracy(model, telling(tells=False)) < 0.58


@pytest.fixture(scope="module")
def attentive() -> mm.MetaLearner:
    learner = mm.MetaLearner(
        learner="ridge",
        model={"dim": 16, "fusion": "attention"},
        train={"steps": 3, "validation": {"episodes": 5}},
    )
    return learner.fit(telling(tells=True, tasks=6))


def test_attention_weights_are_those_of_the_fusion(attentive: mm.MetaLearner):
    rows = telling(tells=True, tasks=1).frame
    found = attentive.attention(rows)
    assert found.modalities == ("u", "v") and found.heads == 4
    assert found.values.shape == (len(rows), 4, 2, 2)
    np.testing.assert_allclose(found.values.sum(-1), 1, rtol=1e-5)
    assert (found.present[:, 1] == rows["v"].notna()).all() and found.present[:, 0].all()
    model = attentive.model
    tokens = model.shared(model.inputs(read_table(rows, target="label", task="task")))
    fusion = model.engine.model.fusion
    weights = {k.removeprefix("model.fusion."): v for k, v in model.params.items() if ".fusion." in k}
    with torch.no_grad():
        for name, parameter in fusion.named_parameters():
            parameter.copy_(weights[name])
    np.testing.assert_array_equal(found.values, fusion.weights(tokens).detach().numpy())


def test_an_absent_cell_gets_little_attention_and_one_that_is_there_gets_its_share(attentive: mm.MetaLearner):
    found = attentive.attention(telling(tells=True, tasks=2).frame)
    to_v = found.values[..., 1].mean((1, 2))
    assert to_v[~found.present[:, 1]].max() < 0.1 < 0.3 < to_v[found.present[:, 1]].min()


def test_other_fusions_have_no_attention_weights(trained):
    model, rows = trained[0], pd.DataFrame({"size": [1.0]})
    with pytest.raises(OptionError, match=r"no attention weights. Train one with model.fusion=attention"):
        model.attention(rows)
    with pytest.raises(OptionError, match="nothing is trained yet to attend with"):
        mm.MetaLearner().attention(rows)
