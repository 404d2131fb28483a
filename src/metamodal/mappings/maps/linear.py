"""The linear map: ridge regression in closed form, its penalty chosen by leaving one out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from metamodal.mappings.maps.protocol import Guess, Pairs, maps
from metamodal.types import Params

__all__ = ["Linear", "left_out"]

_GRID = torch.logspace(-6, 3, 19, dtype=torch.float64)


@maps.register("linear")
@dataclass(frozen=True)
class Linear:
    """`W = (XᵀX + λI)⁻¹ XᵀY` of centred rows (Hoerl and Kennard, 1970), with an intercept.

    `λ = n · penalty`; without a penalty the one of a grid whose leave-one-out errors are least. The
    standard deviation is `σ √(1 + 1/n + xᵀ(XᵀX + λI)⁻¹x)`, with `σ²` each output's mean of
    `(1 - hᵢ) eᵢ²` over leave-one-out errors `e` of leverage `h`. Solved in double precision.
    """

    penalty: float | None = None

    def fit(self, pairs: Pairs, generator: Generator) -> Params:
        x, y, n = pairs.x.double(), pairs.y.double(), len(pairs.x)
        grid = _GRID if self.penalty is None else _GRID.new_tensor([self.penalty])
        parts = _Parts.of(x)
        errors = [_left_out(parts, x, y, n * float(each)) for each in grid]
        best = int(torch.stack([e.square().sum() for e, _ in errors]).argmin())
        error, leverage = errors[best]
        penalty = n * grid[best]
        weight = parts.weight(y, float(penalty))
        state = {
            "weight": weight,
            "bias": y.mean(0) - x.mean(0) @ weight,
            "sigma": ((1 - leverage)[:, None] * error.square()).mean(0).sqrt(),
            "centre": x.mean(0),
            "basis": parts.v,
            "shrunk": 1 / (parts.s.square() + penalty),
            "penalty": penalty,
            "rows": torch.tensor(n),
        }
        return {name: value.to(pairs.x.dtype) for name, value in state.items()}

    def guess(self, state: Params, x: Float[Tensor, "n f"]) -> Guess:
        mean = x @ state["weight"] + state["bias"]
        centred = x - state["centre"]
        along = centred @ state["basis"]
        leverage = 1 / state["rows"] + along.square() @ state["shrunk"]
        if state["basis"].shape[1] < x.shape[1]:  # directions that no row had are held by the penalty alone
            beside = (centred - along @ state["basis"].mT).square().sum(1)
            leverage = leverage + beside / state["penalty"]
        return Guess(mean, state["sigma"] * (1 + leverage).sqrt()[:, None])


def left_out(
    x: Float[Tensor, "n f"], y: Float[Tensor, "n g"], penalty: float
) -> tuple[Float[Tensor, "n g"], Float[Tensor, "n"]]:
    """The error at each row of the fit to all others, and each row's leverage.

    `eᵢ = (yᵢ - ŷᵢ) / (1 - hᵢ)`: one fit instead of n (Allen, 1974). `penalty` is `λ` itself.
    """
    return _left_out(_Parts.of(x), x, y, penalty)


class _Parts(NamedTuple):
    """The singular value decomposition of centred rows: `u` `(n, k)`, `s` `(k)`, `v` `(f, k)`."""

    u: Tensor
    s: Tensor
    v: Tensor

    @classmethod
    def of(cls, x: Tensor) -> _Parts:
        u, s, vt = torch.linalg.svd(x - x.mean(0), full_matrices=False)
        return cls(u, s, vt.mT)

    def weight(self, y: Tensor, penalty: float) -> Tensor:
        return self.v @ ((self.s / (self.s.square() + penalty))[:, None] * (self.u.mT @ (y - y.mean(0))))


def _left_out(parts: _Parts, x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    kept = parts.s.square() / (parts.s.square() + penalty)
    leverage = 1 / len(x) + parts.u.square() @ kept
    error = y - y.mean(0) - parts.u @ (kept[:, None] * (parts.u.mT @ (y - y.mean(0))))
    return error / (1 - leverage).clamp(min=1e-12)[:, None], leverage
