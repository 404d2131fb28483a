"""The autoencoder map: one autoencoder a side, and a linear map between their codes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from pydantic import PositiveFloat, PositiveInt
from torch import Generator, Tensor, nn

from metamodal.mappings.layers import Linear
from metamodal.mappings.maps.descent import applied, descended, halves, spread
from metamodal.mappings.maps.linear import Linear as LinearMap
from metamodal.mappings.maps.protocol import Guess, Pairs, maps
from metamodal.types import Params

__all__ = ["Autoencoder"]


@maps.register("autoencoder")
@dataclass(frozen=True)
class Autoencoder:
    """`decode_y(W encode_x(x) + b)`: each side's autoencoder learns from all rows of its side, those without
    a partner too (Hinton and Salakhutdinov, 2006); `W` is ridge regression between the codes of pairs.
    The standard deviation is that of held-out pairs' errors.
    """

    code: PositiveInt = 32
    hidden: PositiveInt = 128
    steps: PositiveInt = 1500
    lr: PositiveFloat = 3e-3

    def fit(self, pairs: Pairs, generator: Generator) -> Params:
        learn, judge = halves(len(pairs.x), generator)
        state: Params = {}
        for side, rows, loose in (("x", pairs.x, pairs.loose_x), ("y", pairs.y, pairs.loose_y)):
            known = rows[learn] if loose is None else torch.cat([rows[learn], loose])
            held = rows[judge]
            build = partial(_network, rows.shape[1], self.hidden, self.code)
            weights = descended(build, (known, known), (held, held), generator, steps=self.steps, lr=self.lr)
            state |= {f"{side}side.{k}": v for k, v in weights.items()}
        codes = [self._encoded(state, side, rows[learn]) for side, rows in zip("xy", pairs[:2])]
        between = LinearMap().fit(Pairs(*codes), generator)
        state |= {"weight": between["weight"], "bias": between["bias"]}
        return state | {"sigma": spread(self._mean(state, pairs.x[judge]) - pairs.y[judge])}

    def guess(self, state: Params, x: Float[Tensor, "n f"]) -> Guess:
        mean = self._mean(state, x)
        return Guess(mean, state["sigma"].expand_as(mean))

    def _mean(self, state: Params, x: Tensor) -> Tensor:
        code = self._encoded(state, "x", x) @ state["weight"] + state["bias"]
        weights = _part(state, "yside.1.")
        build = partial(_half, self.code, self.hidden, len(weights["2.bias"]))
        return applied(build, weights, code)

    def _encoded(self, state: Params, side: str, rows: Tensor) -> Tensor:
        build = partial(_half, rows.shape[1], self.hidden, self.code)
        return applied(build, _part(state, f"{side}side.0."), rows)


def _part(state: Params, prefix: str) -> Params:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _network(width: int, hidden: int, code: int) -> nn.Module:
    return nn.Sequential(_half(width, hidden, code), _half(code, hidden, width))


def _half(width: int, hidden: int, out: int) -> nn.Module:
    return nn.Sequential(Linear(width, hidden), nn.GELU(), Linear(hidden, out))
