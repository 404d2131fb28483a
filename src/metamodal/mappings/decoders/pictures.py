"""Decoders of pictures."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor, nn

from metamodal.mappings.decoders.registry import GROUPS, decoders, doublings
from metamodal.mappings.layers import Conv2d, GroupNorm, Linear

__all__ = ["ConvDecoder"]


@decoders.register("image")
class ConvDecoder(nn.Module):
    """A small picture of many channels, convolved and doubled in size until it is as large as it should be.

    Interpolation leaves no chequers, as transposed convolution does (Odena et al., 2016), and reaches any
    size. To convolve before doubling takes a quarter of the time.
    """

    def __init__(
        self, shape: tuple[int, ...], dim: int, *, widths: tuple[PositiveInt, ...] = (64, 48, 16)
    ) -> None:
        super().__init__()
        channels, height, width = shape
        self.sizes = list(zip(doublings(height, len(widths)), doublings(width, len(widths))))
        self.start = (widths[0], *self.sizes[0])
        self.into = Linear(dim, widths[0] * self.sizes[0][0] * self.sizes[0][1])
        self.stages = nn.ModuleList(
            nn.Sequential(Conv2d(before, after, 3, padding=1), GroupNorm(GROUPS, after), nn.ReLU())
            for before, after in zip((widths[0], *widths), widths)
        )
        self.out = Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
        h = self.into(z).unflatten(1, self.start)
        for size, stage in zip(self.sizes[1:], self.stages):
            h = F.interpolate(stage(h), size=size, mode="bilinear", align_corners=False)
        return self.out(h)
