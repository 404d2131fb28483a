"""Which endings and first bytes are which kind, and what is said of those that none reads."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metamodal.data.dataset import read_table
from metamodal.data.modalities import modalities
from metamodal.data.modalities.protocol import CellError
from metamodal.data.tables.media_types import media_kind


def m4a(form: str = "ipod") -> bytes:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        wave = np.sin(np.arange(16_000) * 0.2).astype(np.float32)[None]
        for at in range(0, 16_000, 1000):
            frame = av.AudioFrame.from_ndarray(wave[:, at : at + 1000], "fltp", "mono")
            frame.rate, frame.pts = 16_000, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("form", ["ipod", "adts", "mp4"])
def test_what_phones_record_is_sound(form: str):
    cell = m4a(form)
    assert form == "mp4" or media_kind(cell[:16]) == "audio"
    sound = modalities["audio"].read(cell, Path())
    assert sound.rate == 16_000 and abs(len(sound.samples) - 16_000) < 4096
    assert np.abs(sound.samples).max() == pytest.approx(1, abs=0.2)


def test_half_an_m4a_is_no_sound_and_without_pyav_the_message_names_it(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(CellError, match="not a readable sound"):
        modalities["audio"].read(m4a()[:200], Path())
    cell = m4a()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(CellError, match="AAC is read by PyAV"):
        modalities["audio"].read(cell, Path())


@pytest.mark.parametrize("ending", ["jfif", "jpe", "jp2", "tga", "ppm", "ico", "PNG"])
def test_what_pillow_reads_is_an_image(ending: str):
    assert media_kind(f"a/b.{ending}") == "image"


@pytest.mark.parametrize("ending", ["heic", "wma", "dcm", "svg", "pdf", "docx"])
@pytest.mark.parametrize("rows", [6, 80])
def test_paths_that_no_kind_reads_are_warned_of_by_name(ending: str, rows: int):
    frame = pd.DataFrame(
        {"photo": [f"a/{i}.{ending}" for i in range(rows)], "n": range(rows), "y": ["a", "b"] * (rows // 2)}
    )
    schema = read_table(frame, target="y").schema
    assert "photo" not in schema.modalities
    assert any(f"'photo': holds paths to .{ending} files, which are not read" in w for w in schema.warnings)
