"""Splits keep classes, tasks and groups in one part each."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamodal.data.dataset import read_table
from metamodal.data.splits import PARTS, Split, split_rows
from metamodal.errors import DataError


def names(values) -> np.ndarray:
    return np.array([None if v is None else str(v) for v in values], dtype=object)


def split(labels, tasks=None, groups=None, given=None, seed=0) -> Split:
    none = [None] * len(labels)
    return split_rows(
        names(labels),
        tasks=names(tasks if tasks is not None else none),
        groups=names(groups if groups is not None else none),
        given=None if given is None else names(given),
        name="t.csv",
        seed=seed,
    )


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
    assert read_table(tmp_path / "t.parquet", target="y").labels().tolist() == ["1.0", None, None]


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
