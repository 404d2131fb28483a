"""Cross-modal attention: the modalities of a row attend to each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import PositiveInt
from torch import Tensor, nn

from metamodal.mappings.fusion.registry import Presence, Row, attended, fusions, split
from metamodal.mappings.layers import LayerNorm, Linear, of_rows, picked
from metamodal.types import Batch

__all__ = ["Attention", "AttentionWeights"]


@dataclass(frozen=True)
class AttentionWeights:
    """How much each modality (third axis of `values`) of each row attends to each (last), by head.

    Rows of `values` sum to one. A cell that is not there takes part with its learned absent token: as a key
    it has what its absence counts for, little unless training found that it tells something. `present`
    says which cells are there.
    """

    modalities: tuple[str, ...]
    values: Float[np.ndarray, "n h m m"]
    present: Bool[np.ndarray, "n m"]

    @property
    def heads(self) -> int:
        return self.values.shape[1]


@fusions.register("attention")
class Attention(nn.Module):
    """`A = softmax(W_q Q · (W_k K)ᵀ)`, `V = Σ_j A_ij W_v V_j` (Vaswani et al., 2017).

    Queries, keys and values are a row's tokens, each key weighed by presence; the embedding is the
    mean of the tokens and what they gathered. The usual `1/√d` is part of `W_q` from the start.
    `weights` gives `A` itself, a head and a row.
    """

    stackable = True

    def __init__(self, modalities: tuple[str, ...], dim: int, *, heads: PositiveInt = 4) -> None:
        super().__init__()
        self.heads = heads if dim % heads == 0 else 1
        self.presence = Presence(modalities)
        self.place = nn.Parameter(0.02 * torch.randn(len(modalities), dim))
        self.norm = LayerNorm(dim)
        self.query = Linear(dim, dim)
        self.key = Linear(dim, dim)
        self.value = Linear(dim, dim)
        self.out = Linear(dim, dim)
        with torch.no_grad():
            for part in (self.query.weight, self.query.bias):
                part /= math.sqrt(dim / self.heads)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Batch) -> Float[Tensor, "n d"]:
        row = self.presence(tokens)
        h = self._placed(row)
        gathered = attended(self._scores(row, h), split(self.value(h), self.heads))
        return row.mean(row.z + self.out(gathered))

    def weights(self, tokens: Batch) -> Float[Tensor, "n h m m"]:
        """How much each modality (third axis) attends to each (last), by head; rows sum to one."""
        row = self.presence(tokens)
        return torch.softmax(self._scores(row, self._placed(row)), -1)

    def _placed(self, row: Row) -> Tensor:
        return self.norm(row.z) + picked(of_rows(self.place, len(row.z), 2), row.at)

    def _scores(self, row: Row, h: Tensor) -> Tensor:
        q, k = split(self.query(h), self.heads), split(self.key(h), self.heads)
        return q @ k.mT + row.logits[..., None, None, :]
