"""Audio: any file libsndfile reads, AAC by PyAV, or samples, as log-mel pictures of one length."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Generator, Tensor

from metamodal.data.modalities.aac import decoded_aac
from metamodal.data.modalities.capabilities import Capabilities, OptionalReader
from metamodal.data.modalities.files import NPY_MAGIC, array_of_npy, file_bytes
from metamodal.data.modalities.mel import mel_power, resampled
from metamodal.data.modalities.protocol import CellError, check_scales, modalities
from metamodal.data.modalities.sound import Sound, check_finite, check_length, check_rate, decoded
from metamodal.data.modalities.spectrogram import spectrogram_of

__all__ = ["Audio"]

_FRAMES = 128  # more are averaged in time
_FLOOR = 1e-6  # of the power of the loudest frame: 60 dB below it
_CLIP = 4.0
_CEPSTRA = 20
_PARTS = 6
_STRIP = 1 << 20
_TOGETHER = 320_000  # samples transformed at once: their spectra stay in the cache


@modalities.register("audio")
@dataclass(frozen=True)
class Audio:
    """Log-mel pictures of the first `seconds`, or of the loudest ones of a longer sound.

    Windows of 32 ms every 10 ms at `rate` samples a second, averaged to at most 128 frames. Power is
    taken relative to the sound's own loudest frame and floored 60 dB below it, so that loudness plays
    no part; then the logarithm is standardised by the training frames' `mean` and `std` per band. A
    shorter sound is followed by frames at the floor; a second channel is 1 where there is sound.
    """

    rate: int
    seconds: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    capabilities: ClassVar[Capabilities] = Capabilities(
        threaded=True,
        files=True,
        recorded=True,
        picture=spectrogram_of,
        reader=OptionalReader("av", "video", "AAC files (.m4a, .aac)", "all other sounds are read"),
    )

    def __post_init__(self) -> None:
        check_scales("audio", self.mean, self.std, self.rate, self.seconds, len(self.mean))

    @classmethod
    def read(cls, cell: Any, base: Path) -> Sound:
        """One channel of sound at its own rate, `None` for bare samples: they are at the fitted one."""
        if isinstance(cell, Sound):
            return cell
        if isinstance(cell, dict) and cell.get("array") is not None:
            rate = cell.get("sampling_rate")
            if not isinstance(rate, (int, float, np.number)) or not math.isfinite(rate):
                raise CellError(f"sampling_rate is {rate!r}. Give samples a second")
            check_rate(int(rate))
            return _of_samples(cell["array"], int(rate))
        if isinstance(cell, (list, tuple, np.ndarray)):
            return _of_samples(cell, None)
        data = file_bytes(cell, base, "sound")
        return _of_samples(array_of_npy(data), None) if data.startswith(NPY_MAGIC) else _of_file(data)

    @classmethod
    def fit(
        cls,
        values: Sequence[Sound],
        *,
        rate: Annotated[int, Field(ge=2000, le=96_000)] = 16_000,
        seconds: Annotated[float, Field(gt=0, le=600)] = 5.0,
        mels: Annotated[int, Field(ge=8, le=256)] = 48,
    ) -> Audio:
        """The most common rate up to `rate`, and 95 % of the durations up to `seconds`."""
        rates = Counter(v.rate for v in values if v.rate)
        rate = min(rate, rates.most_common(1)[0][0]) if rates else rate
        lasting = float(np.quantile([len(v.samples) / (v.rate or rate) for v in values], 0.95))
        seconds = round(max(0.1, min(seconds, lasting)), 3)
        unscaled = cls(rate, seconds, (0.0,) * mels, (1.0,) * mels)
        x = unscaled._logarithms(values[:: max(1, len(values) // 2000)])
        frames = x[:, 0].movedim(1, -1)[x[:, 1, 0] > 0]
        mean, std = frames.mean(0), frames.std(0, correction=0).clamp(min=1e-2)
        return cls(rate, seconds, tuple(mean.tolist()), tuple(std.tolist()))

    @property
    def shape(self) -> tuple[int, ...]:
        return (2, len(self.mean), -(-self._raw_frames // self._averaged))

    def tensor(self, values: Sequence[Sound]) -> Float[Tensor, "n 2 m l"]:
        x = self._logarithms(values)
        mean, std = torch.tensor(self.mean)[:, None], torch.tensor(self.std)[:, None]
        x[:, 0] = ((x[:, 0] - mean) / std).clamp(-_CLIP, _CLIP)
        return x

    def features(self, x: Float[Tensor, "n 2 m l"]) -> Float[Tensor, "n f"]:
        """Cepstra of the sound in six parts, their change, and each band's mean and spread in time."""
        there = x[:, 1, :1]
        count = there.sum(2, keepdim=True).clamp(min=1)
        body = x[:, 0]
        mean = (body * there).sum(2, keepdim=True) / count
        centred = (body - mean) * there
        spread = (centred.square().sum(2, keepdim=True) / count).sqrt()
        stretched = _stretched(body, there[:, 0].sum(1), 4 * _PARTS)
        cepstra = _cosines(body.shape[1], _CEPSTRA) @ stretched
        course = F.adaptive_avg_pool1d(cepstra, _PARTS)
        shape = course - cepstra.mean(2, keepdim=True)
        change = F.adaptive_avg_pool1d(cepstra.diff(dim=2).abs(), _PARTS // 2)
        parts = [course.flatten(1), shape.flatten(1), change.flatten(1), mean[..., 0], spread[..., 0]]
        sized = [F.normalize(p, dim=1) * w for p, w in zip(parts, (1.0, 0.3, 0.3, 0.7, 0.7))]
        return F.normalize(torch.cat(sized, 1), dim=1)

    def augment(self, x: Float[Tensor, "n 2 m l"], generator: Generator) -> Float[Tensor, "n 2 m l"]:
        """Another pace and start, another tone, one band and one moment masked, a little noise.

        The masks are those of SpecAugment (Park et al., 2019), smaller.
        """

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator)

        n, _, mels, frames = x.shape
        pace, start = 0.85 + 0.3 * uniform(n, 1), 0.1 * (uniform(n, 1) - 0.5)
        time = torch.linspace(-1, 1, frames) * pace + (pace - 1) + start
        pitch = torch.linspace(-1, 1, mels) + 0.06 * (uniform(n, 1) - 0.5)
        grid = torch.stack([time[:, None].expand(-1, mels, -1), pitch[..., None].expand(-1, -1, frames)], -1)
        y = F.grid_sample(x, grid, padding_mode="border", align_corners=True)
        there = (y[:, 1:] > 0.5).float()
        tilt = torch.randn(n, 5, 1, generator=generator).mT
        tone = 0.3 * F.interpolate(tilt, mels, mode="linear", align_corners=True).mT
        body = y[:, 0] + tone + 0.15 * torch.randn(n, mels, frames, generator=generator)
        band = (torch.linspace(0, 1, mels) - uniform(n, 1)).abs() < 0.06
        moment = (torch.linspace(0, 1, frames) - uniform(n, 1)).abs() < 0.05
        body = body.masked_fill(band[:, :, None] | moment[:, None], 0.0)
        return torch.cat([torch.where(there[:, 0] > 0, body, y[:, 0])[:, None], there.expand_as(y[:, 1:])], 1)

    @property
    def variants(self) -> int:
        return 2

    def variant(self, x: Float[Tensor, "n 2 m l"], number: int) -> Float[Tensor, "n 2 m l"]:
        """The sound backwards."""
        if not number:
            return x
        frames = x.shape[-1]
        there = x[:, 1, 0].sum(1, keepdim=True).long()
        at = torch.arange(frames).expand(len(x), -1)
        at = torch.where(at < there, there - 1 - at, at)
        return x.gather(3, at[:, None, None].expand_as(x))

    @property
    def _hop(self) -> int:
        return max(1, round(0.01 * self.rate))

    @property
    def _raw_frames(self) -> int:
        return 1 + int(self.seconds * self.rate) // self._hop

    @property
    def _averaged(self) -> int:
        return -(-self._raw_frames // _FRAMES)

    def _logarithms(self, values: Sequence[Sound]) -> Float[Tensor, "n 2 m l"]:
        chunk = max(1, _TOGETHER // max(1, int(self.seconds * self.rate)))
        return torch.cat([self._pictures(values[i : i + chunk]) for i in range(0, len(values), chunk)])

    def _pictures(self, values: Sequence[Sound]) -> Float[Tensor, "n 2 m l"]:
        window, length = 2 * round(0.016 * self.rate), int(self.seconds * self.rate)
        waves = torch.zeros(len(values), max(length, window))
        lengths = torch.zeros(len(values))
        for i, value in enumerate(values):
            wave = self._cut(value)
            waves[i, : len(wave)] = torch.from_numpy(wave)
            lengths[i] = len(wave)
        power = mel_power(waves, self.rate, window, self._hop, len(self.mean))[..., : self._raw_frames]
        missing = self._averaged * self.shape[2] - power.shape[2]
        power = F.avg_pool1d(F.pad(power, (0, missing)), self._averaged)
        loudest = power.mean(1, keepdim=True).amax(2, keepdim=True).clamp(min=1e-20)
        picture = (power / loudest).clamp(min=_FLOOR).log()
        frames = (1 + lengths // (self._hop * self._averaged)).clamp(max=self.shape[2])
        there = (torch.arange(self.shape[2]) < frames[:, None]).float()
        return torch.stack([picture, there[:, None].expand_as(picture)], 1)

    def _cut(self, value: Sound) -> np.ndarray:
        """The loudest `seconds` of a sound at the fitted rate, its peak at one."""
        rate, wave = value.rate or self.rate, value.samples
        length = max(1, int(self.seconds * rate))
        peak = np.float32(max(abs(float(wave.max())), abs(float(wave.min()))) or 1.0)
        start = _loudest(wave, peak, length) if len(wave) > length else 0
        wave = wave[start : start + length] / peak
        return resampled(wave, rate, self.rate)[: int(self.seconds * self.rate)]


def _loudest(wave: np.ndarray, peak: np.float32, length: int) -> int:
    """Where the `length` samples of most energy begin, the first of equal ones; in strips.

    The energy up to each sample is summed twice, `length` samples apart, so that no array is as long as
    the sound.
    """

    def energy(before: float, start: int, stop: int) -> np.ndarray:
        squares = np.square(wave[start:stop] / peak, dtype=np.float64)
        return np.cumsum(np.concatenate([[before], squares]))

    ahead = 0.0
    for start in range(0, length, _STRIP):
        ahead = float(energy(ahead, start, min(start + _STRIP, length))[-1])
    behind, best, most = 0.0, 0, -1.0
    for start in range(0, len(wave) - length + 1, _STRIP):
        stop = min(start + _STRIP, len(wave) - length)
        late, early = energy(ahead, start + length, stop + length), energy(behind, start, stop)
        gain = late - early
        at = int(gain.argmax())
        if gain[at] > most:
            best, most = start + at, float(gain[at])
        ahead, behind = float(late[-1]), float(early[-1])
    return best


def _of_file(data: bytes) -> Sound:
    container = data[4:8] == b"ftyp" or data[:2] in (b"\xff\xf1", b"\xff\xf9")
    return decoded_aac(data) if container else decoded(data)


def _of_samples(cell: Any, rate: int | None) -> Sound:
    """Samples, or samples by channels either way round, as one channel."""
    try:
        samples = np.asarray(cell)
    except ValueError:
        raise CellError("the channels of a sound must have one length. Fix the cell") from None
    if samples.dtype.kind not in "fiu" or samples.ndim not in (1, 2) or 0 in samples.shape:
        raise CellError(
            f"an array of shape {samples.shape} and type {samples.dtype} is no sound. Give one channel of samples"
        )
    if samples.dtype == np.uint8:
        samples = samples.astype(np.float32) - 128
    if samples.ndim == 2:
        samples = samples.mean(int(np.argmin(samples.shape)))
    check_length(len(samples), rate or 48_000)
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
        samples = samples.astype(np.float32)
    check_finite(samples)
    return Sound(samples, rate)


def _stretched(
    x: Float[Tensor, "n m l"], lengths: Float[Tensor, " n"], points: int
) -> Float[Tensor, "n m p"]:
    """Each row's first frames, as many as its length says, resampled to as many points."""
    at = torch.linspace(0, 1, points) * (lengths - 1).clamp(min=0)[:, None]
    low = at.floor().long()
    high = (low + 1).clamp(max=x.shape[2] - 1)
    share = (at - low)[:, None]
    return _picked(x, low) * (1 - share) + _picked(x, high) * share


def _picked(x: Float[Tensor, "n m l"], at: Int[Tensor, "n p"]) -> Float[Tensor, "n m p"]:
    return x.gather(2, at[:, None].expand(-1, x.shape[1], -1))


@cache
def _cosines(size: int, count: int) -> Float[Tensor, "k m"]:
    """The rows of the discrete cosine transform that follow the constant one."""
    k = torch.arange(1, min(count, size - 1) + 1)[:, None]
    return torch.cos(math.pi / size * k * (torch.arange(size) + 0.5)) * math.sqrt(2 / size)
