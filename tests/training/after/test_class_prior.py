"""Where classes are known by name, what all training rows say of them speaks beside the support."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from metamodal.adaptation import adapt
from metamodal.artifact import load_artifact, save_artifact
from metamodal.data.dataset import Dataset, read_table
from metamodal.evaluation.evaluating import evaluate
from metamodal.evaluation.protocol import Protocol
from metamodal.experiment import Experiment, Run, run
from metamodal.nesting import nested
from metamodal.options import parse
from metamodal.training.after.class_prior import without_class_prior

TRAIN = {"steps": 30, "episodes__way": 5, "validation__count": 1, "validation__episodes": 60}


def wards(tasks: int = 10, noise: float = 1.5) -> pd.DataFrame:
    """The same six classes in every ward, in two noisy vectors: one row says little, all rows of all wards much."""
    rng = np.random.default_rng(0)
    found = []
    for ward in range(tasks):
        for k in range(6):
            centre = np.random.default_rng([5, k]).normal(size=(2, 8))
            for _ in range(8):
                u, v = centre + rng.normal(0, noise, (2, 8))
                found.append({"u": u.tolist(), "v": v.tolist(), "label": f"class{k}", "ward": f"ward{ward}"})
    return pd.DataFrame(found)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return read_table(wards(), target="label", task="ward")


@pytest.fixture(scope="module")
def done(data: Dataset) -> Run:
    return run(
        parse(Experiment, {"model": {"dim": 16}, "learner": "per_modality", "train": nested(TRAIN)}), data
    )


def accuracy(model, data: Dataset, **protocol) -> float:
    (found,) = evaluate(model, data, [Protocol(5, episodes=150, **protocol)])
    return found.results[-1 if protocol.get("missing") else 0].accuracy[0]


def test_memory_lifts_tasks_of_few_rows(done: Run, data: Dataset):
    model = done.model
    trusts = [v for k, v in model.params.items() if k.endswith(".class_prior.scale")]
    assert len(trusts) == 3 and all(v > 0 for v in trusts)
    without = replace(model, params=without_class_prior(model.params))
    assert accuracy(model, data, shot=1) > accuracy(without, data, shot=1) + 0.02
    assert accuracy(model, data, shot=5) > accuracy(without, data, shot=5) - 0.02


def test_a_class_without_a_name_is_none_the_worse(done: Run):
    """Other labels than those of training: what is remembered of those has no say."""
    renamed = wards(4).assign(label=lambda t: "new " + t["label"])
    support, query = renamed[renamed.index % 8 < 3], renamed[renamed.index % 8 == 3]
    without = replace(done.model, params=without_class_prior(done.model.params))
    one, two = (adapt(m, support).predict_proba(query) for m in (done.model, without))
    pd.testing.assert_frame_equal(one, two)


def test_a_model_with_memory_is_saved_whole(done: Run, tmp_path):
    frame = wards(1)
    support, query = frame[frame.index % 8 < 2], frame[frame.index % 8 == 3]
    save_artifact(done.model, tmp_path / "model")
    predictor = adapt(load_artifact(tmp_path / "model"), support)
    save_artifact(predictor, tmp_path / "predictor")
    again = load_artifact(tmp_path / "predictor").predict_proba(query)
    pd.testing.assert_frame_equal(adapt(done.model, support).predict_proba(query), again)


def test_training_goes_on_without_memory_and_remembers_anew(done: Run, data: Dataset):
    record = {"model": {"dim": 16}, "learner": "per_modality", "train": nested(TRAIN | {"steps": 2})}
    more = run(parse(Experiment, record), data, start=done.model)
    assert any(v > 0 for k, v in more.model.params.items() if k.endswith(".class_prior.scale"))


def test_nothing_is_remembered_of_classes_that_no_other_task_shares(hidden: pd.DataFrame):
    record = {"model": {"dim": 16}, "learner": "per_modality", "train": nested(TRAIN | {"steps": 2})}
    model = run(parse(Experiment, record), read_table(hidden, target="label")).model
    assert not any(".memory." in name for name in model.params)


def test_memory_is_silent_while_it_is_empty(done: Run, data: Dataset):
    zeros = [v for k, v in without_class_prior(done.model.params).items() if ".class_prior." in k]
    assert zeros and all(torch.count_nonzero(v) == 0 for v in zeros)
