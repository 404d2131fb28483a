"""The nonlinear map: a network of one hidden layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from jaxtyping import Float
from pydantic import PositiveFloat, PositiveInt
from torch import Generator, Tensor, nn

from metamodal.mappings.layers import Linear
from metamodal.mappings.maps.descent import applied, descended, halves, spread
from metamodal.mappings.maps.protocol import Guess, Pairs, maps
from metamodal.types import Params

__all__ = ["Nonlinear"]


@maps.register("nonlinear")
@dataclass(frozen=True)
class Nonlinear:
    """`W₁ h(W₂ x + b₂) + b₁` with `h = gelu`; the standard deviation is that of held-out errors."""

    hidden: PositiveInt = 128
    steps: PositiveInt = 1500
    lr: PositiveFloat = 3e-3

    def fit(self, pairs: Pairs, generator: Generator) -> Params:
        learn, judge = halves(len(pairs.x), generator)
        build = partial(_network, pairs.x.shape[1], pairs.y.shape[1], self.hidden)
        held = (pairs.x[judge], pairs.y[judge])
        weights = descended(
            build, (pairs.x[learn], pairs.y[learn]), held, generator, steps=self.steps, lr=self.lr
        )
        return weights | {"sigma": spread(applied(build, weights, held[0]) - held[1])}

    def guess(self, state: Params, x: Float[Tensor, "n f"]) -> Guess:
        build = partial(_network, x.shape[1], len(state["sigma"]), self.hidden)
        mean = applied(build, {k: v for k, v in state.items() if k.startswith(("0.", "2."))}, x)
        return Guess(mean, state["sigma"].expand_as(mean))


def _network(width: int, outputs: int, hidden: int) -> nn.Module:
    return nn.Sequential(Linear(width, hidden), nn.GELU(), Linear(hidden, outputs))
