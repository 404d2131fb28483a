"""Fusion must not hurt: the guard sees where it does, and what is left answers by one modality."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import metamodal as mm
from metamodal.adaptation import adapt
from metamodal.artifact import load_artifact, save_artifact
from metamodal.components import component
from metamodal.experiment import Experiment, run
from metamodal.mappings.fusion import fusions
from metamodal.mappings.model import NetworkSpec, build_model
from metamodal.meta.engine import Engine
from metamodal.meta.learners import Ridge, UnimodalFallback
from metamodal.nesting import nested
from metamodal.training.after.fallback import Fallback
from metamodal.types import Batch, Episode, Space, one_hot

TRAIN = {
    "steps": 20,
    "episodes__way": 5,
    "validation__count": 1,
    "validation__episodes": 60,
    "losses__unimodal__weight": 0.0,
}


def misled(classes: int = 30, rows: int = 8) -> pd.DataFrame:
    """`good` tells the classes apart; `loud` is large, and in every class alike noise."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(classes):
        centre = np.random.default_rng([3, k]).normal(size=6)
        for _ in range(rows):
            good, loud = centre + rng.normal(0, 0.3, 6), rng.normal(0, 1, 200)
            found.append({"good": good.tolist(), "loud": loud.tolist(), "label": f"class{k:02}"})
    return pd.DataFrame(found)


def complementary(classes: int = 30, rows: int = 8) -> pd.DataFrame:
    """Two noisy views of a class, each as good as the other."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(classes):
        centre = np.random.default_rng([5, k]).normal(size=(2, 4))
        for _ in range(rows):
            u, v = centre + rng.normal(0, 0.8, (2, 4))
            found.append({"u": u.tolist(), "v": v.tolist(), "label": f"class{k:02}"})
    return pd.DataFrame(found)


def trained(frame: pd.DataFrame, **train: object):
    record = {"model": {"dim": 16}, "learner": "ridge", "train": nested(TRAIN | train)}
    return run(Experiment.model_validate(record), mm.read_table(frame, target="label"))


def test_where_all_do_worse_training_falls_back_on_the_best_and_warns():
    done = trained(misled())
    outcome = done.model.record["outcome"]
    assert outcome["fallback"]["best_single"] == "good"
    assert outcome["fallback"]["falls_back"]
    assert any("over good alone" in note for note in outcome["notes"])
    assert done.model.engine.learner == UnimodalFallback("good", Ridge())


def test_the_guard_can_be_left_out_and_stays_away_where_fusion_helps():
    assert trained(misled(), fallback=False).model.engine.learner == Ridge()
    done = trained(complementary())
    assert not done.model.record["outcome"]["fallback"]["falls_back"]
    assert done.model.engine.learner == Ridge()


def test_a_model_that_fell_back_predicts_as_one_of_the_modality_alone(tmp_path):
    frame = misled()
    model = trained(frame).model
    save_artifact(model, tmp_path / "model")
    loaded = load_artifact(tmp_path / "model")
    support, query = frame[frame.index % 8 == 0].head(5), frame[frame.index % 8 == 1].head(5)
    both, one = (
        adapt(loaded, support[[*of, "label"]]).predict_proba(query[of]) for of in (["good", "loud"], ["good"])
    )
    pd.testing.assert_frame_equal(both, one)


@pytest.mark.parametrize("seed", range(3))
def test_guarded_answers_by_its_modality_where_that_can_and_by_all_elsewhere(seed: int):
    torch.manual_seed(seed)
    model = build_model(
        {m: ("embedding", Space(m, (4,))) for m in "ab"}, NetworkSpec(component(fusions, "mean"), 8)
    )

    def rows(n: int, present: dict[str, list[int]], codes: torch.Tensor) -> Batch:
        there = {m: torch.tensor(p).bool() for m, p in present.items()}
        return Batch({m: torch.randn(n, 4) for m in "ab"}, there, one_hot(codes, 2))

    codes = torch.tensor([0, 0, 1, 1])
    query = rows(3, {"a": [1, 0, 1], "b": [1, 1, 0]}, torch.tensor([0, 1, 1]))
    engines = {
        name: Engine(model, learner, ("a", "b"))
        for name, learner in (("plain", Ridge()), ("one", UnimodalFallback("a", Ridge())))
    }
    params = engines["plain"].initial()

    def logits(name: str, support: Batch, query: Batch, *names: str) -> torch.Tensor:
        engine = engines[name]
        episode = Episode(engine.encode(params, support), engine.encode(params, query))
        return engine.logits(params, episode.only(names or "ab"))[0]

    full = rows(4, {"a": [1, 0, 1, 1], "b": [1, 1, 1, 1]}, codes)
    found, everything = logits("one", full, query), logits("plain", full, query)
    assert torch.equal(found[[0, 2]], logits("plain", full, query, "a")[[0, 2]])
    assert torch.equal(found[1], everything[1])
    blind = full._replace(
        present=full.present | {"a": torch.tensor([1, 1, 0, 0]).bool()}
    )  # class 1 unseen in a
    assert torch.equal(logits("one", blind, query), logits("plain", blind, query))


@pytest.mark.parametrize(
    ("gain", "ci95", "idle", "falls_back"),
    [
        (0.05, 0.02, False, True),
        (-0.01, 0.05, False, False),
        (-0.01, 0.05, True, True),  # better, but not beyond doubt, by what says nothing alone
        (-0.08, 0.05, True, False),
        (0.0, 0.0, True, False),  # all answers alike
        (0.0, 0.0, False, False),
    ],
)
def test_modalities_that_say_nothing_alone_have_to_prove_their_gain(
    gain: float, ci95: float, idle: bool, falls_back: bool
):
    assert Fallback("a", gain, ci95, idle).falls_back == falls_back


def test_noise_is_known_to_be_idle():
    assert trained(misled()).model.record["outcome"]["fallback"]["others_at_chance"]
    assert not trained(complementary()).model.record["outcome"]["fallback"]["others_at_chance"]
