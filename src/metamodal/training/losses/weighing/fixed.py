"""The λ as the options say them."""

from __future__ import annotations

from dataclasses import dataclass

from metamodal.training.losses.weighing.protocol import Weighing, weighings

__all__ = ["Fixed"]


@weighings.register("fixed")
@dataclass(frozen=True)
class Fixed(Weighing):
    """Every factor is 1, always."""
