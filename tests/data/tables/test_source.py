"""Every place a table may come from reads to the same rows, streamed or whole, or says what is wrong."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import png
from metamodal.data.audit import audit
from metamodal.data.dataset import read_table
from metamodal.data.features.reading import read_cells
from metamodal.data.roles import Roles
from metamodal.data.tables.formats import FORMATS
from metamodal.data.tables.problems import Problem
from metamodal.data.tables.rows import dataset_of
from metamodal.data.tables.source import open_source
from metamodal.errors import DataError, MetamodalError
from sheets import write_sheet

ROWS = [{"n": i, "word": f"w{i % 3}", "v": [float(i), i / 2]} for i in range(25)]
PICTURES = [png(np.full((4, 5), 10 * i, np.uint8)) for i in range(6)]


def written(folder: Path, suffix: str) -> Path:
    path = folder / f"t{suffix}"
    table = pa.Table.from_pylist(ROWS)
    if suffix == ".parquet":
        pq.write_table(table, path, row_group_size=7)
    elif suffix in (".arrow", ".feather"):
        new = pa.ipc.new_file if suffix == ".feather" else pa.ipc.new_stream
        with new(str(path), table.schema) as sink:
            sink.write_table(table, max_chunksize=9)
    elif suffix in (".jsonl", ".ndjson"):
        path.write_text("\n".join(map(json.dumps, ROWS)))
    elif suffix == ".json":
        path.write_text(json.dumps(ROWS, indent=1))
    elif suffix == ".tar":
        with tarfile.open(path, "w") as archive:
            for row in ROWS:
                _add(archive, f"{row['n']:03}.json", json.dumps(row).encode())
    elif suffix == ".jsonl.gz":
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, ROWS)).encode()))
    elif suffix in (".xlsx", ".ods"):
        write_sheet(path, [list(ROWS[0]), *([r["n"], r["word"], json.dumps(r["v"])] for r in ROWS)])
    else:
        separator = "\t" if suffix.startswith(".tsv") else ","
        pd.DataFrame(ROWS).to_csv(path, index=False, sep=separator)
    return path


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def plain(frame: pd.DataFrame) -> list[dict]:
    records = frame.to_dict("records")
    for record in records:
        record["n"], record["v"] = int(record["n"]), [float(x) for x in record["v"]]
        record.pop("key", None)
    return records


@pytest.mark.parametrize("suffix", list(FORMATS))
@pytest.mark.parametrize("rows", [1, 4, 100])
def test_chunks_of_any_size_hold_the_same_rows_in_order(tmp_path: Path, suffix: str, rows: int):
    chunks = list(open_source(written(tmp_path, suffix)).chunks(rows))
    assert all(len(frame) == len(numbers) <= rows for frame, numbers in chunks)
    assert [n for _, numbers in chunks for n in numbers] == list(range(1, 26))
    assert [r for frame, _ in chunks for r in plain(frame)] == ROWS


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_a_source_reads_from_the_start_again(tmp_path: Path, suffix: str):
    source = open_source(written(tmp_path, suffix))
    assert plain(source.whole().frame) == plain(source.whole().frame)


def test_a_folder_of_shards_is_one_table_numbered_through(tmp_path: Path):
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table.slice(0, 10), tmp_path / "part-0.parquet")
    pq.write_table(table.slice(10), tmp_path / "part-1.parquet")
    frame, numbers = open_source(tmp_path).whole()
    assert plain(frame) == ROWS
    assert numbers.tolist() == list(range(1, 26))


def test_a_bad_row_of_a_shard_names_the_shard(tmp_path: Path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,y\n1,2,3\n")
    with pytest.raises(DataError, match=r"row 2: in b.csv, 3 cells where the header has 2"):
        open_source(tmp_path).whole()


def test_two_formats_in_a_folder_are_refused(tmp_path: Path):
    written(tmp_path, ".csv"), written(tmp_path, ".parquet")
    with pytest.raises(DataError, match="two formats"):
        open_source(tmp_path)


@pytest.mark.parametrize("parts", [False, True])
def test_a_folder_sorted_by_class_has_labels_splits_and_media_side_by_side(tmp_path: Path, parts: bool):
    for part in ("train", "val", "test") if parts else (".",):
        for i, label in enumerate(("cat", "dog")):
            folder = tmp_path / part / label
            folder.mkdir(parents=True)
            for j in range(3):
                (folder / f"{j}.png").write_bytes(PICTURES[3 * i + j])
            (folder / "0.txt").write_text(f"a {label}, one")
    data = read_table(tmp_path)
    assert data.schema.target == "label"
    assert data.schema.role("split") == ("split" if parts else None)
    assert data.frame["text"].notna().sum() == len(data) / 3
    assert set(data.labels()) == {"cat", "dog"}
    pictures = read_cells(data, {"image": ("image", ("image",))}).values["image"]
    assert [int(p[0, 0]) for p in pictures[:6]] == [0, 10, 20, 30, 40, 50]


def test_a_folder_of_files_at_odd_depths_is_refused(tmp_path: Path):
    (tmp_path / "cat" / "deep").mkdir(parents=True)
    (tmp_path / "cat" / "a.png").write_bytes(PICTURES[0])
    (tmp_path / "cat" / "deep" / "b.png").write_bytes(PICTURES[0])
    with pytest.raises(DataError, match=r"'cat/deep/b.png' lies deeper"):
        open_source(tmp_path)


def test_a_webdataset_tar_has_a_column_for_each_ending(tmp_path: Path):
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as archive:
        for i in range(4):
            _add(archive, f"x/{i}.png", PICTURES[i])
            _add(archive, f"x/{i}.left.png", PICTURES[i + 1])
            _add(archive, f"x/{i}.cls", str(i % 2).encode())
            _add(archive, f"x/{i}.json", json.dumps({"size": i}).encode())
    data = read_table(path, target="label", use=["image", "left", "size"])
    assert data.schema.modalities == {
        "image": ("image", ("image",)),
        "left": ("image", ("left",)),
        "size": ("tabular", ("size",)),
    }
    assert data.labels().tolist() == ["0", "1", "0", "1"]
    assert [int(v[0, 0]) for v in read_cells(data).values["left"]] == [10, 20, 30, 40]


def test_the_files_of_a_sample_in_a_tar_stand_together(tmp_path: Path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("a.txt", "b.txt", "a.cls", "b.cls"):
            _add(archive, name, b"1")
    with pytest.raises(
        DataError, match=r"files of sample 'a' do not stand together: a.cls .* tar --sort=name"
    ):
        read_table(path)


def test_a_cut_tar_is_refused_and_a_pickle_is_never_opened(tmp_path: Path):
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as archive:
        _add(archive, "0.png", PICTURES[0] * 20)
        _add(archive, "1.pyd", b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(DataError, match=r"row 2, column pyd: 1.pyd: the ending 'pyd' is not known"):
        open_source(path).whole()
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match="not a readable tar"):
        open_source(path).whole()


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("t.json", '[{"a": 1}, {"a": 1, "a": 2}]', "row 2: the object"),
        ("t.jsonl", '{"a": 1}\n{"a": 1, "a": 2}\n', "row 2: the object"),
        ("t.json", '[{"r": {"b": 3}}, {"r": {"a": 1, "a": 2}}]', "row 2, column r: .*"),
        ("t.jsonl", '{"r": {"b": 3}}\n{"r": {"c": [{"a": 1, "a": 2}]}}\n', "row 2, column r: .*"),
        ("t.csv", 'r\n"{""b"": 3}"\n"{""a"": 1, ""a"": 2}"\n', "row 2, column r: .*"),
    ],
)
def test_a_key_that_stands_twice_in_a_json_record_is_refused_by_row(
    tmp_path: Path, name: str, text: str, place: str
):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=rf"{name} {place} has the key 'a' twice\. Keep one of them"):
        read_cells(read_table(path))
    (fault,) = audit(path).faults
    assert fault.problem.row == 2


def test_records_with_one_key_as_a_number_and_as_text_are_refused():
    with pytest.raises(DataError, match="rows: two columns are named 1 and '1', both '1' as text"):
        dataset_of([{1: 2.0, "1": 3.0}], Roles())


def test_a_cell_that_stands_twice_in_a_row_of_a_tar_is_refused(tmp_path: Path):
    path = tmp_path / "shard.tar"
    for name, data in (("0.cls", b"1"), ("0.json", b'{"label": 1}'), ("0.json", b'{"x": 1, "x": 2}')):
        with tarfile.open(path, "w") as archive:
            _add(archive, "0.cls", b"0")
            _add(archive, name, data)
        with pytest.raises(DataError, match=r"row 1, .*(already|twice)\. Keep one of them"):
            read_cells(read_table(path))
    with tarfile.open(path, "w") as archive:
        _add(archive, "0.json", b'{"key": "named", "x": 1}')
    assert open_source(path).whole().frame["key"].tolist() == ["named"]


def _small_tar(path: Path) -> bytes:
    with tarfile.open(path, "w") as archive:
        for i in range(3):
            _add(archive, f"{i}.txt", b"x" * 700)
            _add(archive, f"{i}.cls", str(i % 2).encode())
    return path.read_bytes()


def test_a_tar_that_is_cut_anywhere_before_its_end_is_refused(tmp_path: Path):
    path = tmp_path / "shard.tar"
    data = _small_tar(path)
    end = len(data.rstrip(b"\0"))  # the last member's content
    for cut in {*range(64, end, 448), *range(512, end, 512)}:
        path.write_bytes(data[:cut])
        with pytest.raises(DataError, match="not a readable tar"):
            open_source(path).whole()


def test_a_tar_that_goes_on_after_its_end_or_has_a_damaged_header_is_refused(tmp_path: Path):
    path = tmp_path / "shard.tar"
    data = _small_tar(path)
    path.write_bytes(data + data)
    with pytest.raises(DataError, match="more after its end, as in archives that were joined"):
        open_source(path).whole()
    second = 512 + 1024  # the header after the first member's
    path.write_bytes(data[:second] + b"?" + data[second + 1 :])
    with pytest.raises(DataError, match="cut short or damaged: bad checksum"):
        open_source(path).whole()


def _link(archive: tarfile.TarFile, name: str, target: str, kind: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    archive.addfile(member)


@pytest.mark.parametrize("end", ["", "/deep"])
def test_a_hard_link_in_a_tar_is_the_file_that_it_names(tmp_path: Path, end: str):
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as archive:
        _add(archive, f"x{end}/0.png", PICTURES[0])
        _link(archive, f"x{end}/1.png", f"x{end}/0.png", tarfile.LNKTYPE)
        _link(archive, f"x{end}/2.png", f"x{end}/1.png", tarfile.LNKTYPE)
    assert open_source(path).whole().frame["image"].tolist() == [PICTURES[0]] * 3


@pytest.mark.parametrize(
    ("kind", "target", "message"),
    [
        (tarfile.SYMTYPE, "0.png", "1.png: it is a symbolic link to '0.png'"),
        (tarfile.LNKTYPE, "2.png", "1.png: it is a hard link to '2.png', which is not before it"),
        (tarfile.FIFOTYPE, "", "1.png: it is no file"),
    ],
)
def test_any_other_link_in_a_tar_is_an_error_and_not_an_empty_cell(
    tmp_path: Path, kind: bytes, target: str, message: str
):
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as archive:
        _add(archive, "0.png", PICTURES[0])
        _link(archive, "1.png", target, kind)
    with pytest.raises(DataError, match=f"row 2, column png: {message}"):
        open_source(path).whole()


def test_a_hard_link_in_a_compressed_tar_is_refused(tmp_path: Path):
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w:gz") as archive:
        _add(archive, "0.png", PICTURES[0])
        _link(archive, "1.png", "0.png", tarfile.LNKTYPE)
    with pytest.raises(DataError, match="row 2, column png: 1.png: it is a hard link in a compressed tar"):
        open_source(path).whole()


def test_what_the_datasets_library_saves_reads_with_its_classes_and_splits(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "v": datasets.List(datasets.Value("float32")),
        }
    )
    rows = {
        "image": [{"bytes": picture, "path": None} for picture in PICTURES],
        "label": [0, 1, 0, 1, 0, 1],
        "v": [[1.0, 2.0]] * 6,
    }
    data = datasets.Dataset.from_dict(rows, features=features)
    datasets.disable_progress_bars()
    datasets.DatasetDict({"train": data, "test": data}).save_to_disk(str(tmp_path / "both"))
    data.save_to_disk(str(tmp_path / "one"))
    both = read_table(tmp_path / "both", target="label", use=["image"])
    assert both.schema.role("split") == "split"
    assert both.labels().tolist() == ["cat", "dog"] * 6
    assert len(both.test) == 6
    picked = data.select([5, 0])  # an index over the table, not a table of its own
    for source, count in ((tmp_path / "one", 6), (data, 6), (picked, 2)):
        table = read_table(source, target="label", use=["image"])
        values = read_cells(table).values["image"]
        assert len(values) == count
    assert [int(v[0, 0]) for v in values] == [50, 0]
    assert table.labels().tolist() == ["dog", "cat"]


def test_an_arrow_table_reads_as_a_frame_does():
    assert plain(open_source(pa.Table.from_pylist(ROWS)).whole().frame) == ROWS
    with pytest.raises(DataError, match="dict is no table"):
        open_source({"a": [1]})


def test_paths_start_from_the_root_that_is_said(tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(PICTURES[3])
    (tmp_path / "t.csv").write_text("photo,label\na.png,x\n")
    data = read_table(tmp_path / "t.csv", root=tmp_path / "pictures")
    assert read_cells(data).values["photo"][0][0, 0] == 30
    with pytest.raises(DataError, match="no such folder"):
        read_table(tmp_path / "t.csv", root=tmp_path / "none")


def test_all_bad_rows_are_told_where_a_report_is_asked_for(tmp_path: Path):
    (tmp_path / "t.csv").write_text('a,b\n1,2\n3\n4,5\n"6"x,7\n8,9\n1,2,3\n')
    problems: list[Problem] = []
    chunks = list(open_source(tmp_path / "t.csv").chunks(report=problems.append))
    assert [n for _, numbers in chunks for n in numbers] == [1, 3, 5]
    assert [p.row for p in problems] == [2, 4, 6]


def test_a_cell_longer_than_the_csv_module_expects_is_read(tmp_path: Path):
    values = list(range(100_000))
    (tmp_path / "t.csv").write_text(f'v,w\n"{values}",x\n')
    assert open_source(tmp_path / "t.csv").whole().frame["v"][0] == values


def _damaged(data: bytes, at: int, byte: int, cut: int) -> bytes:
    changed = bytearray(data)
    if changed:
        changed[at % len(changed)] = byte
    return bytes(changed[: max(1, len(changed) - cut)])


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(list(FORMATS)), st.integers(0, 5000), st.integers(0, 255), st.integers(0, 300), st.data()
)
def test_damaged_files_and_noise_raise_only_the_project_s_own_errors(
    tmp_path_factory, suffix: str, at: int, byte: int, cut: int, more: st.DataObject
):
    folder = tmp_path_factory.mktemp("fuzz")
    path = written(folder, suffix)
    noise = more.draw(st.one_of(st.none(), st.binary(max_size=200)))
    path.write_bytes(noise if noise is not None else _damaged(path.read_bytes(), at, byte, cut))
    for report in (None, lambda problem: None):
        try:
            for frame, numbers in open_source(path).chunks(rows=3, report=report):
                assert len(frame) == len(numbers) > 0
        except MetamodalError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"n": 1}, 2]', r"t.json row 2: int where an object is needed. Write \{\"column\": value\}"),
        ('[{"n": 1}, {', "t.json: not JSON .*. Write it again"),
        ("[]", "t.json: the table has no rows"),
        ("[" * 3000, "t.json row 1: not JSON .*. Fix the line"),
    ],
)
def test_an_array_that_is_no_table_is_refused(tmp_path: Path, text: str, words: str):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(DataError, match=words):
        open_source(tmp_path / "t.json").whole()


def test_a_json_file_of_one_object_a_line_is_read_so_and_in_a_folder_it_is_no_table(tmp_path: Path):
    (tmp_path / "t.json").write_text("\n".join(map(json.dumps, ROWS)))
    assert plain(open_source(tmp_path / "t.json").whole().frame) == ROWS
    (tmp_path / "t.json").write_text("{}")
    written(tmp_path, ".csv")
    assert len(open_source(tmp_path).whole().numbers) == len(ROWS)


def test_names_in_the_metadata_of_parquet_that_are_no_utf8_are_a_damaged_file(tmp_path: Path):
    path = written(tmp_path, ".parquet")
    whole = path.read_bytes()
    places = [at for at in range(len(whole) - 4) if whole[at : at + 4] == b"word"]
    refused = 0
    for at in places:
        path.write_bytes(whole[:at] + b"\x80" + whole[at + 1 :])
        try:
            open_source(path).whole()
        except MetamodalError as error:
            refused += "not a readable Parquet file" in str(error)
    assert refused
