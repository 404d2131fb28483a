"""Text tables as programs of the world export them."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
import yaml

from metamodal.data.dataset import read_table
from metamodal.errors import DataError, MetamodalWarning, OptionError
from sheets import write_sheet


def written(folder: Path, data: bytes) -> Path:
    path = folder / "t.csv"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x;y\n1,5;a;b\n", "in which ; separates 2. Pass --sep ';'"),
        (b"x\ty\n1\n", "in which a tab separates 2. Pass --sep tab"),
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


SEMICOLONS = b"x;y\n1,5;a\n2,5;b\n3,5;a\n"


def test_a_table_that_semicolons_part_alike_is_read_so_and_said(tmp_path: Path):
    with pytest.warns(MetamodalWarning, match="t.csv: read with ; between the cells"):
        frame = read_table(written(tmp_path, SEMICOLONS)).frame
    assert list(frame["x"]) == ["1,5", "2,5", "3,5"] and list(frame["y"]) == ["a", "b", "a"]


@pytest.mark.parametrize(("mark", "sep"), [(";", ";"), ("\t", "tab"), ("|", "|")])
def test_a_separator_that_is_given_is_used_without_a_word(tmp_path: Path, mark: str, sep: str):
    path = written(tmp_path, SEMICOLONS.replace(b";", mark.encode()))
    assert list(read_table(path, sep=sep).frame.columns) == ["x", "y"]


def test_a_table_of_one_column_with_semicolons_in_its_words_stays_one_column(tmp_path: Path):
    frame = read_table(written(tmp_path, b"note\nso; so\nwell\n")).frame
    assert list(frame["note"]) == ["so; so", "well"]


def test_an_empty_column_that_every_line_ends_in_is_dropped(tmp_path: Path):
    for data in (b"x,y,\n1,a,\n2,b,\n", b"x,y\n1,a,\n2,b,\n", b"x,y,\n1,a\n2,b\n"):
        assert list(read_table(written(tmp_path, data)).frame.columns) == ["x", "y"]
    kept = read_table(written(tmp_path, b"x,y,\n1,a,\n2,b,3\n")).frame
    assert list(kept[""]) == [None, "3"]


def test_an_encoding_that_is_given_is_used_and_one_that_is_needed_named(tmp_path: Path):
    path = written(tmp_path, "x,y\n1,naïve\n2,Zoë\n".encode("cp1252"))
    assert list(read_table(path, encoding="cp1252").frame["y"]) == ["naïve", "Zoë"]
    with pytest.raises(DataError, match=r"t.csv: byte 8 is not UTF-8.*--encoding cp1252"):
        read_table(path)
    with pytest.raises(OptionError, match="--encoding 'cp0': no such encoding"):
        read_table(path, encoding="cp0")


def test_words_for_nothing_and_decimal_commas_hold_in_any_format(tmp_path: Path):
    rows = [{"x": "1.045,5", "y": "n/a"}, {"x": "NA", "y": "2"}, {"x": "3,5", "y": "4"}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    for source in (pd.DataFrame(rows), tmp_path / "t.jsonl", tmp_path / "t.parquet"):
        frame = read_table(source, decimal=",", na=["NA", "n/a"]).frame
        assert list(frame["x"]) == ["1045.5", None, "3.5"] and list(frame["y"]) == [None, "2", "4"]


def test_nan_among_the_words_means_the_number_too(tmp_path: Path):
    (tmp_path / "t.jsonl").write_text('{"x": NaN}\n{"x": 1.5}\n')
    assert list(read_table(tmp_path / "t.jsonl", na="nan").frame["x"]) == [None, 1.5]


def test_a_separator_for_a_table_that_has_none_is_refused(tmp_path: Path):
    with pytest.raises(OptionError, match="only CSV and TSV have a separator"):
        read_table(pd.DataFrame({"x": [1]}), sep=";")


def test_a_gzipped_table_is_read_up_to_the_cap_of_bytes(tmp_path: Path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"x,y\n1,a\n2,b\n"))
    assert list(read_table(path).frame["y"]) == ["a", "b"]
    path.write_bytes(gzip.compress(b"x,y\n" + b"1,a\n" * 100_000))
    with pytest.raises(DataError, match=r"t.csv.gz: unpacks to more than the cap of 1000 bytes"):
        read_table(path, limits={"bytes": 1000})
    path.write_bytes(gzip.compress(b"x,y\n1,a\n")[:-6])
    with pytest.raises(DataError, match=r"t.csv.gz: not readable as gzip"):
        read_table(path)


@pytest.mark.parametrize("ending", [".xlsx", ".ods"])
def test_the_first_sheet_of_a_workbook_is_a_table_with_types(tmp_path: Path, ending: str):
    rows = [
        ["n", "share", "when", "ok", "word"],
        [1, 0.5, date(2024, 5, 31), True, "a"],
        [2, None, None, False, "b"],
    ]
    frame = read_table(write_sheet(tmp_path / f"t{ending}", rows)).frame
    assert frame.columns.tolist() == rows[0]
    assert [list(row) for row in frame.itertuples(index=False)] == rows[1:]


def test_a_sheet_that_spans_more_than_the_cap_is_refused_before_it_is_read(tmp_path: Path):
    path = write_sheet(tmp_path / "t.xlsx", [["x"], [1]], far="XFD1048576")
    with pytest.raises(DataError, match="spans 1048576 rows × 16384 columns, above the cap"):
        read_table(path)
    repeated = [["x"], *[[1]] * 3]
    path = write_sheet(tmp_path / "t.ods", repeated, far="1000000")
    with pytest.raises(DataError, match="spans 1000004 rows × 16384 columns, above the cap"):
        read_table(path)
    with pytest.raises(DataError, match="unpacks to .* above the cap of 100"):
        read_table(path, limits={"bytes": 100})


def test_a_workbook_without_the_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(DataError, match=r"pip install 'metamodal\[excel\]'"):
        read_table(write_sheet(tmp_path / "t.xlsx", [["x"], [1]]))


def test_how_a_table_is_written_is_said_on_every_command_and_kept_in_a_schema(cli, tmp_path: Path):
    rows = "".join(
        f"{i},{i % 7};NA;{'ab'[i % 2]}\n" if i % 3 else f"{i},0;{i};{'ab'[i % 2]}\n" for i in range(12)
    )
    path = written(tmp_path, f"x;z;y\n{rows}".encode())
    flags = ["--sep", ";", "--decimal", ",", "--na", "NA"]
    said = tmp_path / "s.yaml"
    assert cli("schema", path, "--target", "y", *flags, "--out", said).code == 0
    assert {"sep": ";", "decimal": ",", "na": ["NA"]}.items() <= yaml.safe_load(said.read_text()).items()
    known = json.loads(cli("schema", path, "--schema", said, "--json").out)
    assert [c["kind"] for c in known["columns"]] == ["tabular", "tabular", None]
    assert cli("adapt", "none", path, "--target", "y", *flags, "--out", tmp_path / "p").code == 0
    assert cli("predict", tmp_path / "p", path, *flags).code == 0
    failed = cli("predict", tmp_path / "p", path, "--sep", ";", "--decimal", ",")
    assert failed.code == 3 and "Pass --na NA" in failed.err


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ({"encoding": "utf-16"}, DataError, r"t\.csv: not utf-16 \(UTF-16 stream does not start with BOM\)"),
        ({"encoding": "punycode"}, DataError, r"t\.csv: not punycode \(.*\)\. Pass another --encoding"),
        ({"encoding": "undefined"}, OptionError, "--encoding 'undefined': no such encoding"),
        ({"encoding": "a\0b"}, OptionError, r"--encoding 'a\\x00b': no such encoding"),
    ],
)
def test_an_encoding_that_reads_no_text_is_refused(
    tmp_path: Path, said: dict, error: type[Exception], message: str
):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n1.5,-2.5\n" * 9)
    with pytest.raises(error, match=message):
        read_table(path, **said)


_WRONG = [
    ({"encoding": 5}, "--encoding 5: no string"),
    ({"sep": 5}, "--sep 5: no string"),
    ({"na": 5}, "--na 5: no words. Give a string, or a list of strings"),
    ({"na": [1, None]}, "--na [1, None]: no words"),
    ({"kinds": ["x"]}, "kinds=['x']: no kinds of columns. Give {column: kind}"),
    ({"kinds": {"x": 5}}, "--kind x=5: no such kind. Known: audio"),
    ({"target_kind": 5, "target": "y"}, "--target-kind 5: no such kind"),
    ({"use": 5}, "use=5: no columns"),
    ({"root": 5}, "root=5: no folder"),
    ({"limits": 5}, "limits=5: no caps"),
]


def test_a_value_of_the_wrong_type_is_an_option_error(tmp_path: Path):
    """In a process of its own: here, jaxtyping refuses it before the library sees it."""
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    code = f"""
from metamodal import OptionError, read_table
for said in {[said for said, _ in _WRONG]!r}:
    try:
        read_table({str(tmp_path / "t.csv")!r}, **said)
    except OptionError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for line, (_, message) in zip(done.stdout.splitlines(), _WRONG, strict=True):
        assert line.startswith(message)


def test_one_column_may_be_used_by_its_name_alone():
    table = pd.DataFrame({"one": [1.0, 2.0], "two": [1.0, 2.0]})
    assert list(read_table(table, use="one").schema.modalities) == ["one"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kinds: [1]", "kinds must be lines column: kind"),
        ("kinds: {x: 5}", "kinds must be lines column: kind"),
        ("na: 5", "na must be a string or a list of strings; put quotes around a number"),
        ("na: [NA, null]", "na must be a string or a list of strings"),
        ("target: y\ntarget: x", "line 2 has the key 'target' again"),
        ("kinds:\n  x: text\n  x: tabular", "line 3 has the key 'x' again"),
    ],
)
def test_a_schema_file_that_says_nothing_clear_is_refused_in_one_line(
    cli, tmp_path: Path, text: str, message: str
):
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    (tmp_path / "roles.yaml").write_text(text)
    done = cli("schema", tmp_path / "t.csv", "--schema", tmp_path / "roles.yaml")
    assert done.code == 2 and f"roles.yaml: {message}" in done.err.replace("no YAML (", "")
    assert len(done.err.strip().splitlines()) == 1


def test_an_option_that_gives_one_column_two_values_is_refused(cli, tmp_path: Path):
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    done = cli("schema", tmp_path / "t.csv", "--kind", "x=text", "--kind", "x=tabular")
    assert done.code == 2 and "--kind x: given twice, 'text' and 'tabular'. Keep one of them" in done.err
    assert cli("schema", tmp_path / "t.csv", "--kind", "x=text", "--kind", "x=text").code == 0
