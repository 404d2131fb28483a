"""Splits keep classes, tasks and groups in one part each."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamodal.data.dataset import read_table
from metamodal.data.tasks.splits import PARTS, Keys, Plan, Split, ranges_of, rows_of, split_rows
from metamodal.errors import DataError, OptionError


def names(values) -> np.ndarray:
    return np.array([None if v is None else str(v) for v in values], dtype=object)


def split(labels, tasks=None, groups=None, given=None, seed=0, times=None, **plan) -> Split:
    none = [None] * len(labels)
    keys = Keys(
        names(labels),
        names(tasks if tasks is not None else none),
        names(groups if groups is not None else none),
        None if given is None else names(given),
        None if times is None else np.array(times, dtype=float),
    )
    return split_rows(keys, Plan(**plan), name="t.csv", seed=seed)


def parts(found: Split) -> list[np.ndarray]:
    return [getattr(found, p) for p in PARTS]


@settings(max_examples=80, deadline=None)
@given(
    st.integers(16, 40).flatmap(
        lambda k: st.tuples(
            st.just(k),
            st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, 9)), min_size=60, max_size=120),
        )
    ),
    st.integers(0, 5),
)
def test_no_class_and_no_group_is_in_two_parts(drawn, seed: int):
    _, rows = drawn
    labels = np.array([k for k, _ in rows])
    groups = np.array([f"{k % 7}-{g}" for k, g in rows])
    found = split(labels, groups=groups, seed=seed)
    if found.by != "class":
        return
    for values in (labels, groups):
        sets = [set(values[p]) for p in parts(found)]
        assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    together = np.concatenate(parts(found))
    assert len(set(together)) == len(together)


def test_tasks_are_kept_whole_where_there_is_a_task_column():
    tasks = np.repeat(np.arange(10), 12)
    found = split(np.tile(np.arange(4), 30), tasks=tasks)
    assert found.by == "task"
    assert [len(set(tasks[p])) for p in parts(found)] == [6, 2, 2]
    assert not found.unseen_classes


def test_few_classes_are_split_by_group_or_else_by_row():
    labels = np.tile(np.arange(3), 40)
    groups = np.repeat(np.arange(10), 12)
    assert split(labels, groups=groups).by == "group"
    rows = split(labels)
    assert rows.by == "row"
    assert sorted(np.concatenate(parts(rows))) == list(range(120))


def test_a_class_keeps_its_part_when_rows_are_added():
    labels = np.repeat(np.arange(30), 3)
    more = np.concatenate([labels, labels])
    first, second = split(labels), split(more)
    assert set(labels[first.test]) == set(more[second.test])


def test_rows_whose_group_has_most_rows_elsewhere_are_left_out_and_counted():
    labels = np.repeat(np.arange(20), 4)
    groups = labels.copy()
    groups[::4] = 0
    found = split(labels, groups=groups)
    assert found.by == "class"
    assert "left out" in found.notes[0]


def test_a_split_column_is_followed_under_its_usual_names():
    found = split([1, 2, 3, 4], given=["training", "val", "Test", None])
    assert [p.tolist() for p in parts(found)] == [[0], [1], [2]]


def test_a_nan_is_no_label(tmp_path):
    table = pa.table({"x": [1.0, 2.0, 3.0], "y": [1.0, float("nan"), None]})
    pq.write_table(table, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", target="y").labels().tolist() == ["1", None, None]


def test_rows_without_a_label_are_in_no_part():
    found = split([1, None, 2, 3], given=["train", "train", "valid", "test"])
    assert [p.tolist() for p in parts(found)] == [[0], [2], [3]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [None, None]}, "no row has a label"),
        ({"labels": [1, 2], "given": ["train", "tset"]}, "row 2, split column: 'tset' is no part"),
        (
            {"labels": [1, 2], "groups": ["a", "a"], "given": ["train", "test"]},
            "group 'a' has rows in test and train",
        ),
        (
            {"labels": [1, 2, 1, 3], "given": ["train", "train", "test", "test"]},
            "class '1' is in train and in a later part, while class '3' is not",
        ),
    ],
)
def test_a_leaking_or_unreadable_split_is_an_error(arguments: dict, message: str):
    with pytest.raises(DataError) as caught:
        split(**arguments)
    assert message in str(caught.value)


def test_a_split_column_where_all_parts_share_all_classes_is_allowed_and_said():
    found = split([1, 2, 1, 2, 1, 2], given=["train", "train", "valid", "valid", "test", "test"])
    assert not found.unseen_classes


@pytest.mark.parametrize("by", ["task", "class", "group", "row"])
def test_any_way_to_split_keeps_its_units_whole(by: str):
    rng = np.random.default_rng(0)
    values = {w: rng.integers(0, 12, 300) for w in ("task", "class", "group")}
    found = split(
        values["class"], tasks=values["task"], groups=None if by != "group" else values["group"], by=by
    )
    assert found.by == by
    if by != "row":
        sets = [set(values[by][p]) for p in parts(found)]
        assert all(sets) and not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    assert sorted(np.concatenate(parts(found))) == list(range(300))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 30)), min_size=12, max_size=60), st.booleans())
def test_by_time_training_is_before_validation_and_that_before_test(times: list, folds: bool):
    if len({t for t in times if t is not None}) < 3:
        return
    values = np.array([np.nan if t is None else t for t in times])
    for fold in range(3 if folds else 1):
        found = split(np.arange(len(times)) % 2, times=values, folds=3 * folds, fold=fold)
        assert found.by == "time"
        spans = [values[p] for p in parts(found) if len(p)]
        assert all(a.max() < b.min() for a, b in pairwise(spans))
        together = np.concatenate(parts(found))
        assert not np.isnan(values[together]).any()
        if not folds:
            assert len(together) == (~np.isnan(values)).sum()


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 6), st.integers(0, 3))
def test_folds_are_nested_test_parts_share_out_all_units_and_validations_the_rest(folds: int, seed: int):
    labels = np.repeat(np.arange(25), 4)
    tests = []
    for fold in range(folds):
        inner = [split(labels, folds=folds, fold=fold, inner=i, seed=seed) for i in range(folds - 1)]
        assert len({tuple(s.test) for s in inner}) == 1
        tests.append(inner[0].test)
        valid = np.concatenate([s.valid for s in inner])
        assert sorted(np.concatenate([valid, inner[0].test])) == list(range(100))
        for s in inner:
            assert sorted(np.concatenate(parts(s))) == list(range(100))
    assert sorted(np.concatenate(tests)) == list(range(100))


@given(st.sets(st.integers(0, 60)))
def test_ranges_give_back_their_rows(rows: set[int]):
    numbers = np.array(sorted(rows), dtype=int)
    assert rows_of(ranges_of(numbers)).tolist() == numbers.tolist()


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"by": "clas"}, "split_by=clas: no such way. Did you mean 'class'"),
        ({"by": "task"}, "split_by=task needs a column of that role. Pass --task C."),
        ({"by": "time"}, "split_by=time needs a column of times. Pass --time C."),
        ({"shares": (0.5, 0.1, 0.1)}, "no shares of 1"),
        ({"folds": 2}, "too few for training, validation and test"),
        ({"folds": 4, "fold": 4}, "fold=4: with folds=4 it goes from 0 to 3"),
        ({"folds": 4, "inner": 3}, "inner=3: with folds=4 it goes from 0 to 2"),
    ],
)
def test_a_plan_that_cannot_be_is_told(plan: dict, message: str):
    with pytest.raises(OptionError) as caught:
        split(np.arange(20) % 3, **plan)
    assert message in str(caught.value)


def test_too_few_units_for_the_folds_are_an_error():
    with pytest.raises(DataError, match="3 units cannot make 5 folds"):
        split(np.arange(30), groups=np.arange(30) % 3, by="group", folds=5)


def test_times_are_numbers_or_dates_and_anything_else_is_named():
    rows = {"x": [1.0, 2.0, 3.0, 4.0], "y": ["a", "b", "a", "b"]}
    rows["day"] = ["2024-05-03", "2024-05-01", None, "2024-05-02T10:00:00+02:00"]
    data = read_table(pd.DataFrame(rows), target="y", time="day")
    assert np.argsort(data.keys().times).tolist() == [1, 3, 0, 2]
    assert "day" not in data.schema.modalities
    rows["day"][2] = "soon"
    data = read_table(pd.DataFrame(rows), target="y", time="day")
    with pytest.raises(DataError, match="row 3, column day: 'soon' is no time"):
        data.split()


def test_a_table_goes_through_its_folds(shapes):
    data = read_table(shapes, target="label")
    tests = [set(fold.test.labels()) for fold in data.folds(4)]
    assert set.union(*tests) == set(data.labels())
    assert sum(map(len, tests)) == len(set(data.labels()))


@pytest.mark.parametrize("count", [0, -3, 1])
def test_too_few_folds_are_refused_before_they_are_gone_through(count: int):
    table = read_table(pd.DataFrame({"a": [1.0, 2.0], "y": ["u", "v"]}), target="y")
    with pytest.raises(OptionError, match=rf"folds\({count}\): too few"):
        table.folds(count)
