"""Cross-modal maps beside the shared space, where they help to find one modality's cells by another's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from metamodal.artifact import load_artifact, save_artifact
from metamodal.components import kind_of, options_of
from metamodal.data.dataset import Dataset, read_table
from metamodal.evaluation.evaluating import evaluate
from metamodal.evaluation.protocol import Protocol
from metamodal.experiment import Experiment, Run, run
from metamodal.mappings.cross_modal_maps import WEIGHT, CrossModalMaps, fitted_maps, paired, without_maps
from metamodal.mappings.maps import Linear, Pairs, maps
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


NAMES = ("a", "b", "c")


def built(rows: Batch, kind: str = "linear", names: tuple[str, ...] = NAMES) -> CrossModalMaps:
    brief = {"steps": 300} if "steps" in options_of(maps[kind]).model_fields else {}
    map = maps[kind](**brief)
    params = fitted_maps(rows, map, paired(rows, names))
    return CrossModalMaps(map, params | {WEIGHT: torch.tensor(1.0)} if params else {})


@pytest.fixture(scope="module")
def linear() -> CrossModalMaps:
    return built(related())


def test_the_map_is_ridge_regression_on_principal_components(linear: CrossModalMaps):
    known = related()
    x, y = (linear.components(m, known.inputs[m]).double() for m in "ab")
    x, y = ((z - z.mean(0)) / z.std(0, correction=0) for z in (x, y))
    penalty = float(Linear().fit(Pairs(x, y), torch.Generator())["penalty"])
    peer = Ridge(alpha=penalty).fit(x.numpy(), y.numpy())
    fitted = linear.fitted("a", "b")
    assert fitted is not None
    guess = fitted(linear.components("a", known.inputs["a"])).mean
    scale, mean = fitted.state["y.scale"], fitted.state["y.mean"]
    expected = torch.from_numpy(peer.predict(x.numpy())).float() * scale + mean
    torch.testing.assert_close(guess, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("shape", [(200, 150), (100, 150)])
def test_components_are_those_of_scikit_learn(shape: tuple[int, int]):
    x = normal(*shape, seed=3) * torch.linspace(3, 0.1, shape[1])
    rows = Batch({"a": x, "b": x}, {m: torch.ones(len(x)).bool() for m in "ab"}, torch.zeros(len(x), 0))
    ours = built(rows, names=("a", "b")).components("a", x)
    k = min(128, shape[0] - 1)
    peer = torch.from_numpy(PCA(k).fit_transform(x.double().numpy())).float()
    torch.testing.assert_close(ours @ ours.mT, peer @ peer.mT, atol=2e-2, rtol=1e-3)


@pytest.mark.parametrize("weight", [0.5, 1.0, 2.0])
def test_points_compare_tokens_and_both_sides_of_a_map(linear: CrossModalMaps, weight: float):
    new = related(20, seed=7)
    weighed = CrossModalMaps(linear.map, linear.params | {WEIGHT: torch.tensor(weight)})
    z = {"a": normal(20, 3, seed=3), "b": normal(20, 3, seed=4)}
    p = weighed.points(z["a"], new, [("a", "b")])
    q = weighed.points(z["b"], new, [("b", "a")])
    x = {m: linear.components(m, new.inputs[m]) for m in "ab"}
    there, back = linear.fitted("a", "b"), linear.fitted("b", "a")
    own = {"a": x["a"] - there.state["x.mean"], "b": x["b"] - there.state["y.mean"]}
    mapped = {"b": there(x["a"]).mean - there.state["y.mean"], "a": back(x["b"]).mean - back.state["y.mean"]}

    def cosines(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.normalize(u, dim=1) @ F.normalize(v, dim=1).mT

    expected = cosines(z["a"], z["b"]) + weight * (
        cosines(own["a"], mapped["a"]) + cosines(mapped["b"], own["b"])
    )
    assert torch.allclose(p @ q.mT, expected, atol=1e-4)


@pytest.mark.parametrize("kind", list(maps))
def test_an_absent_cell_has_no_side_and_what_it_holds_changes_nothing(kind: str):
    made = built(related(), kind, ("a", "b"))
    rows, z = related(10), normal(10, 3, seed=3)
    there = rows._replace(present=rows.present | {"a": torch.arange(10) != 4})
    found = made.points(z, there, [("a", "b")])
    rows.inputs["a"][4] = torch.nan
    assert torch.equal(found, made.points(z, there, [("a", "b")]))
    assert found[4, 3:].eq(0).all()
    assert torch.allclose(found[4, :3], F.normalize(z[4], dim=0))


@pytest.mark.parametrize("kind", list(maps))
def test_every_kind_of_map_finds_related_rows(kind: str):
    made, new = built(related(400), kind, ("a", "b")), related(60, seed=7)
    none = torch.zeros(60, 1)
    p, q = made.points(none, new, [("a", "b")]), made.points(none, new, [("b", "a")])
    assert ((p @ q.mT).argmax(1) == torch.arange(60)).float().mean() > 0.5


def test_without_maps_a_point_is_the_direction_of_its_token(linear: CrossModalMaps):
    z = normal(10, 3, seed=3)
    none = CrossModalMaps(None, without_maps(linear.params))
    assert not none and torch.allclose(none.points(z, related(10), [("a", "b")]), F.normalize(z, dim=1))


def test_few_rows_make_no_map():
    assert paired(related(19), ("a", "b")) == []


def test_an_adaptive_map_is_corrected_by_a_tasks_own_rows():
    tasks = torch.arange(40).repeat_interleave(10)
    shift = 3 * normal(40, 5, seed=9)[tasks]
    rows = related(400)
    rows.inputs["b"] += shift
    map = maps["adaptive"]()
    params = fitted_maps(rows, map, [("a", "b")], tasks=tasks) | {WEIGHT: torch.tensor(1.0)}
    common, new = CrossModalMaps(map, params), related(30, seed=7)
    new.inputs["b"] += 3 * normal(1, 5, seed=11)
    own = common.adapted(new.take(torch.arange(20)))
    rest = new.take(torch.arange(20, 30))

    def error(made: CrossModalMaps) -> float:
        fitted = made.fitted("a", "b")
        guess = fitted(made.components("a", rest.inputs["a"])).mean
        return float((guess - made.components("b", rest.inputs["b"])).square().mean())

    assert error(own) < 0.5 * error(common)


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


def trained(data: Dataset, start=None, mapping: str = "linear", **train: object) -> Run:
    record = {"model": {"dim": 16}, "learner": "ridge", "mapping": mapping, "train": nested(TRAIN | train)}
    return run(parse(Experiment, record), data, start=start)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return read_table(pairs(linked=True), target="label")


@pytest.fixture(scope="module")
def done(data: Dataset) -> Run:
    return trained(data, mapping="auto")


def recall(model, data: Dataset) -> float:
    (found,) = evaluate(model, data, [Protocol(3, 1, episodes=20, retrieval=20)])
    return float(np.mean([r.intervals[0][0] for r in found.retrieval]))


def test_training_that_aligns_chooses_the_map_by_which_validation_rows_find_each_other(
    done: Run, data: Dataset
):
    outcome, model = done.model.record["outcome"], done.model
    assert model.maps and set(outcome["maps"]) == {"none", *maps}
    best = {kind: max(scores.values()) for kind, scores in outcome["maps"].items()}
    assert best[outcome["mapping"]] == max(best.values())
    assert kind_of(maps, model.spec.mapping) == outcome["mapping"]
    tried = outcome["maps"][outcome["mapping"]]
    assert max(tried, key=tried.get) == str(float(model.params[WEIGHT]))
    assert any(note.startswith(f"cross-modal maps: {outcome['mapping']}") for note in outcome["notes"])
    bare = replace(model, params=without_maps(model.params))
    assert recall(model, data) > recall(bare, data) + 0.1


def test_no_kind_is_begun_after_the_share_of_the_budget(data: Dataset, monkeypatch):
    monkeypatch.setattr("metamodal.training.after.stage._SHARE", 0.0)
    model = trained(data, mapping="auto", steps=None, budget=1.0).model
    outcome = model.record["outcome"]
    assert set(outcome["maps"]) == {"none", "linear"} and outcome["mapping"] == "linear"
    late = "not tried within the budget: nonlinear, adaptive, autoencoder, transformer"
    assert any(late in note for note in outcome["notes"])


def test_what_is_unrelated_gains_nothing_and_training_that_does_not_align_has_no_maps(data: Dataset):
    loose = trained(read_table(pairs(linked=False), target="label")).model
    scores = loose.record["outcome"]["maps"]
    assert max(max(of.values()) for of in scores.values()) < scores["none"]["0.0"] + 0.1
    plain = trained(data, mapping="auto", losses__align__weight=0.0).model
    assert not plain.maps and plain.record["outcome"]["maps"] == {}


def test_a_kind_that_is_asked_for_is_taken_without_alignment_too(data: Dataset, tmp_path):
    record = {
        "model": {"dim": 16},
        "learner": "ridge",
        "train": nested(TRAIN | {"losses__align__weight": 0.0}),
    }
    asked = parse(Experiment, record | {"mapping": {"kind": "nonlinear", "hidden": 32}})
    model = run(asked, data).model
    assert set(model.record["outcome"]["maps"]) == {"none", "nonlinear"}
    assert model.spec.mapping == maps["nonlinear"](hidden=32)
    save_artifact(model, tmp_path / "model")
    assert load_artifact(tmp_path / "model").spec == model.spec


def test_translation_chooses_candidates_by_them_and_they_are_saved(done: Run, data: Dataset, tmp_path):
    new = pairs(linked=True, classes=33).tail(24).drop(columns="label")
    model = done.model

    def hits(model) -> int:
        found = model.translate(new[["u"]], "u", "v", against=new[["v"]])
        return sum(near[0].row == i for i, near in enumerate(found.matches, 1))

    save_artifact(model, tmp_path / "model")
    assert hits(load_artifact(tmp_path / "model")) == hits(model)
    assert hits(model) > hits(replace(model, params=without_maps(model.params)))


def test_a_query_of_several_modalities_is_mapped_from_each(linear: CrossModalMaps):
    new, z, w = related(20, seed=7), normal(20, 3, seed=3), normal(20, 3, seed=4)

    def scores(*sources: str) -> torch.Tensor:
        queries = linear.points(z, new, [(m, "c") for m in sources])
        return queries @ linear.points(w, new, [("c", m) for m in sources]).mT

    assert torch.allclose(scores("a", "b"), scores("a") + scores("b") - scores(), atol=1e-4)
    assert not torch.allclose(scores("a"), scores(), atol=0.1)


def test_gaps_of_a_source_are_filled_by_the_maps_of_the_others(done: Run):
    new = pairs(linked=True).tail(24).drop(columns="label")
    some = new.assign(v=[*[None] * 12, *new["v"][12:]])
    found = done.model.translate(some, ["u", "v"], "v", against=new[["v"]])
    assert found.how == ["retrieved"] * 12 + ["given"] * 12
    assert sum(near[0].row == i for i, near in enumerate(found.matches[:12], 1)) > 6


def test_training_goes_on_without_them_and_fits_them_anew(done: Run, data: Dataset):
    more = trained(data, start=done.model, final_fit=0.5, steps=4)
    assert more.model.maps and more.model.record["outcome"]["final_fit_steps"] == 2


def test_candidates_that_have_both_modalities_correct_an_adaptive_map():
    """In a new table the second vector is shifted, as by an instrument that was set anew."""
    rng, mix = np.random.default_rng(0), np.random.default_rng(1).normal(size=(8, 6))

    def rows(visit: int, count: int = 12) -> pd.DataFrame:
        u = rng.normal(size=(count, 8))
        v = u @ mix + 4 * np.random.default_rng([9, visit]).normal(size=6)
        return pd.DataFrame(
            {"u": u.tolist(), "v": v.tolist(), "visit": f"visit{visit}", "label": ["a", "b"] * (count // 2)}
        )

    data = read_table(
        pd.concat([rows(visit) for visit in range(24)], ignore_index=True), target="label", task="visit"
    )
    record = {
        "model": {"dim": 16},
        "learner": "ridge",
        "mapping": "adaptive",
        "train": nested(TRAIN | {"episodes__way": 2}),
    }
    model = run(parse(Experiment, record), data).model
    new = rows(99, 40).drop(columns=["label", "visit"])
    candidates = new.assign(u=[*[None] * 20, *new["u"][20:]])

    def hits(model) -> int:
        found = model.translate(new[["u"]].head(20), "u", "v", against=candidates)
        return sum(near[0].row == i for i, near in enumerate(found.matches, 1))

    plain = replace(model, spec=replace(model.spec, mapping=None))
    assert model.maps.adapts and hits(model) > hits(plain)
