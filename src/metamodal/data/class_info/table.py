"""The class information of each row of a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["ClassTable"]


@dataclass(frozen=True)
class ClassTable:
    """The class information of each row of a table.

    `descriptions` `(c, f)` are encoded, `described` `(n)` is which of them a row's class has, `named` `(n)` the
    number of its shared name; -1 where there is none.
    """

    descriptions: Tensor | None
    described: Tensor
    named: Tensor | None
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is known of any class."""
        return not self.known.any()

    @property
    def known(self) -> Tensor:
        """The rows whose class has class information, `(n)`."""
        known = self.described >= 0
        return known if self.named is None else known | (self.named >= 0)

    def of(self, rows: Tensor) -> dict[str, Tensor]:
        """`Batch.class_info` of the classes that have these rows, `(*t, k)`."""
        result = {}
        if self.descriptions is not None:
            at = self.described[rows]
            result["described"] = at >= 0
            result["description"] = self.descriptions[at.clamp(min=0)] * result["described"][..., None]
        if self.named is not None:
            result["name"] = self.named[rows]
        return result

    def take(self, rows: np.ndarray) -> ClassTable:
        """The class information of some of the rows."""
        at = torch.as_tensor(rows)
        named = None if self.named is None else self.named[at]
        return ClassTable(self.descriptions, self.described[at], named, self.notes)
