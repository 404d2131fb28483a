"""Views of embeddings that a kernel compares rows in: as they are, unit vectors, standardised or ranked columns."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ["PLAIN", "RANKED", "STANDARD", "UNIT", "VIEWS", "Columns"]

PLAIN, UNIT, STANDARD, RANKED = VIEWS = (0, 1, 2, 3)

_NARROW = 512  # columns up to which their ranks are kept
_LEVEL = 1e-6  # a column that varies less than this is constant


class Columns(NamedTuple):
    """What the columns of the support rows look like: centre and scale `(d)`, the usual length of a row, values in
    order `(s, d)`.

    Of wide embeddings no values are kept, and they have no ranks.
    """

    centre: Tensor
    scale: Tensor
    norm: Tensor
    ordered: Tensor

    @classmethod
    def of(cls, z: Float[Tensor, "s d"], there: Tensor) -> Columns:
        """Of the rows that are there; the ranks of the others are filled with the last value."""
        rows = z[there] if there.any() else torch.zeros_like(z[:1])
        spread = rows.std(0, correction=0)
        scale = torch.where(spread > _LEVEL, spread, torch.inf)
        ordered = rows.detach().sort(0).values if z.shape[-1] <= _NARROW else rows[:0].detach()
        if len(ordered):
            at = (torch.arange(len(z)) * len(ordered)).div(len(z), rounding_mode="floor")
            ordered = ordered[at.to(z.device)]
        norm = rows.square().sum(1).mean().clamp(min=_LEVEL**2).sqrt()
        return cls(rows.mean(0), scale, norm, ordered)

    @property
    def views(self) -> tuple[int, ...]:
        """Those that these rows can be seen in."""
        return VIEWS if len(self.ordered) else (PLAIN, UNIT, STANDARD)

    def seen_in(self, view: int, z: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Rows in one view; each has the norm 1, or has it in the mean."""
        if view == PLAIN:
            return z / self.norm
        if view == UNIT:
            return F.normalize(z, dim=-1)
        varied = self.scale.isfinite()
        root = varied.sum().clamp(min=1).sqrt()
        if view == STANDARD:
            return ((z - self.centre) / self.scale).clamp(-8, 8) / root
        columns, sorted_ = z.detach().mT.contiguous(), self.ordered.mT.contiguous()
        below = torch.searchsorted(sorted_, columns) + torch.searchsorted(sorted_, columns, right=True)
        shares = (below.to(z.dtype) / 2 + 0.5) / (len(self.ordered) + 1)
        return torch.special.ndtri(shares).mT * varied / root
