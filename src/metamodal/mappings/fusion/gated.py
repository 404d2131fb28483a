"""Gates: each dimension of the embedding chooses among the modalities."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metamodal.mappings.fusion.registry import Presence, fusions
from metamodal.mappings.layers import LayerNorm, Linear, of_rows, picked
from metamodal.types import Batch

__all__ = ["Gated"]


@fusions.register("gated")
class Gated(nn.Module):
    """`Σ_m g_m ∘ z_m` with `g = softmax_m(W tanh(U h_m + C h̄))`, a gate a dimension (Arevalo et al., 2017).

    `h_m` is the normalised token with a learned mark of its modality, `h̄` the row's mean: each gate
    sees the token it weighs and the company it is in. All gates start alike, as the mean.
    """

    stackable = True

    def __init__(self, modalities: tuple[str, ...], dim: int) -> None:
        super().__init__()
        self.presence = Presence(modalities)
        self.place = nn.Parameter(0.02 * torch.randn(len(modalities), dim))
        self.norm = LayerNorm(dim)
        self.own = Linear(dim, dim)
        self.company = Linear(dim, dim)
        self.score = Linear(dim, dim)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, tokens: Batch) -> Float[Tensor, "n d"]:
        row = self.presence(tokens)
        h = self.norm(row.z) + picked(of_rows(self.place, len(row.z), 2), row.at)
        gates = self.score(torch.tanh(self.own(h) + self.company(row.mean(h))[:, None]))
        return (torch.softmax(gates + row.logits[..., None], -2) * row.z).sum(-2)
