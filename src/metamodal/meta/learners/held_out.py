"""Rows held out of a kernel ridge in closed form: folds of one row of every class, or single rows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.outputs import Output

__all__ = ["Folds", "Spectrum", "exact", "held_out"]


_WIDEST = 200  # rows of a fold
_PART = 4096  # single rows at a time


class Folds(NamedTuple):
    """Which rows are held out together, `(f, r)`, and which of these places hold a row."""

    rows: Tensor
    there: Tensor

    @classmethod
    def of(cls, output: Output, targets: Tensor, there: Tensor, most: int, single: int) -> Folds:
        """One row of every class a fold, in at most so many folds; every row alone where each class has `single`
        or more, or folds would be of hundreds. Of labels and numbers, folds are equal parts."""
        if output.has_classes:
            mine = (targets > 0.5) & there[:, None]
            counts = mine.sum(0)
            rank = ((mine.cumsum(0) - 1) * mine).sum(1)
            shots, least = int(counts.max()), int(counts[counts > 0].min()) if there.any() else 0
        else:
            rank = there.cumsum(0) - 1
            shots = least = int(there.sum())
        number = max(1, min(most, shots))
        if least >= single or there.sum() > number * _WIDEST:
            alone = there.nonzero()
            return cls(alone, torch.ones_like(alone, dtype=torch.bool))
        members = [((rank % number == f) & there).nonzero()[:, 0] for f in range(number)]
        rows = torch.nn.utils.rnn.pad_sequence(members, batch_first=True, padding_value=-1)
        return cls(rows.clamp(min=0), rows >= 0)


class Spectrum(NamedTuple):
    """`K = V diag(e) Vᵀ`, or the nearest of fewer vectors than rows: `(*c, n, m)` and `(*c, m)`."""

    vectors: Tensor
    values: Tensor

    @classmethod
    def of(cls, gram: Float[Tensor, "*c n n"]) -> Spectrum:
        values, vectors = torch.linalg.eigh(gram)
        return cls(vectors, values.clamp(min=0))

    @classmethod
    def of_features(cls, x: Float[Tensor, "*c n m"]) -> Spectrum:
        """Of `K = X Xᵀ`, with as many vectors as features."""
        values, vectors = torch.linalg.eigh(x.mT @ x)
        sizes = values.clamp(min=1e-7 * float(values.max())).sqrt()
        return cls(x @ (vectors / sizes[..., None, :]), values.clamp(min=0))

    def solved(self, penalties: Float[Tensor, " p"], y: Float[Tensor, "n k"]) -> Float[Tensor, "p *c n k"]:
        """`(K + λI)⁻¹ y` of each penalty."""
        inside = self._factors(penalties)[..., None] * (self.vectors.mT @ y)
        outside = y / self._beside(penalties)[..., None] if self._thin else 0.0
        return self.vectors @ inside + outside

    def inverse_at(self, penalties: Float[Tensor, " p"], folds: Folds) -> Float[Tensor, "p *c f r r"]:
        """The blocks of `(K + λI)⁻¹` of each fold."""
        factors = self._factors(penalties)
        if folds.rows.shape[1] == 1:
            parts = folds.rows[:, 0].split(_PART)
            squares = (self.vectors[..., rows, :].square() @ factors[..., None] for rows in parts)
            blocks = torch.cat(list(squares), -2)[..., None]
        else:
            rows = self.vectors[..., folds.rows, :]
            blocks = (rows * factors[..., None, None, :]) @ rows.mT
        if self._thin:
            eye = torch.eye(blocks.shape[-1], dtype=blocks.dtype, device=blocks.device)
            blocks = blocks + eye / self._beside(penalties)[..., None, None]
        return blocks

    @property
    def _thin(self) -> bool:
        return self.vectors.shape[-1] < self.vectors.shape[-2]

    def _beside(self, penalties: Tensor) -> Tensor:
        """The penalties along a first axis beside all others of the eigenvalues."""
        return penalties.reshape(-1, *[1] * self.values.dim())

    def _factors(self, penalties: Tensor) -> Float[Tensor, "p *c m"]:
        beside = self._beside(penalties)
        return 1 / (self.values + beside) - (1 / beside if self._thin else 0.0)


def exact(x: Tensor) -> Tensor:
    """In double precision, where the device has it; Apple's has not."""
    return x if x.device.type == "mps" else x.double()


def held_out(
    blocks: Float[Tensor, "*c f r r"], solved: Float[Tensor, "*c n k"], y: Float[Tensor, "n k"], folds: Folds
) -> Float[Tensor, "*c n k"]:
    """What each fold's rows are answered by the other rows: `y_F − (G_FF)⁻¹ (G y)_F`; 0 where none is in a fold."""
    errors = solved[..., folds.rows, :] * folds.there[..., None]
    if folds.rows.shape[1] == 1:
        left = errors / blocks
    else:
        both = folds.there[:, :, None] & folds.there[:, None, :]
        blank = torch.eye(blocks.shape[-1], dtype=blocks.dtype, device=blocks.device)
        left = torch.linalg.solve(torch.where(both, blocks, blank), errors)
    rows, places = folds.rows[folds.there], folds.there
    found = torch.zeros_like(solved)
    return found.index_copy(-2, rows, y[rows] - left[..., places, :])
