"""Video: files, animations, frames and vectors; whole clips only."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import media
from conftest import png
from metamodal.data.dataset import read_table
from metamodal.data.limits import Limits, within
from metamodal.data.modalities import Video
from metamodal.data.modalities.protocol import CellError
from metamodal.data.tables.forms import form
from metamodal.errors import OptionError

BASE = Path(__file__).parent
FRAMES = media.ball_of_frames(20, 32)
FILES = {
    "mp4": media.clip(FRAMES),
    "avi": media.clip(FRAMES, "avi"),
    "webm": media.clip(FRAMES, "webm", "libvpx-vp9"),
    "mkv": media.clip(FRAMES, "matroska", "mpeg4"),
    "gif": media.gif(FRAMES),
}


def read(cell):
    return Video.read(cell, BASE)


@pytest.mark.parametrize("name", FILES)
def test_every_format_reads_to_its_frames(name: str):
    frames = read(FILES[name])
    assert len(frames) == 20
    difference = np.abs(np.stack(frames).astype(int) - FRAMES[..., 0]).mean()
    assert difference < 6


@pytest.mark.parametrize(
    "cell",
    [
        FRAMES,
        list(FRAMES),
        FRAMES[..., 0],
        FRAMES / 255,
        media.npy(FRAMES),
        [png(frame) for frame in FRAMES],
        [{"bytes": png(frame), "path": None} for frame in FRAMES],
    ],
)
def test_lists_and_arrays_of_pictures_are_clips(cell):
    assert np.array_equal(np.stack(read(cell)), FRAMES[..., 0])
    if not isinstance(cell, bytes) and np.ndim(cell) != 3:
        assert form(cell) in ("frames", "4-d array")


@pytest.mark.parametrize("name", FILES)
def test_a_clip_that_is_cut_short_is_refused(name: str):
    for share in (0.5, 0.75, 0.9):
        with pytest.raises(CellError, match="cut short|not a readable"):
            read(FILES[name][: int(share * len(FILES[name]))])


def test_a_long_clip_is_thinned_evenly():
    ramp = np.arange(300, dtype=np.uint16)[:, None, None] * np.ones((1, 4, 4)) * (255 / 300)
    kept = read(ramp.astype(np.uint8))
    assert 32 <= len(kept) < 64
    steps = np.diff([frame.mean() for frame in kept])
    assert steps.std() < 1


@pytest.mark.parametrize(
    ("name", "value"), [("frames", 10), ("seconds", 1), ("frame_pixels", 100), ("clip_pixels", 9000)]
)
@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_a_clip_above_the_caps_is_refused(kind: str, name: str, value: int):
    with within(Limits(**{name: value})), pytest.raises(CellError, match="cap of"):
        read(FILES[kind])


def test_without_pyav_a_video_file_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(OptionError, match=r"pip install 'metamodal\[video\]'"):
        read(FILES["mp4"])
    assert len(read(FILES["gif"])) == 20


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([], "an empty list is no clip"),
        ([[1.0], [float("nan")]], "frame 1, value 0 is nan"),
        ([[1.0], [1.0, 2.0]], "one shape"),
        (b"#EXTM3U\nhttp://localhost/a.ts", "no known format"),
        (np.zeros(3), r"shape \(3,\) is no clip"),
        (np.zeros((2, 2, 2, 2)), "no image"),
    ],
)
def test_a_bad_clip_says_what_is_wrong(cell, message: str):
    with pytest.raises(CellError, match=message):
        read(cell)


def test_vectors_a_frame_are_a_clip_where_the_kind_is_given():
    steps = np.random.default_rng(0).normal(size=(5, 3)).tolist()
    frame = pd.DataFrame({"pose": [steps] * 4})
    assert read_table(frame).schema.columns[0].kind == "series"
    assert read_table(frame, kinds={"pose": "video"}).schema.columns[0].kind == "video"
    video = Video.fit([read(steps)], frames=9)
    x = video.tensor([read(steps)])
    assert x.shape == (1, 9, 3)
    standard = (np.array(steps) - np.array(video.mean)) / np.array(video.std)
    np.testing.assert_allclose(x[0, ::2], standard, atol=1e-5)
    assert video.variants == 2
    with pytest.raises(CellError, match="pictures where the others have vectors"):
        video.tensor([read(FRAMES)])


def test_one_affine_map_moves_all_frames_of_a_clip_alike():
    still = np.repeat(FRAMES[:1], 6, 0)
    video = Video.fit([read(still)])
    varied = video.augment(video.tensor([read(still)]), torch.Generator().manual_seed(0))
    torch.testing.assert_close(varied, varied[:, :1].expand_as(varied))


def test_features_tell_the_direction_of_a_movement():
    there, back = media.ball_of_frames(8), media.ball_of_frames(8)[::-1]
    video = Video.fit([read(there), read(back)])
    z = video.features(video.tensor([read(there), read(back)]))
    assert z[0] @ z[1] < 0.95
