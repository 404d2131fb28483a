"""Retrieval: the right cell among candidates, counted as a loop counts it, beside honest baselines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.cross_decomposition import CCA

from metamodal.artifact import save_artifact
from metamodal.errors import DataError, OptionError
from metamodal.evaluation.baselines.retrieval import _canonical, retrieval_baselines
from metamodal.evaluation.evaluating import evaluate
from metamodal.evaluation.protocol import Protocol
from metamodal.evaluation.retrieval import RANKS, Gallery, recalls, shares_found
from metamodal.meta.learners import learners
from metamodal.types import Batch


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch(**inputs: torch.Tensor) -> Batch:
    n = len(next(iter(inputs.values())))
    return Batch(inputs, {m: torch.ones(n).bool() for m in inputs}, torch.zeros(n, 0))


def test_shares_are_those_of_a_loop():
    a, b = normal(30, 4), normal(30, 4, seed=1)
    b[7], b[11] = b[3], b[4]
    same = torch.arange(30)
    same[7] = 3  # as good as row 3; row 11 is as near as row 4 and wrong
    drawn = torch.stack([torch.randperm(30)[:12] for _ in range(70)])
    drawn[0, :4] = torch.tensor([3, 7, 4, 11])
    drawn[0, 4:] = torch.tensor([0, 1, 2, 5, 6, 8, 9, 10])
    found = shares_found(a, b, same, drawn)
    for s, rows in enumerate(drawn.tolist()):
        hits = dict.fromkeys(RANKS, 0)
        for i in rows:
            near = {j: float(F.cosine_similarity(a[i], b[j], dim=0)) for j in rows}
            best = max(near[j] for j in rows if same[j] == same[i])
            nearer = sum(near[j] >= best - 1e-6 for j in rows if same[j] != same[i])
            for k in RANKS:
                hits[k] += nearer < k
        assert found[s].tolist() == pytest.approx([hits[k] / 12 for k in RANKS])


def by_pair(gallery: Gallery, candidates: int = 20, draws: int = 40, seed: int = 0) -> dict:
    return {(r.baseline, r.source, r.target): r for r in recalls(gallery, candidates, draws, seed)}


def test_one_space_finds_all_no_space_a_share_by_chance_and_a_point_none():
    raw, z = batch(a=normal(60, 3), b=normal(60, 3, seed=1)), normal(60, 8)
    none = np.array([None] * 60)
    perfect = by_pair(Gallery(raw, none, batch(a=z, b=z)))
    assert set(perfect) == {("", "a", "b"), ("", "b", "a")}
    assert perfect["", "a", "b"].intervals == [(1.0, 0.0)] * 3
    assert perfect["", "a", "b"].queries == 20 * 40
    chance = by_pair(Gallery(raw, none, batch(a=z, b=normal(60, 8, seed=2))), draws=200)
    for (mean, _), k in zip(chance["", "a", "b"].intervals, RANKS):
        assert mean == pytest.approx(k / 20, abs=0.08)
    point = by_pair(Gallery(raw, none, batch(a=z, b=torch.ones(60, 8))))
    assert point["", "a", "b"].intervals[0] == (0.0, 0.0)


def test_cells_that_read_alike_are_the_same():
    raw = batch(a=normal(30, 3), b=torch.ones(30, 2))
    found = by_pair(Gallery(raw, np.array([None] * 30), batch(a=normal(30, 4), b=torch.ones(30, 4))))
    assert found["", "a", "b"].intervals[0] == (1.0, 0.0)
    assert found["", "b", "a"].intervals[0][0] < 0.2


def test_rows_of_one_group_are_never_candidates_together():
    groups = np.array([f"g{i // 3}" for i in range(60)], dtype=object)
    z = normal(20, 8).repeat_interleave(3, 0)
    raw = batch(a=normal(60, 3), b=normal(60, 3, seed=1))
    kept = by_pair(Gallery(raw, groups, batch(a=z, b=z)), candidates=20)["", "a", "b"]
    assert kept.intervals[0] == (1.0, 0.0)
    assert by_pair(Gallery(raw, groups, batch(a=z, b=z)), candidates=100)["", "a", "b"].candidates == 20
    mixed = by_pair(Gallery(raw, np.array([None] * 60), batch(a=z, b=z)), candidates=20)["", "a", "b"]
    assert mixed.intervals[0][0] < 0.9


def test_only_rows_with_both_modalities_are_drawn_and_the_seed_decides_which():
    raw = batch(a=normal(40, 3), b=normal(40, 3, seed=1))
    present = raw.present | {"b": torch.arange(40) < 15}
    z = normal(15, 8)[torch.arange(40) % 15]  # the cells of absent rows are as near as the right ones
    rows, none = raw._replace(present=present), np.array([None] * 40)
    assert by_pair(Gallery(rows, none, batch(a=z, b=z)), 10)["", "a", "b"].intervals[0] == (1.0, 0.0)
    noisy = Gallery(rows, none, batch(a=z, b=z + normal(40, 8, seed=1)))
    one, two, other = (by_pair(noisy, 10, seed=s)["", "a", "b"].shares for s in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    nothing = raw._replace(present=raw.present | {"b": torch.zeros(40).bool()})
    with pytest.raises(DataError, match="no two test rows have two modalities both"):
        by_pair(Gallery(nothing, none, batch(a=z, b=z)))


def related(rows: int, seed: int, noise: float = 0.3) -> Batch:
    hidden = normal(rows, 4, seed=seed)
    a = hidden @ normal(4, 30, seed=90) + noise * normal(rows, 30, seed=seed + 1)
    b = hidden @ normal(4, 12, seed=91) + noise * normal(rows, 12, seed=seed + 2)
    return batch(a=a, b=b)


@pytest.mark.parametrize("name", list(retrieval_baselines))
def test_a_baseline_finds_what_is_linearly_related_and_nothing_else(name: str):
    none = np.array([None] * 100)
    known, new = related(300, 10), related(100, 20)
    found = by_pair(Gallery(new, none, None, new, known))
    assert set(found) == {(n, *pair) for n in retrieval_baselines for pair in (("a", "b"), ("b", "a"))}
    assert found[name, "a", "b"].intervals[0][0] > 0.8
    unrelated = batch(a=known.inputs["a"], b=known.inputs["b"].flip(0))
    chance = by_pair(Gallery(new, none, None, new, unrelated))
    assert chance[name, "a", "b"].intervals[0][0] < 0.25


def test_canonical_variates_are_scikit_learn_s():
    known = related(200, 10)
    x, y = (known.inputs[m].double().numpy()[:, :5] for m in "ab")
    u, v = _canonical(x, y, 5)(x, y)
    mine = [abs(np.corrcoef(u[:, i], v[:, i])[0, 1]) for i in range(3)]
    peer = CCA(3, max_iter=5000, tol=1e-12).fit_transform(x, y)
    assert mine == pytest.approx(
        [abs(np.corrcoef(peer[0][:, i], peer[1][:, i])[0, 1]) for i in range(3)], abs=1e-4
    )


def test_with_few_training_rows_there_is_no_baseline():
    few = related(12, 10)
    assert all(retrieval_baselines[name](few, "a", "b") is None for name in retrieval_baselines)


def test_the_command_measures_a_model_beside_baselines(cli, trained, shapes_file: Path, tmp_path: Path):
    folder = save_artifact(trained[0].model, tmp_path / "m")
    words = ["--way", 3, "--episodes", 5, "--retrieval", 10, "--baselines"]
    done = cli("evaluate", folder, shapes_file, *words, "--json", "--report", tmp_path / "r.html")
    assert done.code == 0, done.err
    found = json.loads(done.out)["retrieval"]
    names = ("photo", "sound", "note", "tabular", "vector")
    for key, value in (("model", "shared_space"), ("baseline", "cca"), ("baseline", "ridge_regression")):
        pairs = {(r["from"], r["to"]) for r in found if r.get(key) == value}
        assert pairs == {(a, b) for a in names for b in names if a != b}
    assert len(found) == 60
    assert {(r["candidates"], r["queries"], r["draws"]) for r in found} == {(10, 50, 5)}
    assert all(set(r["recall"]) == {"1", "5", "10"} for r in found)
    assert all(r["recall"]["10"] == {"mean": 1.0, "ci95": 0.0} for r in found)
    page = (tmp_path / "r.html").read_text()
    assert page.count('class="balance retrieval') == 1 and "cca: photo → note" in page
    shown = cli("evaluate", folder, shapes_file, *words)
    assert "retrieval among test rows, 5 draws" in shown.err
    assert sum(" → " in line for line in shown.err.splitlines()) == 60
    plain = cli("evaluate", folder, shapes_file, "--way", 3, "--episodes", 5, "--json")
    assert "retrieval" not in json.loads(plain.out)


def test_the_shared_space_is_the_same_under_every_learner(trained):
    learner, data = trained
    model, protocol = learner.model, Protocol(3, 1, episodes=4, retrieval=10)
    one, two = (
        next(iter(evaluate(m, data, [protocol]))).retrieval for m in (model, model.under(learners["maml"]()))
    )
    assert len(one) == len(two) == 20
    assert all(torch.equal(a.shares, b.shares) for a, b in zip(one, two))


def test_without_training_there_are_the_baselines_alone(cli, shapes_file: Path):
    words = ["--target", "label", "--way", 3, "--episodes", 5, "--retrieval", 10]
    done = cli("evaluate", "none", shapes_file, *words)
    assert (done.code, done.out) == (2, "")
    assert "--retrieval: an untrained model has no shared space. Pass --baselines" in done.err
    done = cli("evaluate", "none", shapes_file, *words, "--baselines", "--json")
    assert {r.get("model") for r in json.loads(done.out)["retrieval"]} == {None}


def test_baselines_need_the_rows_that_training_knew(cli, trained, shapes: pd.DataFrame, tmp_path: Path):
    folder = save_artifact(trained[0].model, tmp_path / "m")
    shapes[shapes["label"] > "class15"].to_parquet(tmp_path / "other.parquet")
    words = ["--way", 2, "--episodes", 3, "--retrieval", 5, "--baselines", "--json"]
    done = cli("evaluate", folder, tmp_path / "other.parquet", *words)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert not any("baseline" in r for r in document["retrieval"])
    assert any("retrieval has no baselines" in note for note in document["notes"])


def test_too_few_candidates_are_refused():
    with pytest.raises(OptionError, match="retrieval=1: too few candidates. Give 2 or more"):
        Protocol(retrieval=1)
    with pytest.raises(OptionError, match="retrieval=-5"):
        Protocol(retrieval=-5)
