"""Encoders of vectors."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor, nn

from metamodal.mappings.encoders.registry import encoders
from metamodal.mappings.layers import LayerNorm, Linear

__all__ = ["Identity", "VectorEncoder"]


class VectorEncoder(nn.Module):
    """`W₁ relu(norm(W₂ x + b₂)) + W₃ x + b`: one hidden layer beside a linear map.

    It starts as an orthogonal projection (`W₁ = 0`), which keeps the distances of ready embeddings: what
    they know of classes that training never saw is not lost before anything is learned.
    """

    def __init__(self, shape: tuple[int, ...], dim: int, *, width: PositiveInt = 256) -> None:
        super().__init__()
        self.straight = Linear(shape[0], dim)
        self.hidden = Linear(shape[0], width)
        self.norm = LayerNorm(width)
        self.out = Linear(width, dim)
        nn.init.orthogonal_(self.straight.weight)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Float[Tensor, "n f"]) -> Float[Tensor, "n d"]:
        return self.straight(x) + self.out(F.relu(self.norm(self.hidden(x))))


for _kind in ("text", "tabular", "embedding"):
    encoders.register(_kind)(VectorEncoder)


class Identity(nn.Module):
    """The features themselves: what an untrained model encodes with."""

    def forward(self, x: Tensor) -> Tensor:
        return x
