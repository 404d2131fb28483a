"""Each option against imbalance does what it says, and training reports what came of it."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metamodal.data.dataset import read_table
from metamodal.data.tasks.episodes import Sampling, Shape, Task, draw_episodes
from metamodal.errors import OptionError
from metamodal.estimator import MetaLearner
from metamodal.nesting import nested
from metamodal.training.episodes.balance import Balancer, Spread
from metamodal.training.episodes.options import EpisodeOptions
from metamodal.types import Batch, one_hot

SIZES = (4, 8, 16, 64)


def task(sizes=SIZES, name: str = "t", first: int = 0) -> Task:
    ends = first + np.cumsum(sizes)
    rows = tuple(np.arange(end - n, end) for n, end in zip(sizes, ends))
    return Task(name, tuple(f"c{k}" for k in range(len(sizes))), rows, tuple(r * 0 - 1 for r in rows))


def batch(n: int = sum(SIZES), absent: float = 0.0) -> Batch:
    """Two modalities whose cells say which row they are of."""
    ids = torch.arange(n, dtype=torch.float32)[:, None]
    there = torch.rand(n, generator=torch.Generator().manual_seed(0)) >= absent
    return Batch({"a": ids.clone(), "b": ids.clone()}, {"a": there, "b": ~there | True}, torch.zeros(n, 0))


def balancer(rows: Batch, **options) -> Balancer:
    return Balancer(rows, [task()], EpisodeOptions(**options), np.random.default_rng(0))


def drawn(count: int = 200, sampling: Sampling | None = None, way: int = 2, shot: int = 1, query: int = 2):
    return draw_episodes(
        [task()], Shape(way, shot, query), count, np.random.default_rng(0), sampling=sampling
    )


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_classes_are_drawn_in_proportion_to_their_rows_to_the_power(power: float):
    firsts = [names[0] for names in drawn(4000, Sampling(classes=power)).names]
    found = np.array([firsts.count(f"c{k}") for k in range(4)]) / 4000
    expected = np.array(SIZES, dtype=float) ** power
    assert np.abs(found - expected / expected.sum()).max() < 0.03


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_tasks_are_drawn_in_proportion_to_their_classes_to_the_power(power: float):
    tasks = [task((5,) * 2, "small"), task((5,) * 6, "large", 10)]
    draw = draw_episodes(
        tasks, Shape(2, 1, 1), 3000, np.random.default_rng(0), sampling=Sampling(tasks=power)
    )
    assert abs(draw.tasks.count("large") / 3000 - 6**power / (6**power + 2**power)) < 0.03


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_class_weights_are_inverse_sizes_and_one_on_average(power: float):
    draw = drawn(3, way=4)
    targets = one_hot(draw.query_codes, 4)
    weighed = balancer(batch(), class_weight=power).class_weights(draw, targets)
    for e, names in enumerate(draw.names):
        weights = np.array([SIZES[int(name[1:])] for name in names], dtype=float) ** -power
        weights /= weights.mean()
        for q, k in enumerate(draw.query_codes[e].tolist()):
            assert weighed[e, q].sum().item() == pytest.approx(weights[k], rel=1e-5)
            assert weighed[e, q].argmax() == k


def test_modality_weights_are_inverse_coverage_and_one_on_average():
    rows = batch(absent=0.5)
    share = float(rows.present["a"].float().mean())
    weights = balancer(rows).modality_weights(1.0)
    assert sum(weights.values()) == pytest.approx(2)
    assert weights["a"] / weights["b"] == pytest.approx(1 / share)
    assert balancer(rows).modality_weights(0.0) == {"a": 1.0, "b": 1.0}


@given(st.floats(0.1, 1.0), st.integers(1, 3))
def test_recombined_cells_are_of_the_same_class_present_and_never_from_the_other_side(rate: float, shot: int):
    rows = batch(absent=0.4)
    draw = drawn(8, shot=shot)
    flat = torch.cat([draw.support, draw.query], 1)
    changed = balancer(rows, mix_cells=rate).recombined(rows.take(flat.flatten()), draw)
    of_class = {int(r): k for k, members in enumerate(task().rows) for r in members}
    shots = draw.support.shape[1]
    for m in ("a", "b"):
        donors = changed.inputs[m].long().reshape(flat.shape)
        there = changed.present[m].reshape(flat.shape)
        for e in range(len(flat)):
            for i, (own, donor) in enumerate(zip(flat[e].tolist(), donors[e].tolist())):
                assert of_class[own] == of_class[donor]
                other = flat[e, shots:] if i < shots else flat[e, :shots]
                assert donor == own or donor not in other.tolist()
                assert bool(there[e, i]) == bool(rows.present[m][donor])
    assert changed.present["a"].sum() >= rows.take(flat.flatten()).present["a"].sum()


def test_without_recombination_rows_stay_as_they_are():
    rows, draw = batch(), drawn(4)
    taken = rows.take(torch.cat([draw.support, draw.query], 1).flatten())
    assert balancer(rows).recombined(taken, draw) is taken


def test_noise_falls_on_the_named_modality_where_it_is_present():
    rows = batch(absent=0.5)
    noisy = balancer(rows, noise={"a": 0.5}).noisy(rows, torch.Generator().manual_seed(0))
    moved = (noisy.inputs["a"] != rows.inputs["a"])[:, 0]
    assert torch.equal(moved, rows.present["a"])
    assert torch.equal(noisy.inputs["b"], rows.inputs["b"])
    assert (noisy.inputs["a"] - rows.inputs["a"])[moved].std() == pytest.approx(0.5, rel=0.3)


def test_dropout_adds_to_what_is_missing():
    rates = balancer(batch(), dropout={"b": 0.5}).missing_rates(torch.tensor([0.0, 0.2]))
    torch.testing.assert_close(rates, torch.tensor([[0.0, 0.5], [0.2, 0.6]]))


def test_an_unknown_modality_is_told():
    with pytest.raises(OptionError, match=r"train.episodes.noise.c: no such modality"):
        balancer(batch(), noise={"c": 1.0})


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8))
def test_the_effective_number_is_between_one_and_the_number_of_units(amounts: list[int]):
    spread = Spread.of(amounts)
    if sum(amounts):
        assert 1 - 1e-9 <= spread.effective <= len(amounts) + 1e-9
    assert Spread.of([7.0] * 5).effective == pytest.approx(5)


@pytest.fixture(scope="module")
def uneven() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"u": rng.normal(k, 1, 4).tolist(), "v": rng.normal(-k, 1, 4).tolist(), "label": f"c{k:02}"}
        for k in range(20)
        for _ in range(60 if k % 5 == 0 else 6)
    ]
    frame = pd.DataFrame(rows)
    frame.loc[frame.index % 3 > 0, "v"] = None
    return frame


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_training_reports_what_it_saw_and_learns_under_every_option(uneven: pd.DataFrame, power: float):
    options = {
        "steps": 40, "budget": 60.0, "validation__count": 1, "validation__episodes": 10, "episodes__way": 4, "episodes__class_sampling": power,
        "episodes__class_weight": power, "losses__unimodal__coverage_power": power, "episodes__mix_cells": 0.3 * power, "episodes__dropout": {"u": 0.2 * power},
    }  # fmt: skip
    data = read_table(uneven, target="label")
    model = MetaLearner(model={"dim": 16}, train=nested(options)).fit(data).model
    classes, modalities = model.record["outcome"]["balance"]
    assert classes["table"]["most"] == 60
    even = classes["seen"]["effective"] / classes["seen"]["count"]
    assert (even > 0.9) if not power else (even < 0.8)
    assert modalities["table"]["least"] == pytest.approx(1 / 3, abs=0.1)
    if power:  # classmates' cells fill some of the absent ones
        assert modalities["seen"]["least"] > 0.3 * modalities["table"]["least"]


def test_a_spread_is_plain_values():
    assert asdict(Spread.of([1, 3])).keys() == {"count", "least", "most", "effective"}
    assert Spread.of([]).ratio == np.inf
