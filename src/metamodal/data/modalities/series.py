"""Series: steps of one or more channels, or symbols, of any length and pace, resampled to one."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from metamodal.data.modalities.capabilities import Capabilities
from metamodal.data.modalities.protocol import CellError, check_scales, modalities, most_common
from metamodal.data.modalities.steps import Steps, read_steps

__all__ = ["Series"]

_CLIP = 4.0
_OUTLINE = 16
_MOST_SYMBOLS = 64
_FLOOR = 0.03  # of what is put into logarithms: about the noise of a sensor at rest
_USUAL = 1.0  # minus the usual logarithm of energy


@modalities.register("series")
@dataclass(frozen=True)
class Series:
    """Series of `length` points: each channel less its `centre`, over its `scale`, cut at ±4.

    Centre and scale are the training steps' median and interquartile range, so that a few wild
    values do not flatten the rest. Where training cells are sequences of symbols there is a channel
    for each of the `symbols` (the 64 most common), one for all others, and the nearest step counts.
    If training cells have `gaps`, one more channel says what share of the values around a point was
    observed. A last channel, constant in time, holds the logarithm of the duration, standardised:
    of the number of steps, or of the time they span if the cells are `timed`.
    """

    length: int
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    log_steps: tuple[float, float]
    symbols: tuple[str, ...] = ()
    gaps: bool = False
    timed: bool = False

    capabilities: ClassVar[Capabilities] = Capabilities(counted="channels")

    def __post_init__(self) -> None:
        check_scales("series", self.centre, self.scale, self.length, self.log_steps[1], *self.scale)

    @classmethod
    def read(cls, cell: Any, base: Path) -> Steps:
        return read_steps(cell)

    @classmethod
    def fit(cls, values: Sequence[Steps], *, length: Annotated[int, Field(ge=8, le=65_536)] = 96) -> Series:
        timed = sum(v.times is not None for v in values) > len(values) / 2
        logs = np.log([_extent(v, timed) for v in values])
        fitted: dict[str, Any] = {
            "length": int(min(length, max(8, max(len(v) for v in values)))),
            "log_steps": (float(logs.mean()), float(logs.std()) or 1.0),
            "timed": timed,
        }
        kind, channels = most_common(values, lambda v: (v.dtype.kind, v.shape[1]))
        if kind == "U":
            counted = Counter(str(s) for v in values for s in v.ravel() if v.dtype.kind == "U")
            known = sorted(counted, key=lambda s: (-counted[s], s))[:_MOST_SYMBOLS]
            zeros, ones = (0.0,) * (len(known) + 1), (1.0,) * (len(known) + 1)
            return cls(centre=zeros, scale=ones, symbols=tuple(known), **fitted)
        alike = [v for v in values if v.shape[1] == channels and v.dtype.kind == kind]
        steps = np.concatenate(alike)
        gaps = bool(np.isnan(steps).any())
        observed = [c[~np.isnan(c)] for c in steps.T] if gaps else list(steps.T)
        low, centre, high = np.array(
            [np.quantile(c, [0.25, 0.5, 0.75]) if len(c) else [0.0] * 3 for c in observed]
        ).T
        spread = np.where(high - low > 0, high - low, [c.std() if len(c) else 0.0 for c in observed])
        scale = np.where(spread > 0, spread, 1.0)
        return cls(centre=tuple(map(float, centre)), scale=tuple(map(float, scale)), gaps=gaps, **fitted)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.centre) + self.gaps + 1, self.length)

    def tensor(self, values: Sequence[Steps]) -> Float[Tensor, "n c l"]:
        rows = np.stack([self._resampled(v) for v in values])
        mean, std = self.log_steps
        logs = np.array([(math.log(_extent(v, self.timed)) - mean) / std for v in values], dtype=np.float32)
        duration = torch.from_numpy(logs.clip(-_CLIP, _CLIP))[:, None, None]
        return torch.cat([torch.from_numpy(rows), duration.expand(-1, 1, self.length)], 1)

    def cells(self, x: Float[Tensor, "n c l"]) -> list[Any]:
        """Steps × channels, as many steps as the duration says; symbols; or records of times from 0 on."""
        mean, std = self.log_steps
        extents = (x[:, -1].mean(1).clamp(-_CLIP, _CLIP) * std + mean).exp().tolist()
        return [self._cell(rows.T, extent) for rows, extent in zip(x[:, :-1].numpy(), extents)]

    def features(self, x: Float[Tensor, "n c l"]) -> Float[Tensor, "n f"]:
        """The course of each channel in 16 points, as it is and less its mean; its spread and speed, also as
        logarithms; and the log power of its frequencies, by octaves and as shares."""
        body, duration = x[:, :-1], x[:, -1, :1]
        outline = F.adaptive_avg_pool1d(body, _OUTLINE)
        centred = outline - outline.mean(2, keepdim=True)
        centred = centred / body.std(2, keepdim=True).clamp(min=0.1)
        speed = body.diff(dim=2).abs().mean(2)
        powers = _octaves(body)
        energies = torch.stack([body.std(2), speed, body.abs().amax(2)], 2)
        logs = torch.cat([(energies + _FLOOR).log().flatten(1), powers.flatten(1)], 1)
        tilt = powers - powers.mean(2, keepdim=True)
        parts = [outline.flatten(1), centred.flatten(1), tilt.flatten(1)]
        parts += [body.mean(2), body.std(2), speed, duration]
        sized = [F.normalize(p, dim=1) for p in parts] + [(logs + _USUAL) / math.sqrt(logs.shape[1])]
        return torch.cat(sized, 1) / math.sqrt(len(sized))

    def augment(self, x: Float[Tensor, "n c l"], generator: Generator) -> Float[Tensor, "n c l"]:
        """Another pace, other scales and offsets, a little mixing of channels."""

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        n, channels, length = x.shape
        u = torch.linspace(0, 1, length)
        warp = u + 0.08 * normal(n, 1) * torch.sin(math.pi * u)
        warp = (warp + 0.05 * normal(n, 1) * torch.sin(2 * math.pi * u)).clamp(0, 1)
        grid = torch.stack([warp * 2 - 1, torch.zeros_like(warp)], -1)[:, None]
        x = F.grid_sample(x[:, :, None], grid, align_corners=True)[:, :, 0]
        if self.symbols:
            return torch.cat([x[:, :-1], x[:, -1:] + 0.25 * normal(n, 1, 1)], 1)
        mixing = torch.eye(channels) * (1 + 0.25 * normal(n, channels, 1))
        mixing = mixing + 0.15 * normal(n, channels, channels) * (1 - torch.eye(channels))
        mixing[:, -1, :-1] = 0
        offset = 0.25 * normal(n, channels, 1)
        if self.gaps:
            mixing[:, -2], mixing[:, :-2, -2], mixing[:, -2, -2], offset[:, -2] = 0, 0, 1, 0
        return mixing @ x + offset

    @property
    def variants(self) -> int:
        return 2 * min(4, len(self.symbols) or 2 ** len(self.centre))

    def variant(self, x: Float[Tensor, "n c l"], number: int) -> Float[Tensor, "n c l"]:
        """Channels mirrored at their centre, or symbols in each other's place; time reversed."""
        half = self.variants // 2
        if self.symbols:
            moved = x[:, : len(self.symbols)].roll(number % half, 1)
            x = torch.cat([moved, x[:, len(self.symbols) :]], 1)
        else:
            signs = torch.tensor([-1.0 if number % half >> (c % 2) & 1 else 1.0 for c in range(x.shape[1])])
            signs[len(self.centre) :] = 1.0
            x = x * signs[:, None]
        return x.flip(2) if number >= half else x

    def _cell(self, points: np.ndarray, extent: float) -> Any:
        """One cell from its points × channels."""
        count = self.length if self.timed else max(1, round(extent))
        at = np.linspace(0, self.length - 1, count)
        if self.symbols:
            known = points[:, : len(self.symbols)].argmax(1)
            values: list[Any] = [self.symbols[known[i]] for i in at.round().astype(int)]
        else:
            channels = points[:, : len(self.centre)] * np.array(self.scale) + np.array(self.centre)
            rows = [np.interp(at, np.arange(self.length), channel) for channel in channels.T]
            values = np.stack(rows, 1).tolist()
        return {"time": np.linspace(0, extent, count).tolist(), "values": values} if self.timed else values

    def _resampled(self, value: Steps) -> np.ndarray:
        if (value.dtype.kind == "U") != bool(self.symbols):
            found, wanted = ("symbols", "numbers") if value.dtype.kind == "U" else ("numbers", "symbols")
            raise CellError(f"steps are {found} where the others have {wanted}. Fix the cell")
        if not self.symbols and value.shape[1] != len(self.centre):
            raise CellError(
                f"{value.shape[1]} channels where the others have {len(self.centre)}. Fix the cell"
            )
        steps = np.arange(len(value)) if value.times is None else value.times
        at = np.linspace(steps[0], steps[-1], self.length)
        plain = np.asarray(value)
        if self.symbols:
            nearest = _nearest(at, steps)
            place = {symbol: i for i, symbol in enumerate(self.symbols)}
            codes = np.array([place.get(str(s), len(place)) for s in plain[:, 0]])[nearest]
            return np.eye(len(place) + 1, dtype=np.float32)[codes].T
        if value.times is None and len(value) == self.length and not self.gaps:
            filled = plain.T if not np.isnan(plain).any() else self._filled(plain, steps, at)
        else:
            filled = self._filled(plain, steps, at)
        rows = (filled - np.array(self.centre)[:, None]) / np.array(self.scale)[:, None]
        rows = rows.clip(-_CLIP, _CLIP)
        if self.gaps:
            share = np.interp(at, steps, (~np.isnan(plain)).mean(1))
            rows = np.concatenate([rows, share[None]])
        return rows.astype(np.float32)

    def _filled(self, steps: np.ndarray, times: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Each channel at the times `at`, straight lines between what was observed."""
        rows = []
        for channel, centre in zip(steps.T, self.centre):
            there = ~np.isnan(channel)
            rows.append(
                np.interp(at, times[there], channel[there]) if there.any() else np.full(len(at), centre)
            )
        return np.stack(rows)


def _nearest(at: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """For each time the step nearest to it, the first of equally near ones; `steps` are in order."""
    after = np.searchsorted(steps, at).clip(max=len(steps) - 1)
    before = (after - 1).clip(min=0)
    chosen = np.where(np.abs(at - steps[before]) <= np.abs(at - steps[after]), before, after)
    return np.searchsorted(steps, steps[chosen])


def _extent(value: Steps, timed: bool) -> float:
    """How long a series is, in steps or in its own time; never 0."""
    if not timed:
        return float(len(value))
    span = float(value.times[-1] - value.times[0]) if value.times is not None else 0.0
    return span if span > 0 else 1e-3


def _octaves(body: Float[Tensor, "n c l"]) -> Float[Tensor, "n c o"]:
    """The log power of each channel in octaves of its frequencies, from one period up."""
    centred = (body - body.mean(2, keepdim=True)) * torch.hann_window(body.shape[2])
    powers = torch.fft.rfft(centred, dim=2).abs().square()[:, :, 1:] / body.shape[2]
    edges = [0, *(2**i for i in range(1, 12) if 2**i < powers.shape[2]), powers.shape[2]]
    bands = [powers[:, :, a:b].mean(2) for a, b in itertools.pairwise(edges)]
    return 0.5 * (torch.stack(bands, 2) + _FLOOR**2).log()
