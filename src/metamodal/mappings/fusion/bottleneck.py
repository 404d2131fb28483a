"""Bottleneck tokens: the modalities exchange what fits through a few."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor, nn

from metamodal.mappings.fusion.registry import Presence, attended, fusions, split
from metamodal.mappings.layers import LayerNorm, Linear, of_rows, picked
from metamodal.types import Batch

__all__ = ["Bottleneck"]


@fusions.register("bottleneck")
class Bottleneck(nn.Module):
    """A few learned tokens gather from all modalities, and these from them alone (Nagrani et al., 2021).

    The embedding is the mean of the tokens and what they gathered. It starts as the mean.
    """

    stackable = True

    def __init__(
        self, modalities: tuple[str, ...], dim: int, *, tokens: PositiveInt = 4, heads: PositiveInt = 4
    ) -> None:
        super().__init__()
        self.heads = heads if dim % heads == 0 else 1
        self.presence = Presence(modalities)
        self.place = nn.Parameter(0.02 * torch.randn(len(modalities), dim))
        self.neck = nn.Parameter(torch.randn(tokens, dim))
        self.norm = LayerNorm(dim)
        self.inwards = nn.ModuleList(Linear(dim, dim) for _ in range(3))
        self.outwards = nn.ModuleList(Linear(dim, dim) for _ in range(3))
        self.out = Linear(dim, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Batch) -> Float[Tensor, "n d"]:
        row = self.presence(tokens)
        n = len(row.z)
        h = self.norm(row.z) + picked(of_rows(self.place, n, 2), row.at)
        neck = of_rows(self.neck, n, 2).expand(n, -1, -1)
        neck = neck + self._gathered(self.inwards, neck, h, row.logits[..., None, None, :])
        return row.mean(row.z + self.out(self._gathered(self.outwards, h, neck, None)))

    def _gathered(self, maps: nn.ModuleList, to: Tensor, of: Tensor, logits: Tensor | None) -> Tensor:
        q, k, v = (split(layer(x), self.heads) for layer, x in zip(maps, (to, of, of)))
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        return attended(scores if logits is None else scores + logits, v)
