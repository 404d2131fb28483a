"""Small cells that claim much: refused by a cap, or read in strips; never a dead process."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from sklearn.feature_extraction.text import HashingVectorizer

from media import sound
from metamodal.data.dataset import read_table
from metamodal.data.features.reading import read_cells
from metamodal.data.limits import Limits, limits, within
from metamodal.data.modalities import modalities
from metamodal.data.modalities.audio import _loudest
from metamodal.data.modalities.hashing import hashed_counts
from metamodal.data.modalities.protocol import CellError
from metamodal.data.modalities.series import _nearest
from metamodal.data.tables.source import open_source
from metamodal.errors import DataError, OptionError
from metamodal.experiment import Experiment
from metamodal.options import override, parse

BASE = Path(__file__).parent
MIB = 1 << 20

_MEASURED = """
import sys, json
from pathlib import Path
from fuzz import peak_mb
from metamodal.data.modalities import modalities
from metamodal.data.modalities.protocol import CellError
from metamodal.data.limits import Limits, within
import metamodal.data.dataset, metamodal.data.features.reading, sklearn.feature_extraction.text, PIL.Image, soundfile
kind, found = modalities[sys.argv[1]], []
cells = [Path(path).read_bytes() for path in sys.argv[2:]]
cells = [cell.decode() if sys.argv[1] == "text" else cell for cell in cells]
before = peak_mb()
for cell in cells:
    try:
        with within(Limits(point_numbers=3_000_000)):
            value = kind.read(cell, Path())
        kind.fit([value]).tensor([value])
        result = "read"
    except CellError as error:
        result = str(error)
    found.append([result, peak_mb() - before])
print(json.dumps(found))
"""


def measured(kind: str, data: bytes, folder: Path) -> tuple[str, float]:
    """What became of a cell in a process of its own, and the MiB that it took at its peak."""
    return measured_each(kind, [data], folder)[0]


def measured_each(kind: str, cells: list[bytes], folder: Path) -> list[tuple[str, float]]:
    """The same of several cells in turn in one process; the peak is that of a cell and those before it."""
    paths = [folder / f"cell{i}" for i in range(len(cells))]
    for path, data in zip(paths, cells):
        path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_MEASURED), kind, *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(BASE), *sys.path])},
    )
    assert done.returncode == 0, done.stderr[-500:]
    return [(result, mib) for result, mib in json.loads(done.stdout)]


def flac(seconds: int, rate: int, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, channels, format="FLAC") as sound:
        for _ in range(seconds):
            sound.write(np.zeros((rate, channels), np.int16))
    return file.getvalue()


def encoded(picture: PIL.Image.Image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def test_a_sound_is_capped_by_rate_times_seconds(tmp_path: Path):
    result, mib = measured("audio", flac(170, 192_000), tmp_path)
    assert "above the cap of 32000000 samples" in result and mib < 100


def test_channels_are_mixed_block_by_block(tmp_path: Path):
    result, mib = measured("audio", flac(120, 48_000, 8), tmp_path)
    assert result == "read" and mib < 150


def test_a_picture_of_16_bits_is_reduced_in_strips(tmp_path: Path):
    picture = PIL.Image.new("I;16", (7000, 7000), 40_000)
    result, mib = measured("image", encoded(picture, compress_level=1), tmp_path)
    assert result == "read" and mib < 250


def test_a_palette_with_alpha_is_reduced_in_strips(tmp_path: Path):
    picture = PIL.Image.new("P", (7000, 7000), 1)
    picture.putpalette([0, 0, 0, 90, 90, 90])
    result, mib = measured(
        "image", encoded(picture, compress_level=1, transparency=bytes([0, 128])), tmp_path
    )
    assert result == "read" and mib < 250


def test_an_animation_of_huge_frames_is_refused_before_it_is_decoded(tmp_path: Path):
    frames = [PIL.Image.new("L", (6000, 6000), shade) for shade in (0, 255)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    result, mib = measured("video", data, tmp_path)
    assert "frames of 6000×6000 pixels are above the cap" in result and mib < 100


def test_a_text_of_one_long_word_or_of_many_takes_a_window_at_a_time(tmp_path: Path):
    texts = [b"ab" * 100_000, b"ab cd " * 33_000]
    for result, mib in measured_each("text", texts, tmp_path):
        assert result == "read" and mib < 60


def test_lines_of_points_are_parsed_in_strips(tmp_path: Path):
    few, many = measured_each("points", [b"1 2 3\n" * 300_000, b"1 2 3\n" * 1_500_000], tmp_path)
    assert few[0] == "read" and few[1] < 80
    assert "above the cap of 3000000 numbers" in many[0] and many[1] < 120


@pytest.mark.parametrize(
    "text", ["a b", "Σας ΟΔΟΣ " * 9000, "x" * 200_001, ("é" * 70_000 + " z\n") * 2 + "end"]
)
def test_windowed_counts_are_those_of_scikit_learn(text: str):
    texts = ["first one", text, "last", ""]
    whole = HashingVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), n_features=256, norm=None, dtype=np.float32
    )
    assert np.array_equal(hashed_counts(texts, 256).toarray(), whole.transform(texts).toarray())


def test_the_loudest_part_is_found_in_strips_as_at_once(monkeypatch):
    monkeypatch.setattr("metamodal.data.modalities.audio._STRIP", 7)
    wave = np.random.default_rng(0).normal(size=400).astype(np.float32)
    for length in (1, 13, 199, 399):
        energy = np.concatenate([[0.0], np.cumsum(np.square(wave, dtype=np.float64))])
        assert _loudest(wave, np.float32(1), length) == np.argmax(energy[length:] - energy[:-length])


def test_the_nearest_step_is_the_first_of_equally_near_ones():
    steps = np.sort(np.random.default_rng(0).integers(0, 40, 60)).astype(float)
    at = np.linspace(steps[0], steps[-1], 97)
    assert np.array_equal(_nearest(at, steps), np.abs(at[:, None] - steps).argmin(1))


def test_a_large_picture_reduced_in_strips_equals_one_reduced_whole(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (700, 531, 4), dtype=np.uint8)
    cell = encoded(PIL.Image.fromarray(noise))
    whole = modalities["image"].read(cell, BASE).astype(int)
    monkeypatch.setattr("metamodal.data.modalities.image._STRIP_PIXELS", 20_000)
    assert np.abs(modalities["image"].read(cell, BASE) - whole).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_picture_is_turned_as_a_small_one(monkeypatch, orientation: int):
    picture = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (512, 256), dtype=np.uint8))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    cell = encoded(picture, "PNG", exif=exif)
    small = modalities["image"].read(cell, BASE).astype(int)
    monkeypatch.setattr("metamodal.data.modalities.image._STRIP_PIXELS", 2000)
    large = modalities["image"].read(cell, BASE)
    assert large.shape == small.shape and np.abs(large - small).max() <= 1


@pytest.mark.parametrize(
    ("kind", "cell", "caps"),
    [
        ("text", "a b c d e f", {"characters": 10}),
        ("audio", np.zeros(2000), {"samples": 1000}),
        ("image", np.zeros((40, 40)), {"pixels": 1000}),
        ("points", np.zeros((40, 3)), {"point_numbers": 100}),
        ("series", [0.0] * 40, {"step_numbers": 30}),
        ("series", ["a", "b" * 40], {"step_numbers": 30}),
        ("graph", {"nodes": 4, "edges": [[0, 1]] * 9}, {"edges": 5}),
        ("graph", {"nodes": 40, "edges": []}, {"nodes": 5}),
        ("points", b"OFF\n" + b" " * 100, {"mesh_bytes": 50}),
        ("video", np.zeros((9, 4, 4), np.uint8), {"frames": 5}),
        ("image", b"\x89PNG" + bytes(100), {"bytes": 50}),
    ],
)
def test_each_cap_is_an_option_and_its_violation_a_fault_of_the_cell(kind: str, cell, caps: dict):
    with within(Limits(**caps)), pytest.raises(CellError, match=r"(cap of|to) \d+"):
        modalities[kind].read(cell, BASE)


def test_caps_hold_in_the_threads_that_read_cells():
    table = read_table({"note": 1} and _frame(["short", "x" * 50]), kinds={"note": "text"})
    with within(Limits(characters=20)):
        assert read_cells(table, unreadable="absent").values["note"] == ["short", None]
        with pytest.raises(DataError, match="row 2, column note: a text of 50 characters"):
            read_cells(table)
    assert limits() == Limits()


def _frame(cells: list):
    import pandas as pd

    return pd.DataFrame({"note": cells})


def test_a_parquet_cell_that_decompresses_to_too_much_is_a_fault_of_the_cell(tmp_path: Path):
    cells = pa.array([b"\x89PNG\r\n\x1a\n" + bytes(70 * MIB), None, b"\x89PNG\r\n\x1a\n"], pa.binary())
    table = pa.table({"photo": cells, "note": ["a b", "c d", "e f"]})
    pq.write_table(table, tmp_path / "t.parquet", compression="zstd")
    data = read_table(tmp_path / "t.parquet", kinds={"photo": "image", "note": "text"})
    assert read_cells(data, unreadable="absent").values["photo"] == [None, None, None]
    with pytest.raises(DataError, match="row 1, column photo: .* decompress to"):
        read_cells(data)


def test_rows_share_what_a_parquet_dictionary_holds_once(tmp_path: Path):
    words = pa.DictionaryArray.from_arrays(np.arange(1000, dtype=np.int32) % 2, ["x" * 100_000, "y"])
    pq.write_table(pa.table({"note": words, "n": range(1000)}), tmp_path / "t.parquet")
    cells = read_table(tmp_path / "t.parquet", kinds={"note": "text"}).frame["note"]
    assert len({id(cell) for cell in cells}) == 2


def test_a_table_in_memory_is_capped_in_rows(tmp_path: Path):
    pq.write_table(pa.table({"n": np.zeros(5000)}), tmp_path / "t.parquet")
    with within(Limits(rows=4000)), pytest.raises(DataError, match="more than 4000 rows .* run encode"):
        read_table(tmp_path / "t.parquet")


def test_a_member_of_a_tar_above_the_cap_is_a_fault_of_its_cell(tmp_path: Path):
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        for name, data in (("1.png", bytes(3000)), ("1.txt", b"a word"), ("2.txt", b"b word")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    with within(Limits(bytes=2000)):
        data = read_table(tmp_path / "t.tar", kinds={"image": "image", "text": "text"})
        assert read_cells(data, {"text": ("text", ("text",))}).values["text"] == ["a word", "b word"]
        with pytest.raises(
            DataError, match="row 1, column image: the cell is 3000 bytes, above the cap of 2000"
        ):
            read_cells(data)


def test_a_name_of_a_tar_member_that_claims_megabytes_is_refused(tmp_path: Path):
    member = tarfile.TarInfo("long")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 8 * MIB
    (tmp_path / "t.tar").write_bytes(member.tobuf() + bytes(8 * MIB + 1024))
    with pytest.raises(DataError, match="a member's description of 8388608 bytes"):
        read_table(tmp_path / "t.tar")


def test_caps_are_an_option_of_a_table_and_of_training(tmp_path: Path):
    path = tmp_path / "t.csv"
    (tmp_path / "a.wav").write_bytes(sound(np.zeros(8000 * 3)))
    path.write_text("sound,y\na.wav,u\na.wav,v\n")
    data = read_table(path, target="y", limits={"seconds": 2})
    with pytest.raises(DataError, match="row 1, column sound: 3 s of sound are above the cap of 2 s"):
        read_cells(data)
    record = override({"data": {"table": str(path)}}, ["data.limits.seconds=3"])
    options = parse(Experiment, record).data
    assert options.limits.seconds == 3 and len(read_cells(options.read()).values["sound"]) == 2
    with pytest.raises(OptionError, match="limits.second: no such option"):
        parse(Experiment, override({}, ["data.limits.second=3"]))


def _views_of_one(size: int, rows: int) -> pa.Array:
    """Texts of which every row is the first, held once."""
    views = pa.array(["a" * size] + ["b"] * (rows - 1), pa.string_view())
    _, entries, *rest = views.buffers()
    copied = np.frombuffer(entries, np.uint8).reshape(-1, 16).copy()
    copied[:] = copied[0]
    return pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(copied), *rest])


def _shared_lists(numbers: int, rows: int) -> pa.Array:
    zeros = pa.array(np.zeros(rows, np.int32))
    return pa.ListViewArray.from_arrays(zeros, pa.array([numbers] * rows, pa.int32()), np.zeros(numbers))


def _coded_lists(numbers: int, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([[0] * numbers]))


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
@pytest.mark.parametrize("new", [pa.ipc.new_file, pa.ipc.new_stream])
@pytest.mark.parametrize(
    "make",
    [
        lambda: pa.array(["a" * 1_000_000] * 4),
        lambda: _views_of_one(100_000, 100),
        lambda: _shared_lists(20_000, 100),
        lambda: _coded_lists(20_000, 100),
    ],
    ids=["compressed", "views", "list views", "dictionary of lists"],
)
def test_an_arrow_file_that_unpacks_to_much_more_than_it_is_is_refused(make, new, compression, tmp_path):
    table = pa.table({"t": make()})
    with new(
        str(tmp_path / "t.arrow"), table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)
    ) as sink:
        sink.write_table(table)
    caps = Limits(bytes=3_000_000)
    if compression is None and pa.types.is_string(table["t"].type):  # it is as large as it says
        with within(caps):
            assert len(open_source(tmp_path / "t.arrow").whole().numbers) == 4
        return
    with (
        within(caps),
        pytest.raises(DataError, match=r"t.arrow: \d+ bytes of it unpack to \d+, above the cap of 3000000"),
    ):
        open_source(tmp_path / "t.arrow").whole()
