"""Decoders of what runs in time."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor, nn

from metamodal.mappings.decoders.registry import GROUPS, decoders, doublings
from metamodal.mappings.layers import Conv1d, GroupNorm, Linear

__all__ = ["TemporalDecoder"]


@decoders.register("series")
class TemporalDecoder(nn.Module):
    """A few points of many channels, doubled in number and convolved, straight lines between them."""

    def __init__(
        self, shape: tuple[int, ...], dim: int, *, width: PositiveInt = 64, stages: PositiveInt = 3
    ) -> None:
        super().__init__()
        channels, length = shape
        self.sizes = doublings(length, stages)
        self.start = (width, self.sizes[0])
        self.into = Linear(dim, width * self.sizes[0])
        self.stages = nn.ModuleList(
            nn.Sequential(Conv1d(width, width, 5, padding=2), GroupNorm(GROUPS, width), nn.ReLU())
            for _ in range(stages)
        )
        self.out = Conv1d(width, channels, 5, padding=2)

    def forward(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n c l"]:
        h = self.into(z).unflatten(1, self.start)
        for size, stage in zip(self.sizes[1:], self.stages):
            h = stage(F.interpolate(h, size=size, mode="linear", align_corners=False))
        return self.out(h)
