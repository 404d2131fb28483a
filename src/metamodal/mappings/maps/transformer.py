"""The transformer map: the parts of a vector attend to each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import PositiveFloat, PositiveInt
from torch import Generator, Tensor, nn

from metamodal.mappings.layers import LayerNorm, Linear
from metamodal.mappings.maps.descent import applied, descended, halves, spread
from metamodal.mappings.maps.protocol import Guess, Pairs, maps
from metamodal.types import Params

__all__ = ["Transformer"]

_OWN = "network."


@maps.register("transformer")
@dataclass(frozen=True)
class Transformer:
    """A vector cut in `patches`, which are tokens (Vaswani et al., 2017): blocks of self-attention, the mean
    over the tokens, a linear layer out. The standard deviation is that of held-out errors.
    """

    patches: PositiveInt = 16
    width: PositiveInt = 64
    blocks: PositiveInt = 2
    steps: PositiveInt = 600
    lr: PositiveFloat = 2e-3
    rows: PositiveInt = 64

    def fit(self, pairs: Pairs, generator: Generator) -> Params:
        learn, judge = halves(len(pairs.x), generator)
        build = partial(_Network, self, pairs.x.shape[1], pairs.y.shape[1])
        held = (pairs.x[judge], pairs.y[judge])
        given = (pairs.x[learn], pairs.y[learn])
        weights = descended(build, given, held, generator, steps=self.steps, lr=self.lr, rows=self.rows)
        sigma = spread(applied(build, weights, held[0]) - held[1])
        return {f"{_OWN}{k}": v for k, v in weights.items()} | {"sigma": sigma}

    def guess(self, state: Params, x: Float[Tensor, "n f"]) -> Guess:
        build = partial(_Network, self, x.shape[1], len(state["sigma"]))
        weights = {k[len(_OWN) :]: v for k, v in state.items() if k.startswith(_OWN)}
        mean = applied(build, weights, x)
        return Guess(mean, state["sigma"].expand_as(mean))


class _Network(nn.Module):
    def __init__(self, settings: Transformer, features: int, outputs: int) -> None:
        super().__init__()
        self.patch = math.ceil(features / settings.patches)
        self.tokens = math.ceil(features / self.patch)
        self.into = Linear(self.patch, settings.width)
        self.place = nn.Parameter(0.02 * torch.randn(self.tokens, settings.width))
        self.blocks = nn.ModuleList(_Block(settings.width) for _ in range(settings.blocks))
        self.out = Linear(settings.width, outputs)

    def forward(self, x: Float[Tensor, "n f"]) -> Float[Tensor, "n g"]:
        padded = F.pad(x, (0, self.tokens * self.patch - x.shape[1]))
        h = self.into(padded.unflatten(1, (self.tokens, self.patch))) + self.place
        for block in self.blocks:
            h = block(h)
        return self.out(h.mean(1))


class _Block(nn.Module):
    """`h + attention(norm(h))`, then `h + W₁ gelu(W₂ norm(h))`; attention written out, as in fusion."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads if width % heads == 0 else 1
        self.norm, self.second_norm = LayerNorm(width), LayerNorm(width)
        self.query, self.key = Linear(width, width), Linear(width, width)
        self.value, self.out = Linear(width, width), Linear(width, width)
        self.forth = nn.Sequential(Linear(width, 2 * width), nn.GELU(), Linear(2 * width, width))

    def forward(self, h: Float[Tensor, "n l d"]) -> Float[Tensor, "n l d"]:
        z = self.norm(h)
        q, k, v = (self._split(layer(z)) for layer in (self.query, self.key, self.value))
        gathered = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1) @ v
        h = h + self.out(gathered.transpose(1, 2).flatten(2))
        return h + self.forth(self.second_norm(h))

    def _split(self, h: Tensor) -> Tensor:
        return h.unflatten(-1, (self.heads, -1)).transpose(1, 2)
