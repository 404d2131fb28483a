"""Encoders of sets: points and nodes, in whatever order they stand."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor, nn

from metamodal.mappings.encoders.registry import encoders
from metamodal.mappings.layers import LayerNorm, Linear

__all__ = ["GraphEncoder", "PointsEncoder"]


@encoders.register("points")
class PointsEncoder(nn.Module):
    """One network for every point, then the mean and the maximum over the points (Qi et al., 2017)."""

    def __init__(self, shape: tuple[int, ...], dim: int, *, width: PositiveInt = 128) -> None:
        super().__init__()
        self.of_point = nn.Sequential(
            Linear(shape[1] - 1, width // 2),
            LayerNorm(width // 2),
            nn.ReLU(),
            Linear(width // 2, width),
            LayerNorm(width),
            nn.ReLU(),
            Linear(width, width),
            nn.ReLU(),
        )
        self.out = nn.Sequential(Linear(2 * width, width), LayerNorm(width), nn.ReLU(), Linear(width, dim))

    def forward(self, x: Float[Tensor, "n p f"]) -> Float[Tensor, "n d"]:
        there = x[..., -1:]
        h = self.of_point(x[..., :-1]) * there
        return self.out(torch.cat([h.sum(1) / there.sum(1).clamp(min=1), h.amax(1)], 1))


@encoders.register("graph")
class GraphEncoder(nn.Module):
    """Rounds in which a node hears the mean of those it points to and of those that point to it.

    `h ← h + f(h, Âh, Âᵀh)` with rows of `Â` that sum to one in size, then the mean and the maximum
    over the nodes; the order of the nodes plays no part (Gilmer et al., 2017).
    """

    def __init__(
        self, shape: tuple[int, ...], dim: int, *, width: PositiveInt = 96, rounds: PositiveInt = 3
    ) -> None:
        super().__init__()
        self.nodes = shape[0]
        self.features = shape[1] - 1 - shape[0]
        self.start = Linear(self.features, width)
        self.rounds = nn.ModuleList(
            nn.Sequential(LayerNorm(3 * width), Linear(3 * width, width), nn.ReLU(), Linear(width, width))
            for _ in range(rounds)
        )
        self.norm = LayerNorm(width)
        self.out = Linear(2 * width, dim)

    def forward(self, x: Float[Tensor, "n v f"]) -> Float[Tensor, "n d"]:
        features, there, links = x.split([self.features, 1, self.nodes], 2)
        out, back = (a / a.abs().sum(2, keepdim=True).clamp(min=1e-6) for a in (links, links.mT))
        h = self.start(features) * there
        for listen in self.rounds:
            h = h + listen(torch.cat([h, out @ h, back @ h], 2)) * there
        h = torch.relu(self.norm(h)) * there
        return self.out(torch.cat([h.sum(1) / there.sum(1).clamp(min=1), h.amax(1)], 1))
