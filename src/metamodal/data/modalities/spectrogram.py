"""A sound as a grey picture: loudness over time and frequency."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
import PIL.Image

__all__ = ["samples_of", "spectrogram_of"]

_STRIP = 4096  # frames that are transformed at a time
_FRAME = 256  # samples of a spectrogram's window


def spectrogram_of(value: Any) -> PIL.Image.Image | None:
    """The spectrogram of a sound that was read, or `None` of one too short."""
    wave = samples_of(value)
    return None if wave is None or len(wave) < 2 * _FRAME else PIL.Image.fromarray(_spectrogram(wave))


def samples_of(value: Any) -> np.ndarray | None:
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
