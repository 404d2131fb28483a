"""Ready embeddings: vectors of one length from some other model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from metamodal.data.modalities.capabilities import Capabilities
from metamodal.data.modalities.protocol import CellError, check_scales, modalities, most_common

__all__ = ["Embedding"]

_CLIP = 5.0


@modalities.register("embedding")
@dataclass(frozen=True)
class Embedding:
    """Vectors standardised per dimension by the training ones, cut at ±5; constant dimensions are 0."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    capabilities: ClassVar[Capabilities] = Capabilities(describes=True, counted="values")

    def __post_init__(self) -> None:
        check_scales("embedding", self.mean, self.std, len(self.mean))

    @classmethod
    def read(cls, cell: Any, base: Path) -> np.ndarray:
        try:
            with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
                value = np.asarray(cell, dtype=np.float32)
        except (TypeError, ValueError):
            raise CellError("a vector must hold numbers only. Fix the cell") from None
        if value.ndim != 1 or not len(value):
            raise CellError(f"an array of shape {value.shape} is no vector. Give a list of numbers")
        if not np.isfinite(value).all():
            at = int(np.flatnonzero(~np.isfinite(value))[0])
            raise CellError(f"value {at} is {value[at]}. Give a finite number")
        return value

    @classmethod
    def fit(cls, values: Sequence[np.ndarray]) -> Embedding:
        width = most_common(values, len)
        stacked = np.stack([v for v in values if len(v) == width]).astype(np.float64)
        std = stacked.std(0) if len(stacked) > 1 else np.ones(width)
        return cls(tuple(stacked.mean(0).tolist()), tuple(np.where(std > 1e-8, std, 0.0).tolist()))

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.mean),)

    def tensor(self, values: Sequence[np.ndarray]) -> Float[Tensor, "n f"]:
        for value in values:
            if len(value) != len(self.mean):
                raise CellError(f"{len(value)} values where the others have {len(self.mean)}. Fix the cell")
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        x = torch.from_numpy(np.stack(values)) - mean
        return torch.where(std > 0, x / std.clamp(min=1e-8), 0.0).clamp(-_CLIP, _CLIP)

    def cells(self, x: Float[Tensor, "n f"]) -> list[list[float]]:
        """Vectors in their own unit; constant dimensions are their constant."""
        return (x * torch.tensor(self.std) + torch.tensor(self.mean)).tolist()

    def features(self, x: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
        return F.normalize(x, dim=1)

    def augment(self, x: Float[Tensor, "n f"], generator: Generator) -> Float[Tensor, "n f"]:
        """A little noise."""
        return x + 0.2 * torch.randn(x.shape, generator=generator)

    @property
    def variants(self) -> int:
        return 1

    def variant(self, x: Float[Tensor, "n f"], number: int) -> Float[Tensor, "n f"]:
        return x
