"""Encoders of pictures: images, the mel pictures of sounds, and clips."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor, nn

from metamodal.mappings.encoders.registry import GROUPS, Residual, encoders
from metamodal.mappings.encoders.sequences import TemporalEncoder
from metamodal.mappings.layers import Conv2d, GroupNorm, Linear

__all__ = ["AudioEncoder", "ConvEncoder", "VideoEncoder"]


@encoders.register("image")
class ConvEncoder(nn.Module):
    """A small residual network whose strides halve the picture at each stage.

    Strides instead of pooling make it about three times as fast on a CPU as the four-block
    network with max-pooling that few-shot papers use (`benchmarks/encoders.py`).
    """

    def __init__(
        self, shape: tuple[int, ...], dim: int, *, widths: tuple[PositiveInt, ...] = (32, 64, 128)
    ) -> None:
        super().__init__()
        channels, side = shape[0], shape[-1]
        stages: list[nn.Module] = []
        for i, width in enumerate(widths):
            stages += [
                Conv2d(channels, width, 3, stride=2, padding=1),
                GroupNorm(GROUPS, width),
                nn.ReLU(),
            ]
            if i:
                stages.append(Residual(Conv2d, width))
            channels, side = width, (side + 1) // 2
        self.stages = nn.Sequential(*stages)
        self.out = Linear(channels * side * side, dim)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        return self.out(self.stages(x).flatten(1))


@encoders.register("audio")
class AudioEncoder(nn.Module):
    """The same network over a mel picture, whose last channel says where there is sound.

    The mean and the maximum over the moments with sound keep the pitch and drop the time.
    """

    def __init__(
        self, shape: tuple[int, ...], dim: int, *, widths: tuple[PositiveInt, ...] = (32, 64, 128)
    ) -> None:
        super().__init__()
        channels, height = shape[0] + 1, shape[1]
        stages: list[nn.Module] = []
        for i, width in enumerate(widths):
            stages += [
                Conv2d(channels, width, 3, stride=2, padding=1),
                GroupNorm(GROUPS, width),
                nn.ReLU(),
            ]
            if i:
                stages.append(Residual(Conv2d, width))
            channels, height = width, (height + 1) // 2
        self.stages = nn.Sequential(*stages)
        self.stride = 2 ** len(widths)
        self.out = Linear(2 * channels * height, dim)

    def forward(self, x: Float[Tensor, "n c m l"]) -> Float[Tensor, "n d"]:
        there = x[:, -1:]
        body = x[:, :1] * there
        own = body - body.sum(3, keepdim=True) / there.sum(3, keepdim=True).clamp(min=1)
        h = self.stages(torch.cat([x, own * there], 1)).flatten(1, 2)
        there = there[:, 0, :1, :: self.stride]
        mean = (h * there).sum(2) / there.sum(2).clamp(min=1)
        return self.out(torch.cat([mean, (h * there).amax(2)], 1))


@encoders.register("video")
class VideoEncoder(nn.Module):
    """Frames and what changes between them: a network a picture, then one over time.

    Clips of vectors (shape `(frames, width)`) go through the second alone.
    """

    def __init__(
        self, shape: tuple[int, ...], dim: int, *, widths: tuple[PositiveInt, ...] = (16, 32, 64)
    ) -> None:
        super().__init__()
        self.of_frame: nn.Module | None = None
        if len(shape) == 4:
            channels, side = 2 * shape[1], shape[-1]
            stages: list[nn.Module] = []
            for width in widths:
                stages += [
                    Conv2d(channels, width, 3, stride=2, padding=1),
                    GroupNorm(GROUPS, width),
                    nn.ReLU(),
                ]
                channels, side = width, (side + 1) // 2
            self.of_frame = nn.Sequential(*stages, nn.Flatten(1), Linear(channels * side * side, 64))
            shape = (shape[0], 64)
        self.over_time = TemporalEncoder((shape[1], shape[0]), dim, blocks=1)

    def forward(self, x: Float[Tensor, "n t *frame"]) -> Float[Tensor, "n d"]:
        if self.of_frame is not None:
            motion = torch.cat([x[:, :1] * 0, x.diff(dim=1)], 1)
            frames = torch.cat([x, 2 * motion], 2)
            x = self.of_frame(frames.flatten(0, 1)).unflatten(0, (len(x), -1))
        return self.over_time(x.mT)
