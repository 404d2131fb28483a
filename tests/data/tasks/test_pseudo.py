"""Meta-training from rows without labels: what pseudo-tasks are, and that something is learned from them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import hidden_table
from metamodal.data.dataset import read_table
from metamodal.data.tasks.episodes import Shape, draw_episodes
from metamodal.data.tasks.pseudo import EACH_ROW, crossed, pseudo_tasks
from metamodal.data.tasks.splits import Plan, unlabelled_rows
from metamodal.errors import DataError
from metamodal.evaluation.evaluating import evaluate
from metamodal.evaluation.held_out import held_out
from metamodal.evaluation.protocol import Protocol
from metamodal.experiment import Experiment, run
from metamodal.nesting import merged, nested
from metamodal.options import parse
from metamodal.types import Batch

BRIEF = {
    "steps": 100,
    "budget": 120.0,
    "episodes__way": 20,
    "validation__count": 2,
    "validation__episodes": 30,
}


def experiment(**changes) -> Experiment:
    train = merged(nested(BRIEF), changes.pop("train", {}))
    return parse(Experiment, {"learner": "ridge", "model": {"dim": 16}, "train": train} | changes)


def features(rows: int = 120, seed: int = 0) -> Batch:
    """Two modalities over ten clusters far apart, the second absent in a third of the rows."""
    g = torch.Generator().manual_seed(seed)
    codes = torch.arange(rows) % 10
    inputs = {m: 10 * torch.eye(10)[codes] + torch.randn(rows, 10, generator=g) for m in "ab"}
    present = {"a": torch.ones(rows).bool(), "b": torch.arange(rows) % 3 > 0}
    return Batch(inputs, present, torch.zeros(rows, 0))


def test_every_row_is_a_class_of_its_own_and_clusters_share_none():
    numbers = np.arange(120) + 1000
    each, *clusters = pseudo_tasks(features(), numbers)
    assert each.name == EACH_ROW
    assert sorted(rows[0] for rows in each.rows) == numbers.tolist()
    assert all(len(set(rows)) == 1 for rows in each.rows)
    assert {task.name.split(",")[0] for task in clusters} == {f"clusters by {m}" for m in ("a", "b", "all")}
    for task in clusters:
        members = np.concatenate(task.rows)
        assert len(set(members)) == len(members)
        assert all(len(rows) > 1 for rows in task.rows)
        if task.name.startswith("clusters by b"):
            assert set(members) <= set(numbers[np.arange(120) % 3 > 0])


def test_rows_of_one_cluster_belong_together():
    for task in pseudo_tasks(features(), np.arange(120))[1:]:
        pairs = [(rows % 10 == rows[0] % 10).mean() for rows in task.rows if len(task.rows) >= 10]
        assert not pairs or np.mean(pairs) > 0.9


def test_pseudo_tasks_are_seeded_and_partitions_differ():
    def members(seed: int) -> list[list[int]]:
        return [np.concatenate(t.rows).tolist() for t in pseudo_tasks(features(), np.arange(120), seed)]

    assert members(0) == members(0)
    assert members(0) != members(1)


def test_crossed_episodes_share_no_modality_and_no_row_loses_everything():
    batch = features(60)
    tasks = pseudo_tasks(batch, np.arange(60))[:1]
    draw = draw_episodes(tasks, Shape(5, 2, 2), 40, np.random.default_rng(0))
    drawn = batch.take(torch.cat([draw.support, draw.query], 1).flatten())
    found = crossed(drawn, draw, 1.0, torch.Generator().manual_seed(0))
    before, after = (torch.stack(list(x.present.values()), -1) for x in (drawn, found))
    assert not (after & ~before).any()
    assert torch.equal(before.any(-1), after.any(-1))
    both = before.all(-1).view(40, -1)
    sides = after.view(40, -1, 2)
    for e in range(40):
        support, query = sides[e, :10][both[e, :10]], sides[e, 10:][both[e, 10:]]
        assert not (support.any(0) & query.any(0)).any()
    assert crossed(drawn, draw, 0.0, torch.Generator()).present["a"].equal(drawn.present["a"])


def two_views(classes: int = 60, rows: int = 10) -> pd.DataFrame:
    """Two vectors of a row that agree in what the row is, each hidden among directions of noise."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(classes):
        for _ in range(rows):
            latent = np.random.default_rng([11, k]).normal(size=5) + rng.normal(0, 0.4, 5)
            u, v = (np.concatenate([latent + rng.normal(0, 0.2, 5), rng.normal(0, 1, 25)]) for _ in "uv")
            found.append({"u": u.tolist(), "v": v.tolist(), "label": f"class{k:02}"})
    return pd.DataFrame(found)


@pytest.fixture(scope="module")
def tables():
    """A table without labels, and rows of other classes with theirs."""
    whole = two_views()
    new = whole["label"] >= "class45"
    labelled = read_table(whole[new].reset_index(drop=True), target="label")
    return read_table(whole[~new].drop(columns="label").reset_index(drop=True)), labelled


def accuracy(model, data) -> float:
    (found,) = evaluate(model, data, [Protocol(5, 1, episodes=150)], rows=np.arange(len(data)))
    return found.whole.accuracy[0]


def test_training_without_labels_beats_the_untrained_self_on_labelled_classes(tables):
    unlabelled, labelled = tables
    before = accuracy(
        run(experiment(train={"steps": 1, "optimiser": {"lr": 1e-9}}), unlabelled).model, labelled
    )
    done = run(experiment(train={"optimiser": {"lr": 2e-3}}), unlabelled)
    assert accuracy(done.model, labelled) > before + 0.08
    said = " ".join(done.model.record["outcome"]["notes"])
    assert "all training episodes come from 270 rows without their labels" in said
    assert "validation is on such episodes too" in said
    assert done.model.seen.classes == frozenset()


def test_the_same_seed_gives_the_same_weights_without_labels(tables):
    one, two = (run(experiment(train={"steps": 5}), tables[0]).model.params for _ in range(2))
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_a_table_learned_without_labels_is_tested_on_rows_kept_out(tables):
    whole = hidden_table(classes=20, rows=6)
    done = run(experiment(train={"steps": 3}), read_table(whole.drop(columns="label")))
    labelled = read_table(whole, target="label")
    rows, unseen, _ = held_out(done.model, labelled)
    assert unseen
    assert set(rows) == set(done.split.test)


def test_rows_without_a_label_help_where_few_have_one():
    frame = hidden_table(classes=24, rows=6)
    frame.loc[frame.index % 6 > 2, "label"] = None
    data = read_table(frame, target="label")
    done = run(experiment(train={"steps": 5, "episodes": {"unlabelled": 0.5}}), data)
    spare = unlabelled_rows(data.keys(), done.split)
    assert len(spare) == (frame.index % 6 > 2).sum()
    rows = len(spare) + len(done.split.train)
    assert f"50 % of training episodes come from {rows} rows" in done.model.record["outcome"]["notes"][0]
    assert run(experiment(train={"steps": 3}), data).model.record["outcome"]["notes"] == []


def test_rows_without_a_label_stay_away_from_later_groups_and_parts():
    frame = hidden_table(classes=6, rows=10)
    frame["speaker"] = [f"s{i % 10}" for i in range(len(frame))]
    frame.loc[frame.index % 7 == 0, "label"] = None
    data = read_table(frame, target="label", group="speaker", plan=Plan(by="group"))
    split = data.split()
    later = set(data.groups()[np.concatenate([split.valid, split.test])])
    spare = unlabelled_rows(data.keys(), split)
    assert len(spare)
    assert not later & set(data.groups()[spare])
    frame["part"] = np.where(frame.index < 30, "train", "test")
    data = read_table(frame, target="label", split="part")
    assert set(unlabelled_rows(data.keys(), data.split())) == set(range(0, 30, 7))


def test_a_training_part_without_labels_is_learned_from_without_them():
    frame = hidden_table(classes=16, rows=6)
    frame["part"] = np.where(frame["label"] < "class08", "train", "test")
    frame.loc[frame["part"] == "train", "label"] = None
    data = read_table(frame, target="label", split="part")
    done = run(experiment(train={"steps": 3}), data)
    assert "validation is on such episodes too" in done.model.record["outcome"]["notes"][-1]
    with pytest.raises(DataError, match="no task of the training part has two classes"):
        run(experiment(train={"steps": 3, "episodes": {"unlabelled": 0.0}}), data)


def test_the_command_line_trains_without_a_target(cli, tmp_path):
    whole = hidden_table(classes=16, rows=6)
    whole.drop(columns="label").to_parquet(tmp_path / "rows.parquet")
    whole.assign(label="new " + whole["label"]).to_parquet(tmp_path / "labelled.parquet")
    steps = ("train.steps=3", "train.validation.episodes=10", "model.dim=16", "learner=ridge")
    found = cli("train", tmp_path / "rows.parquet", "--out", tmp_path / "run", "--json", *steps)
    assert found.code == 0, found.err
    assert json.loads(found.out)["evaluations"] == []
    assert "says nothing of any label" in found.err
    assert "no --target: training on rows without labels" in found.err
    asked = cli(
        "evaluate",
        tmp_path / "run" / "model",
        tmp_path / "labelled.parquet",
        "--target",
        "label",
        "--episodes",
        10,
        "--json",
    )
    assert asked.code == 0, asked.err
    assert json.loads(asked.out)["protocol"]["unseen_classes"]


def test_no_label_at_all_in_a_named_target_is_an_error():
    frame = pd.DataFrame({"x": range(10), "label": [None] * 10})
    with pytest.raises(DataError, match="or name no target and train without labels"):
        run(experiment(), read_table(frame, target="label"))
