"""Files become frames of raw cells, or an error that says where and what to do."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamodal.data.tables.source import open_source
from metamodal.data.tables.table import from_dataframe
from metamodal.data.tables.writing import write_frame
from metamodal.errors import DataError, OptionError


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_the_same_table_reads_alike_from_every_format(tmp_path: Path, suffix: str):
    frame = pd.DataFrame({"word": ["one", "two, or", None], "na": ["NA", "None", "null"]})
    path = tmp_path / f"t{suffix}"
    write_frame(frame, path)
    source = open_source(path)
    read = source.whole().frame
    assert read["word"].tolist() == ["one", "two, or", None]
    assert read["na"].tolist() == ["NA", "None", "null"]
    assert (source.name, source.base) == (path.name, tmp_path)


def test_parquet_keeps_null_and_nan_apart(tmp_path: Path):
    table = pa.table({"x": pa.array([1.0, None, float("nan")])})
    pq.write_table(table, tmp_path / "t.parquet")
    cells = open_source(tmp_path / "t.parquet").whole().frame["x"].tolist()
    assert cells[:2] == [1.0, None]
    assert np.isnan(cells[2])


def test_parquet_integers_with_gaps_stay_integers(tmp_path: Path):
    pq.write_table(pa.table({"x": pa.array([3, None])}), tmp_path / "t.parquet")
    cells = open_source(tmp_path / "t.parquet").whole().frame["x"].tolist()
    assert cells == [3, None]
    assert isinstance(cells[0], int)


def test_nested_lists_of_parquet_equal_their_python_values(tmp_path: Path):
    series = [[[1.0, 2.0], [3.0, 4.0]], None, [[5.0, 6.0]]]
    vectors = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], None]
    pq.write_table(pa.table({"s": series, "v": vectors}), tmp_path / "t.parquet")
    frame = open_source(tmp_path / "t.parquet").whole().frame
    for cells, expected in ((frame["s"], series), (frame["v"], vectors)):
        for cell, value in zip(cells, expected):
            assert (cell is None) == (value is None)
            if value is not None:
                np.testing.assert_array_equal(cell, np.array(value))


def test_a_sliced_parquet_column_keeps_its_rows_apart(tmp_path: Path):
    table = pa.table({"v": [[float(i), float(i)] for i in range(10)]}).slice(4, 3)
    pq.write_table(table, tmp_path / "t.parquet")
    cells = open_source(tmp_path / "t.parquet").whole().frame["v"].tolist()
    assert [c.tolist() for c in cells] == [[4.0, 4.0], [5.0, 5.0], [6.0, 6.0]]


def test_csv_cells_that_spell_lists_are_lists(tmp_path: Path):
    path = written(tmp_path, "t.csv", 'v,w\n"[1, 2]",[not a list]\n')
    frame = open_source(path).whole().frame
    assert frame["v"].tolist() == [[1, 2]]
    assert frame["w"].tolist() == ["[not a list]"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "a,b\n1,2\n3,4,5\n", "t.csv row 2: 3 cells where the header has 2. Quote"),
        ("t.csv", "a,a\n1,2\n", "two columns are named 'a'. Rename one."),
        ("t.csv", "a,b\n", "the table has no rows"),
        ("t.csv", "", "the file is empty"),
        (
            "t.csv",
            b"a\n\xff\xfe\n",
            "byte 2 is not UTF-8. Save the file as UTF-8, or pass --encoding cp1252.",
        ),
        ("t.jsonl", '{"a": 1}\n{"a": \n', "t.jsonl row 2: not JSON"),
        ("t.jsonl", "[1]\n", "row 1: list where an object is needed"),
        ("t.parquet", "nonsense", "not a readable Parquet file"),
        ("t.xls", "x", "cannot read .xls"),
        ("t.xlsx", "x", "not a readable workbook"),
    ],
)
def test_a_broken_file_is_named_with_its_remedy(tmp_path: Path, name: str, text, message: str):
    with pytest.raises(DataError) as caught:
        open_source(written(tmp_path, name, text)).whole()
    assert message in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_empty_folder_are_no_tables(tmp_path: Path):
    with pytest.raises(DataError, match="no such file"):
        open_source(tmp_path / "none.csv")
    with pytest.raises(DataError, match="holds neither a table"):
        open_source(tmp_path)


def test_a_dataframe_s_missing_marks_become_none():
    frame = pd.DataFrame({"x": [1.5, np.nan], "s": ["a", None], "t": pd.array([1, pd.NA], dtype="Int64")})
    assert from_dataframe(frame).to_numpy().tolist() == [[1.5, "a", 1], [None, None, None]]


def test_writing_leaves_no_half_file_behind(tmp_path: Path):
    with pytest.raises(OptionError, match="cannot write .docx"):
        write_frame(pd.DataFrame({"a": [1]}), tmp_path / "t.docx")
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abc"),
            st.one_of(st.none(), st.text(st.characters(codec="utf-8")), st.integers()),
            min_size=1,
        ),
        min_size=1,
    )
)
def test_jsonl_gives_back_what_was_written(tmp_path_factory, records: list[dict]):
    path = tmp_path_factory.mktemp("round") / "t.jsonl"
    path.write_bytes("\n".join(json.dumps(r, ensure_ascii=False) for r in records).encode("utf-8", "replace"))
    frame = open_source(path).whole().frame
    for column in frame.columns:
        cells = [record.get(column) for record in records]
        assert frame[column].tolist() == [None if str(c).isspace() or c == "" else c for c in cells]


def test_a_long_cell_is_read_and_the_limit_of_the_csv_module_is_given_back(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "a" * 200_000 + ",1\n" + "b,2\n" * 3000)
    before = csv.field_size_limit()
    assert len(open_source(path).whole().frame["x"][0]) == 200_000
    assert csv.field_size_limit() == before
    one, other = (open_source(path).chunks() for _ in range(2))
    next(one), next(other)
    for chunks in (one, other):  # the first that is done takes nothing from the other
        assert sum(len(chunk.numbers) for chunk in chunks) == 3001 - 1024
    assert csv.field_size_limit() == before
    next(chunks := open_source(path).chunks())
    csv.field_size_limit(77)  # the user's own, meanwhile
    try:
        chunks.close()
        assert csv.field_size_limit() == 77
    finally:
        csv.field_size_limit(before)
