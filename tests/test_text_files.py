"""Text tables as programs of the world export them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from metamodal.data.dataset import read_table
from metamodal.errors import DataError


def written(folder: Path, data: bytes) -> Path:
    path = folder / "t.csv"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x;y\n1,5;a\n", "in which ; separates 2. Save the file with commas"),
        (b"x\ty\n1\ta\n", "in which a tab separates 2. Let its name end in .tsv"),
        (b"PK\x03\x04" + bytes(100), "an Excel or OpenDocument workbook"),
        (gzip.compress(b"x,y\n1,a\n"), "compressed by gzip. Unpack it"),
    ],
)
def test_what_is_no_csv_is_named(tmp_path: Path, data: bytes, message: str):
    with pytest.raises(DataError, match=message):
        read_table(written(tmp_path, data))


@pytest.mark.parametrize(
    "data",
    [
        b"sep=;\r\nx;y\r\n1;a\r\n2;b\r\n",
        b"\xef\xbb\xbfx,y\n1,a\n2,b\n",
        "x,y\n1,a\n2,b\n".encode("utf-16"),
    ],
)
def test_the_line_of_excel_and_byte_order_marks_are_no_part_of_the_header(tmp_path: Path, data: bytes):
    frame = read_table(written(tmp_path, data)).frame
    assert list(frame.columns) == ["x", "y"] and list(frame["y"]) == ["a", "b"]
