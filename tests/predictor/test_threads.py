"""Prediction is a function of its arguments: threads at once get the bits that one alone gets."""

from __future__ import annotations

import copy
import os
import pickle
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import metamodal as mm
from metamodal.adaptation import adapt
from metamodal.components import component
from metamodal.data.dataset import read_table
from metamodal.data.features.encode import Preprocessor
from metamodal.data.features.reading import read_cells
from metamodal.data.schema.targets import Targets
from metamodal.mappings.fusion import fusions
from metamodal.mappings.model import NetworkSpec
from metamodal.meta.learners import learners
from metamodal.model import MetaModel, built, untrained
from metamodal.predictor import Predictor
from metamodal.pure import Pure
from metamodal.spec import ModelSpec

THREADS = 8
CALLS = int(os.environ.get("METAMODAL_TEST_CALLS", "1000"))  # 10,000 take four minutes on two cores
LEARNERS = [
    *sorted({*learners, *learners.named} - {"unimodal_fallback"}),
    {"kind": "unimodal_fallback", "modality": "u", "base": "ridge"},
    {"kind": "per_modality", "base": "prototypes"},
]
POOLED = ["ridge", "per_modality", "maml", "matching", "in_context"]


def table(kind: str) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 48
    k = np.arange(n) % 4
    u, v = rng.normal(size=(n, 6)) + k[:, None], rng.normal(size=(n, 5)) - k[:, None]
    frame = pd.DataFrame({"u": u.tolist(), "v": v.tolist(), "size": rng.normal(size=n) + k})
    frame.loc[::7, "v"] = None
    target = {
        "classification": [f"c{i}" for i in k],
        "multilabel": [[f"l{i}", "odd"] if i % 2 else [f"l{i}"] for i in k],
        "regression": k + rng.normal(size=n) + 0.25,
    }[kind]
    return frame.assign(y=target)


def initial(learner: object, fusion: str, kind: str) -> MetaModel:
    """A model with random weights: what threads could mix up is there without training."""
    data = read_table(table(kind), target="y")
    preprocessor = Preprocessor.fit(read_cells(data))
    targets = Targets.fit(data, np.arange(len(data)))
    torch.manual_seed(0)
    spec = ModelSpec(NetworkSpec(component(fusions, fusion), 8), component(learners, learner))
    model = built(spec, preprocessor, data.schema.to_roles(), targets)
    generator = torch.Generator().manual_seed(1)
    moved = {k: v.detach() + 0.1 * torch.randn(v.shape, generator=generator) for k, v in model.params.items()}
    return MetaModel(**{**vars(model), "params": moved})


def cases() -> list[tuple[object, str, str]]:
    own = [(learner, "mean", "classification") for learner in LEARNERS]
    fused = [("ridge", fusion, "classification") for fusion in fusions if fusion != "mean"]
    pooled = [(learner, "mean", kind) for learner in POOLED for kind in ("multilabel", "regression")]
    return own + fused + pooled


def answers(predictor: Predictor, rows: pd.DataFrame) -> bytes:
    found = (
        predictor.predict(rows)
        if predictor.kind == "regression"
        else predictor.predict_proba(rows).to_numpy()
    )
    return np.ascontiguousarray(found).tobytes()


@pytest.fixture
def hurried():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_calls_of_eight_threads_give_the_bits_of_one_over_all_learners_fusions_and_targets(
    hurried,
):
    """Two models of one network, whose weights differ, are what a shared module mixed up."""
    held = []
    for learner, fusion, kind in cases():
        model = initial(learner, fusion, kind)
        other = MetaModel(**{**vars(model), "params": {k: v + 0.5 for k, v in model.params.items()}})
        frame = table(kind)
        for each in (model, other):
            predictor = adapt(each, frame.iloc[:24])
            part = frame.iloc[24:28].drop(columns="y")
            held.append((predictor, part, answers(predictor, part)))
    wrong: list[int] = []
    rounds = -(-CALLS // (THREADS * len(held)))
    start = threading.Barrier(THREADS)

    def ask(seed: int) -> int:
        start.wait()
        order = np.random.default_rng(seed).permutation(np.tile(np.arange(len(held)), rounds))
        for i in order:
            predictor, rows, expected = held[i]
            if answers(predictor, rows) != expected:
                wrong.append(int(i))
        return len(order)

    with ThreadPoolExecutor(THREADS) as pool:
        calls = sum(pool.map(ask, range(THREADS)))
    assert calls >= CALLS
    assert not wrong, f"{len(wrong)} of {calls}"


def test_adapting_in_threads_gives_the_bits_of_one(hurried):
    model, frame = initial("maml", "attention", "classification"), table("classification")
    query = frame.iloc[24:].drop(columns="y")
    expected = answers(adapt(model, frame.iloc[:24]), query)
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda _: answers(adapt(model, frame.iloc[:24]), query), range(64)))
    assert set(found) == {expected}


def test_prediction_leaves_filters_of_warnings_and_thread_counts_as_they_are():
    predictor = adapt(initial("ridge", "mean", "classification"), table("classification").iloc[:24])
    rows = table("classification").iloc[24:].drop(columns="y")
    before = (list(warnings.filters), torch.get_num_threads(), torch.get_rng_state().tolist())
    seen: list[object] = []
    real = torch.set_num_threads
    torch.set_num_threads = seen.append  # type: ignore[assignment]
    try:
        predictor.predict(rows)
    finally:
        torch.set_num_threads = real
    assert not seen
    assert (list(warnings.filters), torch.get_num_threads(), torch.get_rng_state().tolist()) == before


def test_a_pure_module_shares_its_tensors_and_reads_only_the_parameters_that_it_is_given():
    layer = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    pure = Pure(layer)
    given = {k: torch.randn_like(v) for k, v in layer.named_parameters()}
    x = torch.randn(2, 3)
    expected = torch.func.functional_call(copy.deepcopy(layer), given, (x,))
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    assert torch.equal(pure(given, x), expected)
    assert all(torch.equal(v, before[k]) for k, v in layer.state_dict().items())
    copied = pure._idle[0]
    assert all(a is b for a, b in zip(copied.parameters(), layer.parameters()))


def test_a_predictor_of_every_learner_can_be_pickled_and_copied():
    for learner in LEARNERS:
        frame = table("classification")
        predictor = adapt(initial(learner, "mean", "classification"), frame.iloc[:24])
        rows = frame.iloc[24:].drop(columns="y")
        for twin in (pickle.loads(pickle.dumps(predictor)), copy.deepcopy(predictor)):
            assert answers(twin, rows) == answers(predictor, rows)


def test_a_meta_learner_can_be_cloned_as_scikit_learn_does():
    base = pytest.importorskip("sklearn.base")
    learner = mm.MetaLearner(seed=3, learner="ridge", data={"target": "y"}, train__budget=2.0)
    twin = base.clone(learner)
    assert twin is not learner and twin.experiment == learner.experiment
    assert base.clone(twin.set_params(train__episodes__way=7)).experiment.train.episodes.way == 7
    data = read_table(table("classification"), target="y")
    pickled = pickle.loads(pickle.dumps(untrained(data, component(learners, "ridge", "learner"))))
    assert pickled.modalities == ("u", "v", "size")
