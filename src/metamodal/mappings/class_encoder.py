"""Class information as points in the shared space: an encoded description, a vector learned for a name."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metamodal.mappings.encoders.vectors import VectorEncoder
from metamodal.types import Space

__all__ = ["ClassEncoder"]


class ClassEncoder(nn.Module):
    """One embedding a class: that of its description, that of its name, or the sum of both.

    Reads `description` `(*t, k, f)` with `described` `(*t, k)`, which classes have one, and `name` `(*t, k)`, the
    number of a name that other tasks have too, -1 for others. Returns `embedding` `(*t, k, d)`, zero where nothing
    is known, `known` `(*t, k)`, and `name` as it was.
    """

    def __init__(self, description: Space | None, names: int, dim: int) -> None:
        super().__init__()
        self.description = VectorEncoder(description.shape, dim) if description else None
        self.names = nn.Parameter(0.02 * torch.randn(names, dim)) if names else None

    def forward(self, class_info: dict[str, Tensor]) -> dict[str, Tensor]:
        parts, known = [], []
        if self.description is not None and "description" in class_info:
            known.append(class_info["described"])
            x = class_info["description"]
            e = self.description(x.reshape(-1, x.shape[-1])).unflatten(0, x.shape[:-1])
            parts.append(e * known[-1][..., None])
        if self.names is not None and "name" in class_info:
            known.append(class_info["name"] >= 0)
            parts.append(self.names[class_info["name"].clamp(min=0)] * known[-1][..., None])
        if not parts:
            return {}
        result = {"embedding": torch.stack(parts).sum(0), "known": torch.stack(known).any(0)}
        return result | ({"name": class_info["name"]} if "name" in class_info else {})
