"""Mel spectra: what a sound holds at which pitch and time (Slaney's scale and filters)."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["mel_filters", "mel_power", "resampled"]

_LINEAR = 3 / 200  # mel per Hz below 1000 Hz
_BREAK = 1000.0
_STEP = np.log(6.4) / 27  # above, a mel is a constant ratio


def resampled(samples: np.ndarray, old: int, new: int) -> np.ndarray:
    """The samples at another rate, low-passed first (`scipy.signal.resample_poly`).

    The ratio is rounded to a fraction of numbers up to 20 000, which bounds the length of the filter.
    """
    if old == new:
        return samples
    from scipy.signal import resample_poly

    ratio = Fraction(new, old).limit_denominator(20_000)
    return resample_poly(samples, max(1, ratio.numerator), ratio.denominator).astype(np.float32)


@cache
def mel_filters(rate: int, window: int, count: int) -> Float[Tensor, "m b"]:
    """Triangles on the mel scale over the bins of a spectrum, each of area one (Slaney, 1998)."""
    edges = _hertz(np.linspace(0, _mel(np.array(rate / 2)), count + 2))
    bins = np.linspace(0, rate / 2, window // 2 + 1)
    slopes = edges[:, None] - bins
    rise = -slopes[:-2] / (edges[1:-1] - edges[:-2])[:, None]
    fall = slopes[2:] / (edges[2:] - edges[1:-1])[:, None]
    filters = np.clip(np.minimum(rise, fall), 0, None)
    area = 2 / (edges[2:] - edges[:-2])
    return torch.from_numpy(filters * area[:, None]).float()


def mel_power(
    samples: Float[Tensor, "n s"], rate: int, window: int, hop: int, count: int
) -> Float[Tensor, "n m l"]:
    """Power in each mel band of frames every `hop` samples, seen through Hann windows."""
    spectrum = torch.stft(
        samples,
        window,
        hop,
        window=torch.hann_window(window),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    return mel_filters(rate, window, count) @ (spectrum.real.square() + spectrum.imag.square())


def _mel(hertz: np.ndarray) -> np.ndarray:
    above = _BREAK * _LINEAR + np.log(np.maximum(hertz, _BREAK) / _BREAK) / _STEP
    return np.where(hertz < _BREAK, hertz * _LINEAR, above)


def _hertz(mel: np.ndarray) -> np.ndarray:
    above = _BREAK * np.exp(_STEP * (np.maximum(mel, _BREAK * _LINEAR) - _BREAK * _LINEAR))
    return np.where(mel < _BREAK * _LINEAR, mel / _LINEAR, above)
