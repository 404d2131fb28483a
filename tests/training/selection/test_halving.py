"""Automatic choice: rounds within the budget, the worse half out, test rows untouched; and workers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metamodal.components import Auto, component
from metamodal.data.dataset import read_table
from metamodal.experiment import Experiment, run
from metamodal.mappings.fusion import fusions
from metamodal.meta.learners import learners
from metamodal.nesting import nested
from metamodal.options import parse
from metamodal.outputs import CLASSIFICATION, outputs
from metamodal.training.loop.progress import Progress
from metamodal.training.loop.workers import Workers
from metamodal.training.selection.halving import Candidate, candidates, halved, rounds_of


@given(st.integers(1, 30), st.floats(1, 1e5))
def test_the_rounds_use_up_the_budget_and_halve_the_field(count: int, budget: float):
    rounds = rounds_of(count, budget)
    assert sum(size * seconds for size, seconds in rounds) == pytest.approx(budget)
    sizes = [size for size, _ in rounds]
    assert sizes[-1] == 1 and all(2 * b >= a > b for a, b in pairwise(sizes))
    assert len(rounds) == 1 or rounds[0][1] >= 10


def test_the_best_candidate_wins_and_trains_on_from_where_it_was():
    merits = {"ridge": 0.3, "prototypes": 0.9, "convex": 0.5, "matching": 0.1}
    calls: list[tuple[str, float, float | None]] = []

    def trial(candidate: Candidate, seconds: float, state: float | None) -> tuple[float, float, float]:
        calls.append((candidate.name, seconds, state))
        return merits[candidate.name], 0.01, (state or 0.0) + seconds

    found = halved([Candidate(learners[name]()) for name in merits], 400.0, trial)
    assert [place.candidate.name for place in found.board] == [
        "prototypes",
        "convex",
        "ridge",
        "matching",
    ]
    assert [(name, seconds) for name, seconds, _ in calls] == [
        *((name, 25.0) for name in merits),
        ("prototypes", 50.0),
        ("convex", 50.0),
        ("prototypes", 200.0),
    ]
    assert found.state == 275.0 == found.board[0].seconds


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
@pytest.mark.parametrize("modalities", [1, 3])
def test_every_candidate_has_a_name_of_its_own_and_can_be_built(kind: str, modalities: int):
    both = [component(fusions, name) for name in ("mean", "attention")]
    found = candidates(modalities, outputs[kind], Auto(), both)
    assert len({c.name for c in found}) == len(found) > 4


def test_options_without_a_kind_leave_the_candidates_that_have_them():
    (mean,) = found = [component(fusions, "mean")]
    names = [c.name for c in candidates(2, CLASSIFICATION, Auto({"penalty": 2.0}), found)]
    assert names == ["ridge(penalty=2.0)", "convex(penalty=2.0)", "ridge(penalty=2.0), lr=0.003"]
    (first, *_) = candidates(2, CLASSIFICATION, Auto({"inner_lr": 0.5}), [mean])
    assert first.learner == component(learners, {"kind": "anil", "inner_lr": 0.5})
    assert [c.name for c in candidates(2, CLASSIFICATION, Auto({"modality": "x"}), [mean])]


@pytest.fixture
def chosen(shapes: pd.DataFrame, monkeypatch: pytest.MonkeyPatch):
    """A search over two candidates, and what was seen of it."""
    monkeypatch.setattr("metamodal.training.selection.halving._LEAST_SECONDS", 1.0)
    seen: list[Progress] = []
    options = {
        "model": {"dim": 16},
        "train": {"budget": 4.2, "episodes": {"way": 8}, "validation": {"count": 2, "episodes": 20}},
    }
    return run(parse(Experiment, options), read_table(shapes, target="label"), seen.append), seen


def test_the_leaderboard_is_in_the_record_and_the_winner_in_the_model(chosen):
    done, seen = chosen
    board = done.model.record["outcome"]["leaderboard"]
    assert len(board) == 2
    assert board[0]["rounds"] == 2 and board[1]["rounds"] == 1
    assert board[0]["valid"]["mean"] == done.model.record["outcome"]["valid_accuracy"]
    assert done.model.spec.to_dict()["learner"] == board[0]["learner"]
    assert {p.candidate for p in seen} == {place["name"] for place in board}
    assert [p.elapsed for p in seen] == sorted(p.elapsed for p in seen)


def test_with_a_number_of_steps_nothing_is_searched():
    assert parse(Experiment, {}).searches
    assert not parse(Experiment, {"train": {"steps": 5}}).searches
    assert not parse(Experiment, {"learner": "ridge"}).searches


def test_workers_average_what_each_of_them_finds():
    weights = torch.zeros(3).share_memory_()
    with Workers(3, lambda number: weights * (number + 1), 3) as workers:
        for step in range(3):
            weights[:] = torch.tensor([1.0, 2.0, float(step)])
            torch.testing.assert_close(workers.mean(), 2 * weights)


def test_a_failure_in_another_process_is_told_with_its_place():
    def job(number: int) -> torch.Tensor:
        if number:
            raise ValueError("no such row")
        return torch.zeros(1)

    with Workers(2, job, 1) as workers, pytest.raises(RuntimeError, match="no such row"):
        workers.mean()


def test_two_workers_give_the_same_weights_again_and_learn(hidden: pd.DataFrame):
    data = read_table(hidden, target="label")
    train = {
        "steps": 20,
        "budget": 120.0,
        "episodes__way": 8,
        "validation__count": 2,
        "validation__episodes": 30,
        "workers": 2,
    }
    one, two = (
        run(parse(Experiment, {"model": {"dim": 16}, "learner": "ridge", "train": nested(train)}), data)
        for _ in range(2)
    )
    assert all(torch.equal(one.model.params[k], two.model.params[k]) for k in one.model.params)
    alone = run(
        parse(
            Experiment, {"model": {"dim": 16}, "learner": "ridge", "train": nested(train | {"workers": 1})}
        ),
        data,
    )
    assert any(not torch.equal(one.model.params[k], alone.model.params[k]) for k in one.model.params)
    assert np.isfinite(one.trained.history[-1].loss)


@pytest.mark.parametrize("outer", ["displacement", "supervised"])
def test_other_outer_rules_beat_the_untrained_self(hidden: pd.DataFrame, outer: str):
    data = read_table(hidden, target="label")
    learner = {"kind": "maml", "steps": 2}

    def validated(steps: int, lr: float) -> float:
        train = {
            "steps": steps,
            "budget": 120.0,
            "episodes__way": 8,
            "validation__count": 1,
            "validation__episodes": 200,
            "optimiser__lr": lr,
        }
        options = {"model": {"dim": 16}, "learner": learner, "train": nested(train | {"outer": outer})}
        return run(parse(Experiment, options), data).model.record["outcome"]["valid_accuracy"]

    assert validated(120, 1e-3) > validated(1, 1e-9) + 0.03
