"""Damaged files: read or refused in one line, and never a crash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import media
from conftest import png
from metamodal.data.modalities import Audio, Image, Points, Video
from metamodal.data.modalities.protocol import CellError

BASE = Path(__file__).parent
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 255, (12, 10), dtype=np.uint8)
TONE = media.tone(400, 0.1)
FILES = {
    "PNG": (Image, png(PIXELS)),
    "JPEG": (Image, media.encoded(media.PIL.Image.fromarray(PIXELS), "JPEG")),
    "TIFF": (Image, media.encoded(media.PIL.Image.fromarray(PIXELS), "TIFF")),
    "WAV": (Audio, media.sound(TONE)),
    "FLAC": (Audio, media.sound(TONE, form="FLAC")),
    "OGG": (Audio, media.sound(TONE, form="OGG")),
    "MP3": (Audio, media.sound(TONE, form="MP3")),
    "MP4": (Video, media.clip(media.ball_of_frames(4))),
    "GIF": (Video, media.gif(media.ball_of_frames(3, 8))),
    "PLY": (Points, media.ply(RNG.normal(size=(9, 3)))),
    "NPY": (Points, media.npy(RNG.normal(size=(9, 3)))),
    "OBJ": (Points, b"v 0 0 0\nv 1 0 0\nv 0 2 0\nf 1 2 3\n"),
}


def read_or_refused(kind, data: bytes) -> None:
    try:
        value = kind.read(data, BASE)
        assert kind.fit([value]).tensor([value]).isfinite().all()
    except CellError as error:
        assert "\n" not in str(error)
        assert not str(error).endswith(".")


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_a_file_with_wrong_bytes_or_without_its_end_is_read_or_refused(name: str, data: st.DataObject):
    kind, whole = FILES[name]
    broken = bytearray(whole)
    head = st.integers(0, min(120, len(whole)) - 1)  # what most decoders trust
    for at in data.draw(st.lists(st.one_of(head, st.integers(0, len(whole) - 1)), max_size=3)):
        broken[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))
    read_or_refused(kind, bytes(broken[:end]))
