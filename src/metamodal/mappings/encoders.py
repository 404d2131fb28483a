"""Encoders: one modality's tensor to one token of the shared width.

Nothing here keeps statistics of a batch: normalisation is per sample, so that a row's token hangs
on that row alone, no task leaks into the next, and `torch.func.vmap` sees plain functions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from metamodal.registry import Registry

__all__ = ["ConvEncoder", "Identity", "PretrainedEncoder", "TemporalEncoder", "VectorEncoder", "encoders"]

encoders: Registry[Callable[[tuple[int, ...], int], nn.Module]] = Registry("encoder")
"""Builders of encoders by modality kind: `(shape of a sample, dim) -> module`."""

_GROUPS = 8


class _Residual(nn.Module):
    """`relu(x + f(x))` with two normalised convolutions for `f` (He et al., 2016)."""

    def __init__(self, conv: type[nn.Conv1d] | type[nn.Conv2d], width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(width, width, 3, padding=1),
            nn.GroupNorm(_GROUPS, width),
            nn.ReLU(),
            conv(width, width, 3, padding=1),
            nn.GroupNorm(_GROUPS, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


@encoders.register("image")
class ConvEncoder(nn.Module):
    """A small residual network whose strides halve the picture at each stage.

    Strides instead of pooling make it about three times as fast on a CPU as the four-block
    network with max-pooling that few-shot papers use (`benchmarks/encoders.py`).
    """

    def __init__(self, shape: tuple[int, ...], dim: int, widths: tuple[int, ...] = (32, 64, 128)) -> None:
        super().__init__()
        channels, side = shape[0], shape[-1]
        stages: list[nn.Module] = []
        for i, width in enumerate(widths):
            stages += [
                nn.Conv2d(channels, width, 3, stride=2, padding=1),
                nn.GroupNorm(_GROUPS, width),
                nn.ReLU(),
            ]
            if i:
                stages.append(_Residual(nn.Conv2d, width))
            channels, side = width, (side + 1) // 2
        self.stages = nn.Sequential(*stages)
        self.out = nn.Linear(channels * side * side, dim)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        return self.out(self.stages(x).flatten(1))


@encoders.register("series")
class TemporalEncoder(nn.Module):
    """Convolutions over time, then the mean and the maximum of each feature over time.

    Each channel is seen three times: as it is, less its own mean and over its own spread, and as
    its change from step to step.
    """

    def __init__(self, shape: tuple[int, ...], dim: int, width: int = 64, blocks: int = 3) -> None:
        super().__init__()
        channels = 3 * shape[0]
        layers: list[nn.Module] = []
        for _ in range(blocks):
            layers += [
                nn.Conv1d(channels, width, 5, padding=2),
                nn.GroupNorm(_GROUPS, width),
                nn.ReLU(),
                nn.MaxPool1d(2),
            ]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(2 * width, dim)

    def forward(self, x: Float[Tensor, "n c l"]) -> Float[Tensor, "n d"]:
        change = F.pad(x.diff(dim=2), (0, 1)) * 4
        spread = (x.var(2, keepdim=True, correction=0) + 0.01).sqrt()
        own = (x - x.mean(2, keepdim=True)) / spread
        h = self.layers(torch.cat([x, own, change], 1))
        return self.out(torch.cat([h.mean(2), h.amax(2)], 1))


class VectorEncoder(nn.Module):
    """`W₁ relu(norm(W₂ x + b₂)) + W₃ x + b`: one hidden layer beside a linear map."""

    def __init__(self, shape: tuple[int, ...], dim: int, width: int = 256) -> None:
        super().__init__()
        self.straight = nn.Linear(shape[0], dim)
        self.hidden = nn.Linear(shape[0], width)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, dim)

    def forward(self, x: Float[Tensor, "n f"]) -> Float[Tensor, "n d"]:
        return self.straight(x) + self.out(F.relu(self.norm(self.hidden(x))))


for _kind in ("text", "tabular", "embedding"):
    encoders.register(_kind)(VectorEncoder)


class PretrainedEncoder(nn.Module):
    """A network that came trained, and a linear map from what it gives to the shared width.

    It stays in evaluation mode: no dropout, and batch statistics as they came.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.pretrained = network.eval()
        with torch.no_grad():
            width = network(torch.ones(1, *shape)).shape[1]
        self.out = nn.Linear(width, dim)

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        return self.out(self.pretrained(x))


class Identity(nn.Module):
    """The features themselves: what an untrained model encodes with."""

    def forward(self, x: Tensor) -> Tensor:
        return x
