"""Text: any language, as hashed character n-grams; nothing to download."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from metamodal.data.limits import limits
from metamodal.data.modalities.capabilities import Capabilities
from metamodal.data.modalities.hashing import hashed_counts
from metamodal.data.modalities.protocol import CellError, check_scales, modalities

__all__ = ["Text"]

_DROPPED = 0.2


def _key(text: str) -> str:
    """A text less its case, signs and spaces: what is left is the same in near-duplicates."""
    key = "".join(c if c.isalnum() else " " for c in text.casefold())
    return " ".join(key.split()) or text


@modalities.register("text")
@dataclass(frozen=True)
class Text:
    """Weights of character 2- to 5-grams within words, hashed into buckets and weighed by rarity.

    `rarity` is the inverse document frequency of each bucket in the training texts. Hashing keeps
    unseen words apart from seen ones (Weinberger et al., 2009).
    """

    rarity: tuple[float, ...]

    capabilities: ClassVar[Capabilities] = Capabilities(strings=True, describes=True, key=_key)

    def __post_init__(self) -> None:
        check_scales("text", (), (), len(self.rarity))

    @classmethod
    def read(cls, cell: Any, base: Path) -> str:
        if isinstance(cell, (list, tuple, np.ndarray)) and all(isinstance(c, str) for c in cell):
            cell = " ".join(cell)
        if isinstance(cell, (dict, list, tuple, bytes, bytearray, np.ndarray)):
            raise CellError(f"{type(cell).__name__} is no text. Give a string")
        text = str(cell)
        if len(text) > limits().characters:
            raise CellError(
                f"a text of {len(text)} characters is above the cap of {limits().characters}. Cut it into parts"
            )
        return text

    @classmethod
    def fit(
        cls, values: Sequence[str], *, buckets: Annotated[int, Field(ge=64, le=1_048_576)] = 2048
    ) -> Text:
        counts = (hashed_counts(values, buckets) != 0).sum(0)
        rarity = np.log((1 + len(values)) / (1 + np.asarray(counts).ravel())) + 1
        return cls(tuple(np.round(rarity, 4).tolist()))

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rarity),)

    def tensor(self, values: Sequence[str]) -> Float[Tensor, "n f"]:
        counts = hashed_counts(values, len(self.rarity))
        counts.data = np.sign(counts.data) * np.log1p(np.abs(counts.data))
        x = torch.from_numpy(counts.toarray()).float() * torch.tensor(self.rarity)
        return F.normalize(x, dim=1)

    def features(self, x: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
        return x

    def augment(self, x: Float[Tensor, "n f"], generator: Generator) -> Float[Tensor, "n f"]:
        """A fifth of the n-grams left out."""
        keep = torch.rand(x.shape, generator=generator) >= _DROPPED
        return F.normalize(x * keep, dim=1)

    @property
    def variants(self) -> int:
        return 1

    def variant(self, x: Float[Tensor, "n f"], number: int) -> Float[Tensor, "n f"]:
        return x
