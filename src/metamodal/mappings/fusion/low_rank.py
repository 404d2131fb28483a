"""Products of modalities: the tensor of all tokens, contracted to a low rank."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor, nn

from metamodal.mappings.fusion.registry import Presence, fusions
from metamodal.mappings.layers import LayerNorm, Linear
from metamodal.types import Batch

__all__ = ["LowRank"]


@fusions.register("low_rank")
class LowRank(nn.Module):
    """`mean + W (∏_m (1 + w_m ∘ U_m z_m) − 1)`: products of the modalities (Liu et al., 2018).

    The outer product of all tokens, each with a 1 appended, times a tensor of rank `rank`. The 1 is
    what a cell contributes that is not there, up to the learned weight `w_m` of its absent token.
    `W` starts at zero, so that the fusion starts as the mean.
    """

    def __init__(self, modalities: tuple[str, ...], dim: int, *, rank: PositiveInt = 64) -> None:
        super().__init__()
        self.presence = Presence(modalities)
        self.norm = LayerNorm(dim)
        self.factors = nn.ModuleList(Linear(dim, rank, bias=False) for _ in modalities)
        self.out = Linear(rank, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Batch) -> Float[Tensor, "n d"]:
        row = self.presence(tokens)
        h = self.norm(row.z)
        factors = torch.stack([self.factors[i](h[:, j]) for j, i in enumerate(row.at)], 1)
        product = (1 + row.logits.exp()[..., None] * factors).prod(-2)
        return row.mean(row.z) + self.out(product - 1)
