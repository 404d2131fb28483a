"""Series: steps of one or more channels, of any length, resampled to one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from metamodal.data.modalities.protocol import CellError, modalities

__all__ = ["Series"]

_CLIP = 4.0
_OUTLINE = 16


@modalities.register("series")
@dataclass(frozen=True)
class Series:
    """Series of `length` points: each channel less its `centre`, over its `scale`, cut at ±4.

    Centre and scale are the training steps' median and interquartile range, so that a few wild
    values do not flatten the rest. A last channel, constant in time, holds the logarithm of the
    number of steps, standardised.
    """

    length: int
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    log_steps: tuple[float, float]

    @classmethod
    def read(cls, cell: Any, base: Path) -> np.ndarray:
        """A series as `(steps, channels)` floats; a plain list of numbers is one channel."""
        try:
            steps = [np.asarray(step) for step in cell]
            value = np.stack(steps) if steps else np.zeros((0, 1))
        except (TypeError, ValueError):
            raise CellError("the steps of a series must have one length. Mend the cell") from None
        if value.dtype.kind in "US":
            raise CellError(f"steps are words ({str(value.flat[0])!r}). Say --kind COLUMN=text")
        if value.dtype.kind not in "fiub":
            raise CellError("a step has an empty or non-numeric value. Fill it or leave the whole cell empty")
        with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
            value = value.astype(np.float32)
        value = value[:, None] if value.ndim == 1 else value
        if value.ndim != 2 or value.shape[0] == 0:
            raise CellError(f"an array of shape {value.shape} is no series. Give steps × channels")
        if not np.isfinite(value).all():
            step, channel = map(int, np.argwhere(~np.isfinite(value))[0])
            raise CellError(f"step {step}, channel {channel} is {value[step, channel]}. Give a finite number")
        return value

    @classmethod
    def fit(cls, values: Sequence[np.ndarray], length: int = 96) -> Series:
        channels = values[0].shape[1]
        steps = np.concatenate([v for v in values if v.shape[1] == channels])
        low, centre, high = np.quantile(steps, [0.25, 0.5, 0.75], axis=0)
        spread = np.where(high - low > 0, high - low, steps.std(0))
        scale = np.where(spread > 0, spread, 1.0)
        logs = np.log([len(v) for v in values])
        return cls(
            length=int(min(length, max(8, max(len(v) for v in values)))),
            centre=tuple(map(float, centre)),
            scale=tuple(map(float, scale)),
            log_steps=(float(logs.mean()), float(logs.std() or 1.0)),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.centre) + 1, self.length)

    def tensor(self, values: Sequence[np.ndarray]) -> Float[Tensor, "n c l"]:
        rows = np.stack([self._resampled(v) for v in values])
        mean, std = self.log_steps
        duration = np.array([(math.log(len(v)) - mean) / std for v in values], dtype=np.float32)
        rows = (rows - np.array(self.centre)[:, None]) / np.array(self.scale)[:, None]
        x = torch.from_numpy(rows.clip(-_CLIP, _CLIP)).float()
        last = torch.from_numpy(duration.clip(-_CLIP, _CLIP))[:, None, None].expand(-1, 1, self.length)
        return torch.cat([x, last], 1)

    def features(self, x: Float[Tensor, "n c l"]) -> Float[Tensor, "n f"]:
        """The course of each channel in 16 points, as it is and less its mean, its spread and speed."""
        body, duration = x[:, :-1], x[:, -1, :1]
        outline = F.adaptive_avg_pool1d(body, _OUTLINE)
        centred = outline - outline.mean(2, keepdim=True)
        centred = centred / body.std(2, keepdim=True).clamp(min=0.1)
        speed = body.diff(dim=2).abs().mean(2)
        parts = [outline.flatten(1), centred.flatten(1)]
        parts += [body.mean(2), body.std(2), speed, duration]
        return F.normalize(torch.cat([F.normalize(p, dim=1) for p in parts], 1), dim=1)

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
        mixing = torch.eye(channels) * (1 + 0.25 * normal(n, channels, 1))
        mixing = mixing + 0.15 * normal(n, channels, channels) * (1 - torch.eye(channels))
        mixing[:, -1, :-1] = 0
        return mixing @ x + 0.25 * normal(n, channels, 1)

    @property
    def variants(self) -> int:
        return 8

    def variant(self, x: Float[Tensor, "n c l"], number: int) -> Float[Tensor, "n c l"]:
        """Channels mirrored at their centre, time reversed."""
        signs = torch.tensor([-1.0 if number >> (c % 2) & 1 else 1.0 for c in range(x.shape[1])])
        signs[-1] = 1.0
        x = x * signs[:, None]
        return x.flip(2) if number & 4 else x

    def _resampled(self, value: np.ndarray) -> np.ndarray:
        if value.shape[1] != len(self.centre):
            raise CellError(
                f"{value.shape[1]} channels where the others have {len(self.centre)}. Mend the cell"
            )
        if len(value) == self.length:
            return value.T
        at = np.linspace(0, len(value) - 1, self.length)
        steps = np.arange(len(value))
        return np.stack([np.interp(at, steps, channel) for channel in value.T]).astype(np.float32)
