"""Concatenation: the tokens side by side, as they are or projected to the shared width."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metamodal.mappings.fusion.registry import Presence, fusions
from metamodal.mappings.layers import Linear
from metamodal.types import Batch

__all__ = ["Concatenation", "SideBySide"]


@fusions.register("concat")
class Concatenation(nn.Module):
    """`W [z_1; …; z_M] = Σ_m W_m z_m`, each summand weighed as its modality counts in the row.

    The blocks `W_m` start as the identity, so that the fusion starts as the mean.
    """

    def __init__(self, modalities: tuple[str, ...], dim: int) -> None:
        super().__init__()
        self.presence = Presence(modalities)
        blocks = [Linear(dim, dim) for _ in modalities]
        for block in blocks:
            nn.init.eye_(block.weight)
            nn.init.zeros_(block.bias)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, tokens: Batch) -> Float[Tensor, "n d"]:
        row = self.presence(tokens)
        return row.mean(torch.stack([self.blocks[i](row.z[:, j]) for j, i in enumerate(row.at)], 1))


class SideBySide(nn.Module):
    """All tokens side by side, zeros for absent ones, over the root of how many are there.

    Has no weights and takes tokens of any widths: the fusion of an untrained model.
    """

    def __init__(self, modalities: tuple[str, ...]) -> None:
        super().__init__()
        self.modalities = modalities

    def forward(self, tokens: Batch) -> Float[Tensor, "n d"]:
        names = [m for m in self.modalities if m in tokens.inputs]
        there = torch.stack([tokens.present[m] for m in names], -1)
        parts = [tokens.inputs[m] * tokens.present[m][..., None] for m in names]
        return torch.cat(parts, -1) / there.sum(-1, keepdim=True).clamp(min=1).sqrt()
