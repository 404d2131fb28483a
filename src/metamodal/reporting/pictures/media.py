"""Images, sounds and clips: thumbnails, mel spectrograms, and three frames side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import PIL.Image
import torch
from markupsafe import Markup

from metamodal.data.modalities.mel import mel_power
from metamodal.data.modalities.sound import Sound
from metamodal.reporting.pictures.pixels import embedded, shaded, shrunk
from metamodal.reporting.pictures.scale import heat, usual_range
from metamodal.reporting.pictures.svg import coordinate, svg

__all__ = ["clip_brush", "image", "sound"]

_SIDE = 64  # pixels of an image, shown at two thirds of that so that it is sharp on dense screens
_FRAME_SIDE = 48
_BANDS = 32
_COLUMNS = 72
_WINDOWS = 4 * _COLUMNS  # spectra at most, so that ten minutes cost no more than ten seconds
_FEW = 8  # spectra below which a sound is drawn as a wave
_DEPTH = 5.0  # powers of ten from black to white
_BARE_RATE = 16_000  # of samples that come without, as `Audio.fit` takes them


def image(value: np.ndarray) -> Markup:
    """A thumbnail."""
    picture = PIL.Image.fromarray(value)
    grain = "coarse" if max(picture.size) < _SIDE / 2 else "fine"
    picture.thumbnail((_SIDE, _SIDE))
    return embedded(picture, grain)


def sound(value: Sound) -> Markup:
    """Low to high pitch upwards, dark where loud, against the sound's own loudest; a tiny one as a wave."""
    rate, samples = value.rate or _BARE_RATE, value.samples
    window, hop = 2 * round(0.016 * rate), max(rate // 100, -(-len(samples) // _WINDOWS))
    peak = float(np.abs(samples).max())
    if peak == 0 or len(samples) < max(window, _FEW * hop):
        return _wave(samples / (peak or 1.0), str(value))
    bands = min(_BANDS, max(4, window // 8))  # fewer, so that each has a bin of the spectrum
    power = mel_power(torch.from_numpy(samples / np.float32(peak))[None], rate, window, hop, bands)
    blurred = shrunk(power[0].numpy().astype(np.float64), bands, _COLUMNS)
    shares = 1 + np.log10(np.maximum(blurred / blurred.max(), 1e-12)) / _DEPTH
    return shaded(shares[::-1], str(value))


def _wave(samples: np.ndarray, title: str) -> Markup:
    """The extremes of neighbouring samples as upright strokes."""
    parts = np.array_split(samples, min(_COLUMNS // 2, len(samples)))
    width = _COLUMNS / len(parts)
    strokes = (
        f"M{coordinate((i + 0.5) * width)} {coordinate(24 - 22 * float(part.max()) - 0.5)}"
        f"v{coordinate(22 * float(np.ptp(part)) + 1)}"
        for i, part in enumerate(parts)
    )
    return svg(_COLUMNS, 48, Markup('<path d="{}"/>').format("".join(strokes)), title)


def clip_brush(values: Iterator[Any]) -> Callable[[Any], Markup]:
    """What draws the clips of a column of which `values` are some: pictures, or a vector a frame."""
    first = next(values, None)
    if not isinstance(first, np.ndarray):  # frames are their own scale, so that no more need be decoded
        return partial(_clip, usual_range([]))
    return partial(_clip, usual_range([first, *(v for v in values if isinstance(v, np.ndarray))]))


def _clip(usual: np.ndarray, value: list[np.ndarray] | np.ndarray) -> Markup:
    if isinstance(value, np.ndarray):
        return heat(usual, value, "1 frame" if len(value) == 1 else f"{len(value)} frames")
    return _frames(value)


def _frames(frames: list[np.ndarray]) -> Markup:
    """Frames from early, the middle and late, rather than the ends, which are often black."""
    count = min(3, len(frames))
    chosen = [PIL.Image.fromarray(frames[int((i + 0.5) * len(frames) / count)]) for i in range(count)]
    grain = "coarse" if max(chosen[0].size) < _FRAME_SIDE / 2 else "fine"
    for picture in chosen:
        picture.thumbnail((_FRAME_SIDE, _FRAME_SIDE))
    gap = max(1, chosen[0].height // 24)
    mode = "L" if all(picture.mode == "L" for picture in chosen) else "RGB"
    width = sum(picture.width + gap for picture in chosen) - gap
    strip = PIL.Image.new(mode, (width, max(picture.height for picture in chosen)), "white")
    at = 0
    for picture in chosen:
        strip.paste(picture, (at, 0))
        at += picture.width + gap
    return embedded(strip, f"{grain} strip", "early, middle and late" if count == 3 else "")
