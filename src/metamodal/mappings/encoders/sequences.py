"""Encoders of what runs in time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor, nn

from metamodal.mappings.encoders.registry import GROUPS, encoders
from metamodal.mappings.layers import Conv1d, GroupNorm, Linear

__all__ = ["TemporalEncoder"]


@encoders.register("series")
class TemporalEncoder(nn.Module):
    """Convolutions over time, then the mean and the maximum of each feature over time.

    Each channel is seen three times: as it is, less its own mean and over its own spread, and as
    its change from step to step.
    """

    def __init__(
        self, shape: tuple[int, ...], dim: int, *, width: PositiveInt = 64, blocks: PositiveInt = 3
    ) -> None:
        super().__init__()
        channels = 3 * shape[0]
        layers: list[nn.Module] = []
        for _ in range(blocks):
            layers += [
                Conv1d(channels, width, 5, padding=2),
                GroupNorm(GROUPS, width),
                nn.ReLU(),
                nn.MaxPool1d(2),
            ]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.out = Linear(2 * width, dim)

    def forward(self, x: Float[Tensor, "n c l"]) -> Float[Tensor, "n d"]:
        change = F.pad(x.diff(dim=2), (0, 1)) * 4
        spread = (x.var(2, keepdim=True, correction=0) + 0.01).sqrt()
        own = (x - x.mean(2, keepdim=True)) / spread
        h = self.layers(torch.cat([x, own, change], 1))
        return self.out(torch.cat([h.mean(2), h.amax(2)], 1))
