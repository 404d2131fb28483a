"""The file of a cell: a path within the table's folder, bytes, or a record of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import media
from conftest import png
from metamodal.data.modalities import Audio, Image, Points, Video
from metamodal.data.modalities.files import file_bytes
from metamodal.data.modalities.protocol import CellError
from metamodal.data.tables.forms import form

PNG = png(np.zeros((3, 4), np.uint8))
FILES = {
    "a.png": (Image, PNG),
    "a.wav": (Audio, media.sound(media.tone(400))),
    "a.mp4": (Video, media.clip(media.ball_of_frames(4))),
    "a.ply": (Points, media.ply(np.random.default_rng(0).normal(size=(9, 3)))),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = tmp_path / "table"
    (base / "sub").mkdir(parents=True)
    for name, (_, data) in FILES.items():
        (base / "sub" / name).write_bytes(data)
        (tmp_path / name).write_bytes(data)
    (base / "empty.png").touch()
    return base


@pytest.mark.parametrize("name", FILES)
def test_a_path_bytes_and_records_of_them_are_the_same_cell(folder: Path, name: str):
    kind, data = FILES[name]
    path = f"sub/{name}"
    cells = [data, path, str(folder / path), bytearray(data), memoryview(data)]
    cells += [{"bytes": data, "path": None}, {"bytes": None, "path": path}, {"bytes": data, "path": "/x"}]
    values = [kind.read(cell, folder) for cell in cells]
    fitted = kind.fit(values)
    for value in values[1:]:
        assert fitted.tensor([value]).equal(fitted.tensor(values[:1]))
    assert {form(cell) for cell in cells if not isinstance(cell, str)} == {kind.__name__.lower()}


@pytest.mark.parametrize("name", FILES)
def test_a_path_out_of_the_table_s_folder_is_refused(folder: Path, name: str):
    kind, _ = FILES[name]
    for path in (f"../{name}", f"sub/../../{name}", str(folder.parent / name), "/etc/hostname"):
        with pytest.raises(CellError, match="leaves the table's folder"):
            kind.read(path, folder)


def test_a_base_that_is_a_link_counts_as_the_folder_it_leads_to(folder: Path, tmp_path: Path):
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert file_bytes("sub/a.png", link, "image") == PNG
    assert file_bytes(str(folder / "sub" / "a.png"), link, "image") == PNG


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("b.png", r"'b.png' does not exist \(paths are relative to the table\). Fix the path"),
        ("sub", "does not exist"),
        ("a" * 5000 + ".png", "cannot be opened|does not exist"),
        ("empty.png", "0 bytes are no image"),
        (b"", "0 bytes are no image"),
        ({"bytes": None, "path": None}, "a record without bytes or path"),
        (7, "int is no image. Give bytes, a path or an array"),
    ],
)
def test_a_cell_without_a_file_says_what_to_mend(folder: Path, cell, message: str):
    with pytest.raises(CellError, match=message):
        file_bytes(cell, folder, "image")
