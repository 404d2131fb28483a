"""A product of experts: each modality says how sure it is, dimension by dimension."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metamodal.mappings.fusion.registry import Presence, fusions
from metamodal.mappings.layers import LayerNorm, Linear, of_rows
from metamodal.types import Batch

__all__ = ["Experts"]

_PRIOR = -4.0


@fusions.register("experts")
class Experts(nn.Module):
    """The mean of a product of Gaussians, `Σ_m π_m ∘ z_m / (π_0 + Σ_m π_m)` (Wu and Goodman, 2018).

    Each token is the mean of its modality's expert and tells its precision `π_m`, a value a
    dimension; `π_0` is that of a prior around zero, towards which a row of doubtful cells shrinks.
    All precisions start alike and the prior's low: close to the mean.
    """

    stackable = True

    def __init__(self, modalities: tuple[str, ...], dim: int) -> None:
        super().__init__()
        self.presence = Presence(modalities)
        self.norm = LayerNorm(dim)
        surety = [Linear(dim, dim) for _ in modalities]
        for layer in surety:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.surety = nn.ModuleList(surety)
        self.prior = nn.Parameter(torch.full((dim,), _PRIOR))

    def forward(self, tokens: Batch) -> Float[Tensor, "n d"]:
        row = self.presence(tokens)
        h = self.norm(row.z)
        sure = torch.stack([self.surety[i](h[:, j]) for j, i in enumerate(row.at)], 1)
        prior = of_rows(self.prior, len(h), 1).expand(len(h), -1)
        shares = torch.softmax(torch.cat([sure + row.logits[..., None], prior[:, None]], 1), 1)
        return (shares[:, :-1] * row.z).sum(-2)
