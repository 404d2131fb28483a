"""LinearMaps: closed-form maps between modalities beside the shared space, where they help to find one by another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge

from metamodal.artifact import load_artifact, save_artifact
from metamodal.data.dataset import Dataset, read_table
from metamodal.evaluation.evaluating import evaluate
from metamodal.evaluation.protocol import Protocol
from metamodal.experiment import Experiment, Run, run
from metamodal.mappings.linear_maps import WEIGHT, LinearMaps, built, without_linear_maps
from metamodal.mappings.maps import Linear, Pairs
from metamodal.nesting import nested
from metamodal.options import parse
from metamodal.types import Batch

TRAIN = {
    "steps": 3,
    "episodes__way": 5,
    "validation__count": 1,
    "validation__episodes": 20,
    "losses__align__weight": 1.0,
}


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def related(n: int = 80, seed: int = 1) -> Batch:
    """`b` is a linear map of `a`, with a little noise; `c` is noise."""
    a = normal(n, 6, seed=seed)
    b = a @ normal(6, 5, seed=0) + 0.1 * normal(n, 5, seed=seed + 1) + 2
    inputs = {"a": a, "b": b, "c": normal(n, 4, seed=seed + 2)}
    return Batch(inputs, {m: torch.ones(n).bool() for m in inputs}, torch.zeros(n, 0))


@pytest.fixture(scope="module")
def linear_maps() -> LinearMaps:
    return LinearMaps(built(related(), ("a", "b", "c")) | {WEIGHT: torch.tensor(1.0)})


def test_the_map_is_ridge_regression(linear_maps: LinearMaps):
    known = related()
    x, y = known.inputs["a"].double(), known.inputs["b"].double()
    penalty = float(Linear().fit(Pairs(x, y), torch.Generator())["penalty"])
    peer = Ridge(alpha=penalty).fit(x.numpy(), y.numpy())
    ours = (
        known.inputs["a"] @ linear_maps.params["linear_maps.a>b"] + linear_maps.params["linear_maps.a>b.bias"]
    )
    assert torch.allclose(ours, torch.from_numpy(peer.predict(x.numpy())).float(), atol=1e-4)


@pytest.mark.parametrize("trust", [0.5, 1.0, 2.0])
def test_points_compare_tokens_and_both_sides_of_a_bridge(linear_maps: LinearMaps, trust: float):
    known, new = related(), related(20, seed=7)
    weighed = LinearMaps(linear_maps.params | {WEIGHT: torch.tensor(trust)})
    z = {"a": normal(20, 3, seed=3), "b": normal(20, 3, seed=4)}
    p = weighed.points(z["a"], new, [("a", "b")])
    q = weighed.points(z["b"], new, [("b", "a")])
    state = {
        s: Linear().fit(Pairs(known.inputs[s], known.inputs[t]), torch.Generator()) for s, t in ("ab", "ba")
    }
    mean = {m: known.inputs[m].mean(0) for m in "ab"}
    own = {m: new.inputs[m] - mean[m] for m in "ab"}
    mapped = {t: new.inputs[s] @ state[s]["weight"] + state[s]["bias"] - mean[t] for s, t in ("ab", "ba")}

    def cosines(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.normalize(u, dim=1) @ F.normalize(v, dim=1).mT

    expected = cosines(z["a"], z["b"]) + trust * (
        cosines(own["a"], mapped["a"]) + cosines(mapped["b"], own["b"])
    )
    assert torch.allclose(p @ q.mT, expected, atol=1e-4)


def test_an_absent_cell_has_no_side_and_what_it_holds_changes_nothing(linear_maps: LinearMaps):
    rows, z = related(10), normal(10, 3, seed=3)
    there = rows._replace(present=rows.present | {"a": torch.arange(10) != 4})
    found = linear_maps.points(z, there, [("a", "b")])
    rows.inputs["a"][4] = 1e6
    assert torch.equal(found, linear_maps.points(z, there, [("a", "b")]))
    assert torch.equal(found[4, 3:], torch.zeros(11))
    assert torch.allclose(found[4, :3], F.normalize(z[4], dim=0))


def test_without_bridges_a_point_is_the_direction_of_its_token(linear_maps: LinearMaps):
    z = normal(10, 3, seed=3)
    none = LinearMaps(without_linear_maps(linear_maps.params))
    assert not none and torch.allclose(none.points(z, related(10), [("a", "b")]), F.normalize(z, dim=1))


def test_few_rows_make_no_bridge():
    assert not built(related(19), ("a", "b"))


def pairs(linked: bool, classes: int = 30) -> pd.DataFrame:
    """Two vectors a row; the second hangs on the first, or only both on nothing."""
    rng, mix = np.random.default_rng(0), np.random.default_rng(1).normal(size=(8, 6))
    found = []
    for k in range(classes):
        for _ in range(8):
            u = rng.normal(size=8) + np.random.default_rng([5, k]).normal(size=8)
            v = u @ mix if linked else rng.normal(size=6)
            found.append({"u": u.tolist(), "v": v.tolist(), "label": f"class{k:02}"})
    return pd.DataFrame(found)


def trained(data: Dataset, start=None, **train: object) -> Run:
    record = {"model": {"dim": 16}, "learner": "ridge", "train": nested(TRAIN | train)}
    return run(parse(Experiment, record), data, start=start)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return read_table(pairs(linked=True), target="label")


@pytest.fixture(scope="module")
def done(data: Dataset) -> Run:
    return trained(data)


def recall(model, data: Dataset) -> float:
    (found,) = evaluate(model, data, [Protocol(3, 1, episodes=20, retrieval=20)])
    return float(np.mean([r.intervals[0][0] for r in found.retrieval]))


def test_training_that_aligns_builds_them_where_validation_rows_find_each_other_better(
    done: Run, data: Dataset
):
    model, tried = done.model, done.model.record["outcome"]["linear_maps"]
    assert model.linear_maps and list(tried) == ["0.0", "0.25", "0.5", "1.0", "2.0"]
    assert any(
        note.startswith("linear maps between modalities at weight")
        for note in model.record["outcome"]["notes"]
    )
    assert max(tried, key=tried.get) == str(float(model.params[WEIGHT]))
    bare = replace(model, params=without_linear_maps(model.params))
    assert recall(model, data) > recall(bare, data) + 0.1


def test_what_is_unrelated_gains_nothing_and_training_that_does_not_align_builds_none(data: Dataset):
    loose = trained(read_table(pairs(linked=False), target="label")).model
    scores = loose.record["outcome"]["linear_maps"]
    assert max(scores.values()) < scores["0.0"] + 0.1
    plain = trained(data, losses__align__weight=0.0).model
    assert not plain.linear_maps and plain.record["outcome"]["linear_maps"] == {}


def test_translation_chooses_candidates_over_them_and_they_are_saved(done: Run, data: Dataset, tmp_path):
    new = pairs(linked=True, classes=33).tail(24).drop(columns="label")
    model = done.model

    def hits(model) -> int:
        found = model.translate(new[["u"]], "u", "v", against=new[["v"]])
        return sum(near[0].row == i for i, near in enumerate(found.matches, 1))

    save_artifact(model, tmp_path / "model")
    assert hits(load_artifact(tmp_path / "model")) == hits(model)
    assert hits(model) > hits(replace(model, params=without_linear_maps(model.params)))


def test_a_query_of_several_modalities_goes_over_a_bridge_from_each(linear_maps: LinearMaps):
    new, z, w = related(20, seed=7), normal(20, 3, seed=3), normal(20, 3, seed=4)

    def scores(*sources: str) -> torch.Tensor:
        queries = linear_maps.points(z, new, [(m, "c") for m in sources])
        return queries @ linear_maps.points(w, new, [("c", m) for m in sources]).mT

    assert torch.allclose(scores("a", "b"), scores("a") + scores("b") - scores(), atol=1e-4)
    assert not torch.allclose(scores("a"), scores(), atol=0.1)


def test_gaps_of_a_source_are_filled_over_the_bridges_of_the_others(done: Run):
    new = pairs(linked=True).tail(24).drop(columns="label")
    some = new.assign(v=[*[None] * 12, *new["v"][12:]])
    found = done.model.translate(some, ["u", "v"], "v", against=new[["v"]])
    assert found.how == ["retrieved"] * 12 + ["given"] * 12
    assert sum(near[0].row == i for i, near in enumerate(found.matches[:12], 1)) > 6


def test_training_goes_on_without_them_and_builds_them_anew(done: Run, data: Dataset):
    more = trained(data, start=done.model, final_fit=0.5, steps=4)
    assert more.model.linear_maps and more.model.record["outcome"]["final_fit_steps"] == 2
