"""In-context learning: a set transformer reads the support set, and each query row beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from metamodal.meta.learners.protocol import (
    gate,
    learners,
    own,
    regression_prior,
    regression_prior_start,
    scalar,
    seen,
    shown,
)
from metamodal.meta.learners.prototypes import distances
from metamodal.pure import Pure
from metamodal.types import Batch, Embed, Params, Setting

__all__ = ["InContext"]


@learners.register("in_context")
@dataclass(frozen=True)
class InContext:
    """A transformer without positions over the support rows; query rows attend to them, not to each other.

    Labels enter as relations: two rows of one class attend to each other by a learned amount more or
    less. So the order of rows and the numbering of classes play no part by construction, where
    codes for classes have to be permuted at random to that end (Garnelo et al., 2018; Kirsch et al.,
    2022). Labels and numbers enter as vectors added to the row. The answer is read off by distance
    to the means of classes as the support is understood (as Ye et al., 2020, do), or by a linear map.

    Args:
        layers: of attention and a network a row.
        heads: of the attention.
    """

    layers: PositiveInt = 2
    heads: PositiveInt = 4
    temperature: PositiveFloat = 8.0

    @property
    def reads(self) -> str:
        return "tokens"

    def parameters(self, setting: Setting) -> Params:
        start: Params = {
            "log_temperature": scalar(setting, math.log(self.temperature)),
            "bias": scalar(setting, 0.5),
        }
        if setting.dim:
            network = _Reader(setting.dim, self.layers, self.heads, setting.outputs)
            start |= {f"reader.{k}": v.detach() for k, v in network.named_parameters()}
        return start | gate(setting) | regression_prior_start(setting)

    def adapt(self, fn: Embed, params: Params, support: Batch) -> dict[str, Tensor]:
        """The support as each layer sees it, and of classes their means and how many rows each has."""
        z, targets, weights = shown(fn, params, support)
        states = self._read(params, z, targets, weights, not fn.output.has_classes)
        state = {f"layer.{i}": h for i, h in enumerate(states)} | {"there": weights > 0}
        if not fn.output.has_classes:
            return state | {"outputs": z.new_zeros(*z.shape[:-2], targets.shape[-1])}
        shares = targets * weights[..., None]
        counts = shares.sum(-2)
        means = shares.mT @ states[-1] / counts.clamp(min=1e-6)[..., None]
        return state | {"means": means, "counts": counts}

    def predict(
        self, fn: Embed, params: Params, adapted: dict[str, Tensor], query: Batch
    ) -> Float[Tensor, "*t q k"]:
        z = fn(params, query)
        there = seen(query)[..., None]
        layers = [adapted[f"layer.{i}"] for i in range(self.layers)]
        h = self._run(params, z, "query", z, layers, adapted["there"])
        if not fn.output.has_classes:
            answer = regression_prior(params, z, adapted["outputs"].shape[-1]) + self._run(
                params, z, "read", h
            )
            return answer * there
        means, counts = adapted["means"], adapted["counts"]
        nearness = F.softplus(own(params, "bias")) - distances(h, means)
        logits = own(params, "log_temperature").exp() * nearness
        return logits * (counts > 0)[..., None, :] * there

    def _read(self, params: Params, z: Tensor, targets: Tensor, weights: Tensor, fixed: bool) -> list[Tensor]:
        states = self._run(params, z, "support", z, targets, weights > 0, fixed)
        return states if isinstance(states, list) else [z] * (self.layers + 1)

    def _run(self, params: Params, z: Tensor, part: str, *inputs: Any) -> Any:
        """A part of the reader; without weights (untrained features) rows stay as they are."""
        mine = {k[15:]: v for k, v in params.items() if k.startswith("learner.reader.")}
        if not mine:
            return inputs[0]
        outputs = len(mine["value.weight"][0]) if "value.weight" in mine else 0
        network = _reader(z.shape[-1], self.layers, self.heads, outputs)
        return network(mine, part, *inputs)


class _Layer(nn.Module):
    """Attention of rows to support rows, then a network a row; both add to the row, nothing at first."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads if dim % heads == 0 else 1
        self.norm, self.norm_of_rows = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.keys = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)
        self.same = nn.Parameter(torch.zeros(self.heads))
        last = nn.Linear(2 * dim, dim)
        self.network = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), last)
        for layer in (self.out, last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, rows: Tensor, there: Tensor, same: Tensor | None) -> Tensor:
        """`x` `(*t, n, d)` hears `rows` `(*t, s, d)` that are `there`; `same` `(*t, n, s)` are mates."""
        query = self._split(self.query(self.norm(x)))
        keys, values = (self._split(h) for h in self.keys(self.norm_of_rows(rows)).chunk(2, -1))
        scores = query @ keys.mT / math.sqrt(query.shape[-1])
        if same is not None:
            scores = scores + self.same[:, None, None] * same[..., None, :, :]
        scores = scores + torch.where(there, 0.0, -1e4)[..., None, None, :]
        heard = (torch.softmax(scores, -1) @ values).transpose(-2, -3).flatten(-2)
        x = x + self.out(heard)
        return x + self.network(x)

    def _split(self, h: Tensor) -> Tensor:
        return h.unflatten(-1, (self.heads, -1)).transpose(-2, -3)


class _Reader(nn.Module):
    """The layers, and of labels and numbers the maps from and to them."""

    def __init__(self, dim: int, layers: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(dim, heads) for _ in range(layers))
        if outputs:
            self.value, self.answer = nn.Linear(outputs, dim, bias=False), nn.Linear(dim, outputs)
            nn.init.zeros_(self.answer.weight)
            nn.init.zeros_(self.answer.bias)

    def forward(self, part: str, *inputs: Any) -> Any:
        return getattr(self, part)(*inputs)

    def support(self, z: Tensor, targets: Tensor, there: Tensor, fixed: bool) -> list[Tensor]:
        """The support rows before each layer and after the last."""
        same = None if fixed else targets @ targets.mT
        h = z + self.value(torch.nan_to_num(targets)) if fixed else z
        states = [h]
        for layer in self.layers:
            states.append(layer(states[-1], states[-1], there, same))
        return states

    def query(self, z: Tensor, states: list[Tensor], there: Tensor) -> Tensor:
        """Query rows after the last layer."""
        for layer, rows in zip(self.layers, states):
            z = layer(z, rows, there, None)
        return z

    def read(self, h: Tensor) -> Tensor:
        return self.answer(h)


@lru_cache(maxsize=8)
def _reader(dim: int, layers: int, heads: int, outputs: int) -> Pure:
    """The structure that parameters are run through; it has no weights of its own."""
    with torch.device("meta"):
        return Pure(_Reader(dim, layers, heads, outputs))
