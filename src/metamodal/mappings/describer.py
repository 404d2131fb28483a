"""What is known of a class before any row of it: a text, or its name, as a point in the shared space."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metamodal.mappings.encoders.vectors import VectorEncoder
from metamodal.types import Space

__all__ = ["Describer"]


class Describer(nn.Module):
    """Class descriptors: an encoded text, a vector learned for a name, or the sum of both.

    Reads `text` `(*t, k, f)` with `texts` `(*t, k)`, which classes have one, and `name` `(*t, k)`, the
    number of a class that other tasks have too, -1 for others.
    """

    def __init__(self, text: Space | None, names: int, dim: int) -> None:
        super().__init__()
        self.text = VectorEncoder(text.shape, dim) if text else None
        self.names = nn.Parameter(0.02 * torch.randn(names, dim)) if names else None

    def forward(self, about: dict[str, Tensor]) -> dict[str, Tensor]:
        parts, told = [], []
        if self.text is not None and "text" in about:
            told.append(about["texts"])
            x = about["text"]
            e = self.text(x.reshape(-1, x.shape[-1])).unflatten(0, x.shape[:-1])
            parts.append(e * told[-1][..., None])
        if self.names is not None and "name" in about:
            told.append(about["name"] >= 0)
            parts.append(self.names[about["name"].clamp(min=0)] * told[-1][..., None])
        if not parts:
            return {}
        found = {"descriptor": torch.stack(parts).sum(0), "told": torch.stack(told).any(0)}
        return found | ({"name": about["name"]} if "name" in about else {})
