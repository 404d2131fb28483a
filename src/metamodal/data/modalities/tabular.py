"""Rows of scalars: numbers, categories and booleans side by side, with room for missing ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from metamodal.data.modalities.protocol import CellError, modalities

__all__ = ["Tabular"]

_CLIP = 4.0
_MAX_LEVELS = 50


@modalities.register("tabular")
@dataclass(frozen=True)
class Tabular:
    """Named scalars as one vector.

    A number is `(x - centre) / scale` cut at ±4, with an indicator beside it that says it is there
    (an absent one is 0, 0). A category is one-hot over the training levels; an unseen level and an
    absent one are both all zeros.
    """

    numbers: tuple[tuple[str, float, float], ...]
    categories: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def read(cls, cell: Any, base: Path) -> dict[str, float | str | None]:
        """A record of floats and strings; a lone scalar is a record of one, named ``value``."""
        record = cell if isinstance(cell, dict) else {"value": cell}
        return {str(name): _scalar(str(name), value) for name, value in record.items()}

    @classmethod
    def fit(cls, values: Sequence[dict[str, float | str | None]]) -> Tabular:
        numbers, categories = [], []
        for name in dict.fromkeys(name for value in values for name in value):
            cells = [value.get(name) for value in values]
            known = [c for c in cells if c is not None]
            floats = [c for c in known if isinstance(c, float)]
            if floats and len(floats) == len(known):
                low, centre, high = np.quantile(floats, [0.25, 0.5, 0.75])
                spread = float(high - low) or float(np.std(floats)) or 1.0
                numbers.append((name, float(centre), spread))
            elif known:
                words = [_word(c) for c in known]
                levels = sorted(set(words), key=lambda level: (-words.count(level), level))
                categories.append((name, tuple(levels[:_MAX_LEVELS])))
        return cls(tuple(numbers), tuple(categories))

    @property
    def shape(self) -> tuple[int, ...]:
        return (2 * len(self.numbers) + sum(len(levels) for _, levels in self.categories),)

    def tensor(self, values: Sequence[dict[str, float | str | None]]) -> Float[Tensor, "n f"]:
        return torch.tensor([self._row(value) for value in values]).reshape(len(values), *self.shape)

    def features(self, x: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
        return F.normalize(x, dim=1)

    def augment(self, x: Float[Tensor, "n f"], generator: Generator) -> Float[Tensor, "n f"]:
        """A little noise on numbers."""
        width = 2 * len(self.numbers)
        noise = torch.zeros_like(x)
        noise[:, :width:2] = 0.2 * torch.randn(len(x), len(self.numbers), generator=generator)
        there = torch.ones_like(x)
        there[:, :width:2] = x[:, 1:width:2]
        return x + noise * there

    @property
    def variants(self) -> int:
        return 1

    def variant(self, x: Float[Tensor, "n f"], number: int) -> Float[Tensor, "n f"]:
        return x

    def _row(self, value: dict[str, float | str | None]) -> list[float]:
        row: list[float] = []
        for name, centre, scale in self.numbers:
            cell = value.get(name)
            if isinstance(cell, str):
                raise CellError(f"{name} is {cell!r} where the training rows have numbers. Give a number")
            there = cell is not None
            row += [min(max((cell - centre) / scale, -_CLIP), _CLIP) if there else 0.0, float(there)]  # type: ignore[operator]
        for name, levels in self.categories:
            cell = value.get(name)
            word = None if cell is None else _word(cell)
            row += [float(level == word) for level in levels]
        return row


def _scalar(name: str, value: Any) -> float | str | None:
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return value
        value = number
    if isinstance(value, (int, float, np.number)):
        if not math.isfinite(value):
            raise CellError(f"{name} is {float(value)}. Give a finite number, or leave the cell empty")
        return float(value)
    raise CellError(f"{name} is a {type(value).__name__}. Give a number, a word or true/false")


def _word(cell: float | str) -> str:
    return cell if isinstance(cell, str) else f"{cell:g}"
