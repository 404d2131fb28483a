"""Decoders of vectors."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor, nn

from metamodal.mappings.decoders.registry import decoders
from metamodal.mappings.layers import LayerNorm, Linear

__all__ = ["VectorDecoder"]


class VectorDecoder(nn.Module):
    """`W₁ relu(norm(W₂ z + b₂)) + W₃ z + b`: one hidden layer beside a linear map."""

    def __init__(self, shape: tuple[int, ...], dim: int, *, width: PositiveInt = 256) -> None:
        super().__init__()
        self.straight = Linear(dim, shape[0])
        self.hidden = Linear(dim, width)
        self.norm = LayerNorm(width)
        self.out = Linear(width, shape[0])

    def forward(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        return self.straight(z) + self.out(F.relu(self.norm(self.hidden(z))))


for _kind in ("tabular", "embedding"):
    decoders.register(_kind)(VectorDecoder)
