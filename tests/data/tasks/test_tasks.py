"""Episodes are what they claim: so many classes and rows, nothing shared, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metamodal.data.tasks.episodes import Shape, draw_episodes, episodes_of, random_missing, tasks_of
from metamodal.errors import DataError, OptionError
from metamodal.types import Batch


def columns(labels, tasks=None, groups=None):
    def column(values):
        values = [None] * len(labels) if values is None else values
        return np.array([None if v is None else str(v) for v in values], dtype=object)

    return column(labels), column(tasks), column(groups)


def tasks_from(labels, tasks=None, groups=None):
    return tasks_of(*columns(labels, tasks, groups), np.arange(len(labels)))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.integers(1, 3), st.integers(1, 5), st.integers(0, 100))
def test_an_episode_has_its_shape_and_shares_no_row(way: int, shot: int, query: int, seed: int):
    labels = np.repeat(np.arange(8), 6)
    draw = draw_episodes(tasks_from(labels), Shape(way, shot, query), 4, np.random.default_rng(seed))
    for e in range(4):
        support, rows = draw.support[e].numpy(), draw.query[e].numpy()
        codes = draw.query_codes[e].numpy()
        real = rows[codes >= 0]
        assert len(set(support) | set(real)) == len(support) + len(real)
        assert (np.bincount(draw.support_codes[e]) == shot).all()
        assert (np.bincount(codes[codes >= 0]) == min(query, 6 - shot)).all()
        for row, code in zip(support, draw.support_codes[e]):
            assert str(labels[row]) == draw.names[e][code]
        for row, code in zip(real, codes[codes >= 0]):
            assert str(labels[row]) == draw.names[e][code]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 4), st.integers(1, 3), st.integers(0, 100))
def test_what_is_to_be_apart_is_on_one_side_of_an_episode(way: int, shot: int, seed: int):
    labels = np.repeat(np.arange(6), 10)
    said = np.random.default_rng(seed).integers(7, size=60).astype(str).astype(object)
    tasks = tasks_of(*columns(labels), np.arange(60), disjoint_by=said)
    draw = draw_episodes(tasks, Shape(way, shot, 4), 5, np.random.default_rng(seed))
    for e in range(5):
        real = draw.query[e][draw.query_codes[e] >= 0]
        assert not set(said[draw.support[e]]) & set(said[real])
        assert (np.bincount(draw.support_codes[e]) == shot).all()
        assert set(draw.query_codes[e].tolist()) >= set(range(way))


def test_what_cannot_be_kept_apart_is_an_error_that_says_so():
    said = np.array(["one"] * 20, dtype=object)
    tasks = tasks_of(*columns(np.repeat(np.arange(2), 10)), np.arange(20), disjoint_by=said)
    with pytest.raises(DataError, match="each value of the --disjoint-by column is kept to one of the two"):
        draw_episodes(tasks, Shape(2, 1, 3), 5, np.random.default_rng(0))


def test_the_same_seed_draws_the_same_episodes_and_another_others():
    tasks = tasks_from(np.repeat(np.arange(10), 8))
    one, two, three = (
        draw_episodes(tasks, Shape(5, 1, 3), 6, np.random.default_rng(s)).support for s in (0, 0, 1)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


def test_an_episode_stays_within_one_task():
    labels = np.tile(np.repeat(np.arange(4), 5), 3)
    values = np.repeat(["a", "b", "c"], 20)
    draw = draw_episodes(tasks_from(labels, values), Shape(3, 1, 2), 20, np.random.default_rng(0))
    found = {
        frozenset(values[r] for r in torch.cat([s, q]).tolist()) for s, q in zip(draw.support, draw.query)
    }
    assert found == {frozenset(v) for v in "abc"}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000))
def test_support_and_query_of_a_class_share_no_group(seed: int):
    labels = np.repeat(np.arange(5), 12)
    groups = np.tile(np.repeat(np.arange(4), 3), 5)
    draw = draw_episodes(tasks_from(labels, groups=groups), Shape(4, 2, 6), 3, np.random.default_rng(seed))
    for e in range(3):
        for code in range(4):
            support = {groups[r] for r in draw.support[e][draw.support_codes[e] == code].tolist()}
            query = {groups[r] for r in draw.query[e][draw.query_codes[e] == code].tolist()}
            assert query
            assert not support & query


def test_too_few_classes_or_rows_are_an_error_with_the_numbers():
    tasks = tasks_from([1, 1, 2, 2, 3])
    with pytest.raises(
        DataError, match="3-way 1-shot needs 3 classes of 2 or more rows, and there are 2 \\(.*\\). Lower"
    ):
        draw_episodes(tasks, Shape(3, 1, 1), 1, np.random.default_rng(0))


@pytest.mark.parametrize("wrong", [{"way": 1}, {"shot": -1}, {"query": 0}])
def test_an_impossible_shape_is_an_error(wrong: dict):
    with pytest.raises(OptionError, match="too small"):
        Shape(**wrong)


def batch(rows: int, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    inputs = {m: torch.randn(rows, 3, generator=generator) for m in "abc"}
    present = {m: torch.rand(rows, generator=generator) > 0.3 for m in "abc"}
    return Batch(inputs, present, torch.zeros(rows, 0))


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.integers(0, 100))
def test_missing_cells_only_go_and_never_the_last_one_of_a_row(rate: float, seed: int):
    whole = batch(50, seed)
    less = random_missing(whole, rate, torch.Generator().manual_seed(seed))
    before = torch.stack(list(whole.present.values()))
    after = torch.stack(list(less.present.values()))
    assert not (after & ~before).any()
    assert torch.equal(after.any(0), before.any(0))


def test_the_share_of_missing_cells_is_the_one_asked_for():
    whole = Batch(
        {m: torch.zeros(4000, 1) for m in "ab"},
        {m: torch.ones(4000).bool() for m in "ab"},
        torch.zeros(4000, 0),
    )
    less = random_missing(whole, 0.3, torch.Generator().manual_seed(0))
    share = 1 - torch.stack(list(less.present.values())).float().mean()
    expected = 0.3 - 0.3**2 / 2  # a row that would lose both keeps one
    assert share == pytest.approx(expected, abs=0.01)


def test_padding_of_a_query_has_no_label():
    tasks = tasks_from(np.repeat(np.arange(3), 4))
    draw = draw_episodes(tasks, Shape(3, 2, 5), 2, np.random.default_rng(0))
    rows = Batch({"x": torch.arange(12.0)[:, None]}, {"x": torch.ones(12).bool()}, torch.zeros(12, 0))
    episodes = episodes_of(rows, draw, 3)
    assert episodes.support.targets.sum(-1).eq(1).all()
    assert episodes.query.targets.sum((1, 2)).tolist() == [6.0, 6.0]
    assert episodes.query.inputs["x"].shape == (2, 15, 1)
