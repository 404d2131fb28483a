"""What is kept of a cell once it was open: enough to tell its like, far less than the cell."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from metamodal.data.digests import digest

__all__ = ["LOOK", "Signature", "grid", "signature", "text_key"]

LOOK = 16
"""Side of the thumbnail by which pictures and sounds are compared."""
_SIDE = 32
_STRIP = 4096  # frames that are transformed at a time
_FRAME = 256  # samples of a spectrogram's window


class Signature(NamedTuple):
    """A content's digest, and of pictures and sounds a thumbnail and its perceptual hash.

    `width` is the number of channels of a series or values of a vector; `blank` says that the cell
    holds nothing but one value.
    """

    digest: int
    look: np.ndarray | None = None
    hash: int = 0
    width: int = 0
    blank: bool = False


def signature(kind: str, value: Any) -> Signature:
    """The signature of a read cell."""
    if kind in ("image", "audio"):
        square = grid(kind, value, _SIDE)
        blank = _blank(value)
        if square is None or blank:
            return Signature(_digest(value), blank=blank)
        look = square.reshape(LOOK, _SIDE // LOOK, LOOK, _SIDE // LOOK).mean((1, 3))
        return Signature(_digest(value), look.round().astype(np.uint8), _perceptual_hash(square))
    if isinstance(value, np.ndarray) and value.ndim and value.dtype.kind == "f":
        return Signature(_digest(value), width=value.shape[-1], blank=_blank(value))
    return Signature(_digest(text_key(value) if kind == "text" else value))


def text_key(text: str) -> str:
    """A text less its case, signs and spaces: what is left is the same in near-duplicates."""
    key = "".join(c if c.isalnum() else " " for c in text.casefold())
    return " ".join(key.split()) or text


def grid(kind: str, value: Any, side: int, *, colour: bool = False) -> np.ndarray | None:
    """A picture or a sound's spectrogram as `side` × `side` grey values (or colours), 0 to 255."""
    if kind == "image":
        grey = PIL.Image.fromarray(value).convert("RGB" if colour else "L")
    else:
        wave = _wave(value)
        if wave is None or len(wave) < 2 * _FRAME:
            return None
        grey = PIL.Image.fromarray(_spectrogram(wave))
    return np.asarray(grey.resize((side, side), PIL.Image.Resampling.BOX), dtype=np.float32)


def _wave(value: Any) -> np.ndarray | None:
    """The longest one-dimensional array in what a sound was read as."""
    if is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, f.name) for f in fields(value)]
    parts = value if isinstance(value, (tuple, list)) else [value]
    arrays = [
        a.mean(int(np.argmin(a.shape))) if a.ndim == 2 else a for a in parts if isinstance(a, np.ndarray)
    ]
    waves = [a for a in arrays if a.ndim == 1]
    return max(waves, key=len, default=None)


def _spectrogram(wave: np.ndarray) -> np.ndarray:
    """Loudness over time and frequency, 60 decibels down from the loudest, as bytes.

    A long sound is transformed in strips: its windows overlap, and together take many times its memory.
    """
    wave = wave.astype(np.float32, copy=False)
    steps = np.lib.stride_tricks.sliding_window_view(wave, _FRAME)[:: _FRAME // 2]
    decibels = np.empty((len(steps), _FRAME // 2 + 1), np.float32)
    strips = [slice(at, at + _STRIP) for at in range(0, len(steps), _STRIP)]
    for strip in strips:
        power = np.abs(np.fft.rfft(steps[strip] * _window(), axis=1)) ** 2
        decibels[strip] = 10 * np.log10(np.maximum(power, 1e-12))
    loudest, loud = decibels.max(), np.empty(decibels.shape, np.uint8)
    for strip in strips:
        loud[strip] = 255 * ((decibels[strip] - loudest) / 60 + 1).clip(0, 1)
    return loud.T


@cache
def _window() -> np.ndarray:
    return np.hanning(_FRAME).astype(np.float32)


def _perceptual_hash(square: np.ndarray) -> int:
    """Which of the 64 lowest frequencies (discrete cosine transform) are above their median."""
    waves = _cosines()
    low = (waves @ square @ waves.T).ravel()
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@cache
def _cosines() -> np.ndarray:
    k, n = np.arange(8)[:, None], np.arange(_SIDE)[None]
    return np.cos(np.pi * k * (2 * n + 1) / (2 * _SIDE)).astype(np.float32)


def _blank(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.size > 1 and bool((value == value.flat[0]).all())
    wave = _wave(value)
    return wave is not None and bool((wave == wave[:1]).all())


def _digest(value: Any) -> int:
    """64 bits of a content; never 0, which stands for no content."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in fields(value)}
    return int.from_bytes(digest(value)[:8], "big") or 1
