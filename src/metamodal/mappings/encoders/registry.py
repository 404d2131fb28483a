"""The registry of encoders, and what several of them are built of."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from metamodal.mappings.layers import Conv1d, Conv2d, GroupNorm
from metamodal.registry import Registry

__all__ = ["GROUPS", "Residual", "encoders"]

encoders: Registry[Callable[[tuple[int, ...], int], nn.Module]] = Registry("encoder")
"""Encoders by kind of modality, builders `(shape of a sample, dim) -> module`, from `(n, *shape)` to `(n, d)`."""

GROUPS = 8


class Residual(nn.Module):
    """`relu(x + f(x))` with two normalised convolutions for `f` (He et al., 2016)."""

    def __init__(self, conv: type[Conv1d] | type[Conv2d], width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(width, width, 3, padding=1),
            GroupNorm(GROUPS, width),
            nn.ReLU(),
            conv(width, width, 3, padding=1),
            GroupNorm(GROUPS, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))
