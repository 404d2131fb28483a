"""Linear cross-modal maps: closed-form maps between the generic features of modalities, used in retrieval.

A learned space fits the training classes, and linear maps between generic features generalise; on unseen classes
each retrieves rows that the other misses. The similarity of two cells is then the
sum of three cosines: of their tokens, and in each modality's features of the one that is there and the one mapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from metamodal.mappings.maps import Linear, Pairs
from metamodal.types import Batch, Params

__all__ = ["WEIGHT", "LinearMaps", "built", "without_linear_maps"]

WEIGHT = "linear_maps.weight"
"""The parameter that weighs the cosines in both feature spaces; without it there are no linear maps."""

_PREFIX = "linear_maps."
_FEWEST = 20  # rows that have both modalities


@dataclass(frozen=True)
class LinearMaps:
    """The linear maps among a model's parameters; without any, each point is its token's direction."""

    params: Params

    def __bool__(self) -> bool:
        return WEIGHT in self.params

    def points(
        self, z: Float[Tensor, "n d"], features: Batch, between: Iterable[tuple[str, str]]
    ) -> Float[Tensor, "n e"]:
        """What the cosine compares: each row's embedding and its side of the maps, zeros where its cell is absent.

        Args:
            features: the rows' generic features.
            between: pairs of a modality of these rows and the one that they are compared with; on the other side
                the same pairs turned round, in the same order.
        """
        parts, features = [F.normalize(z, dim=-1)], features.to(z.device)
        for mine, other in between:
            if not self or _name(mine, other) not in self.params:
                continue
            x, there = features.inputs[mine], features.present[mine]
            mapped = x @ self.params[_name(mine, other)] + self.params[f"{_name(mine, other)}.bias"]
            sides = {
                mine: x - self.params[_mean(mine, other)],
                other: mapped - self.params[_mean(other, mine)],
            }
            weight = self.params[WEIGHT].sqrt() * there[:, None]
            parts += [weight * F.normalize(sides[name], dim=-1) for name in sorted(sides)]
        return torch.cat(parts, -1)


def built(features: Batch, names: Sequence[str]) -> Params:
    """Linear maps between every two of these modalities that enough rows have both of, by ridge regression with the
    penalty that leaving one out favours; without a weight."""
    found: Params = {}
    for a, b in permutations(names, 2):
        both = features.present[a] & features.present[b]
        if int(both.sum()) < _FEWEST:
            continue
        x, y = features.inputs[a][both], features.inputs[b][both]
        state = Linear().fit(Pairs(x, y), Generator())
        found |= {_name(a, b): state["weight"], f"{_name(a, b)}.bias": state["bias"], _mean(a, b): x.mean(0)}
    return found


def without_linear_maps(params: Params) -> Params:
    """The parameters that training works on."""
    return {name: value for name, value in params.items() if not name.startswith(_PREFIX)}


def _name(source: str, target: str) -> str:
    return f"{_PREFIX}{source}>{target}"


def _mean(name: str, beside: str) -> str:
    return f"{_PREFIX}{name}|{beside}.mean"
