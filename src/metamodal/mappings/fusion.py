"""Fusion: the tokens of a row's modalities to one embedding, whatever is absent.

Every fusion sees which tokens stand for a cell that is there. A token of an absent cell is the
modality's learned absent token, in training and in use alike; how much it counts is learned too,
and starts at almost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metamodal.mappings.layers import LayerNorm, Linear, of_rows
from metamodal.registry import Registry
from metamodal.types import Batch

__all__ = ["Attention", "Concatenation", "Mean", "fusions"]

fusions: Registry[Callable[[tuple[str, ...], int], nn.Module]] = Registry("fusion")
"""Builders of fusions by name: `(modalities, dim) -> module`; the module takes a `Batch` of tokens."""

_ABSENT_LOGIT = -4.0


class _PerModality(nn.Module):
    """What each modality brings to a fusion besides its token: an absence logit."""

    stackable = True

    def __init__(self, modalities: tuple[str, ...]) -> None:
        super().__init__()
        self.modalities = modalities
        self.absence = nn.Parameter(torch.full((len(modalities),), _ABSENT_LOGIT))

    def stacked(self, tokens: Batch) -> tuple[Tensor, Tensor, list[int]]:
        """Tokens `(n, m, d)`, log-weights `(n, m)`, and which modalities these are."""
        at = [i for i, m in enumerate(self.modalities) if m in tokens.inputs]
        names = [self.modalities[i] for i in at]
        z = torch.stack([tokens.inputs[m] for m in names], -2)
        present = torch.stack([tokens.present[m] for m in names], -1)
        absence = of_rows(self.absence, len(z), 1)[:, at]
        return z, torch.where(present, 0.0, absence), at


@fusions.register("mean")
class Mean(nn.Module):
    """The mean of the tokens, those of absent cells weighed by a learned factor."""

    def __init__(self, modalities: tuple[str, ...], dim: int) -> None:
        super().__init__()
        self.per_modality = _PerModality(modalities)

    def forward(self, tokens: Batch) -> Float[Tensor, "n d"]:
        z, logits, _ = self.per_modality.stacked(tokens)
        weights = torch.softmax(logits, -1)
        return (weights[..., None] * z).sum(-2)


@fusions.register("attention")
class Attention(nn.Module):
    """Cross-modal attention `A = softmax(W_q Q · W_k Kᵀ / √d)`, `V = Σ A_ij W_v V_j`.

    The modalities of a row attend to each other (Vaswani et al., 2017), each key weighed by
    presence; the embedding is the mean of tokens plus what they gathered. Written out, so that it
    survives `vmap` with second-order gradients.
    """

    stackable = True

    def __init__(self, modalities: tuple[str, ...], dim: int, heads: int = 4) -> None:
        super().__init__()
        if dim % heads:
            heads = 1
        self.heads = heads
        self.per_modality = _PerModality(modalities)
        self.place = nn.Parameter(0.02 * torch.randn(len(modalities), dim))
        self.norm = LayerNorm(dim)
        self.query = Linear(dim, dim)
        self.key = Linear(dim, dim)
        self.value = Linear(dim, dim)
        self.out = Linear(dim, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Batch) -> Float[Tensor, "n d"]:
        z, logits, at = self.per_modality.stacked(tokens)
        h = self.norm(z) + of_rows(self.place, len(z), 2)[:, at]
        q, k, v = (self._split(layer(h)) for layer in (self.query, self.key, self.value))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        gathered = torch.softmax(scores + logits[..., None, None, :], -1) @ v
        gathered = gathered.transpose(-2, -3).flatten(-2)
        weights = torch.softmax(logits, -1)[..., None]
        return (weights * (z + self.out(gathered))).sum(-2)

    def _split(self, h: Tensor) -> Tensor:
        return h.unflatten(-1, (self.heads, -1)).transpose(-2, -3)


@fusions.register("concat")
class Concatenation(nn.Module):
    """All tokens side by side, zeros for absent ones, over the root of how many are there.

    Has no weights and takes tokens of any widths: the fusion of an untrained model.
    """

    def __init__(self, modalities: tuple[str, ...], dim: int = 0) -> None:
        super().__init__()
        self.modalities = modalities

    def forward(self, tokens: Batch) -> Float[Tensor, "n d"]:
        names = [m for m in self.modalities if m in tokens.inputs]
        there = torch.stack([tokens.present[m] for m in names], -1)
        parts = [tokens.inputs[m] * tokens.present[m][..., None] for m in names]
        return torch.cat(parts, -1) / there.sum(-1, keepdim=True).clamp(min=1).sqrt()
