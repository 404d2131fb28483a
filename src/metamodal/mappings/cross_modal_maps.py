"""Cross-modal maps: maps between the generic features of modalities, used in retrieval beside the shared space.

A learned space fits the training classes, and maps between generic features generalise; on unseen classes each
retrieves rows that the other misses. The similarity of two cells is then the sum of three cosines: of their tokens,
and in each modality's features of the one that is present and the one mapped. Features are first reduced to their
principal components, which makes maps fast to fit and no worse at retrieval.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from metamodal.mappings.maps import AdaptingMap, FittedMap, Map, Pairs, fit_map
from metamodal.types import Batch, Params

__all__ = ["WEIGHT", "CrossModalMaps", "both_ways", "fitted_maps", "paired", "without_maps"]

WEIGHT = "maps.weight"
"""The parameter that weighs the cosines in both feature spaces; without it no maps are used."""

_PREFIX = "maps."
_FEWEST = 20  # rows that have both modalities
_COMPONENTS = 128


@dataclass(frozen=True)
class CrossModalMaps:
    """The maps among a model's parameters; without any, each point is its token's direction.

    Args:
        map: the kind of all of them; `None` where there are none.
    """

    map: Map | None
    params: Params

    def __bool__(self) -> bool:
        return self.map is not None and WEIGHT in self.params

    @property
    def adapts(self) -> bool:
        """Whether a task's own rows correct the maps."""
        return bool(self) and isinstance(self.map, AdaptingMap)

    def points(
        self, z: Float[Tensor, "n d"], features: Batch, between: Iterable[tuple[str, str]]
    ) -> Float[Tensor, "n e"]:
        """What the cosine compares: each row's embedding and its side of the maps, zeros where its cell is absent.

        Args:
            features: the rows' generic features.
            between: pairs of a modality of these rows and the one that they are compared with; on the other side
                the same pairs turned round, in the same order.
        """
        device = self.params[WEIGHT].device if self else z.device
        parts, features = [F.normalize(z.to(device), dim=-1)], features.to(device)
        for mine, other in between:
            fitted = self.fitted(mine, other) if self else None
            if fitted is None:
                continue
            present = features.present[mine]
            x = self.components(mine, torch.where(present[:, None], features.inputs[mine], 0.0))
            sides = {mine: x - fitted.state["x.mean"], other: fitted(x).mean - fitted.state["y.mean"]}
            weight = self.params[WEIGHT].sqrt() * present[:, None]
            parts += [weight * F.normalize(sides[name], dim=-1) for name in sorted(sides)]
        return torch.cat(parts, -1)

    def fitted(self, source: str, target: str) -> FittedMap | None:
        """The map from one modality's components to another's, if there is one."""
        prefix = _between(source, target)
        state = {k.removeprefix(prefix): v for k, v in self.params.items() if k.startswith(prefix)}
        return FittedMap(self.map, state) if state and self.map is not None else None

    def components(self, modality: str, x: Float[Tensor, "n f"]) -> Float[Tensor, "n k"]:
        """Features of one modality as principal components."""
        mean, directions = (self.params[_of(modality, part)] for part in ("mean", "components"))
        return (x - mean) @ directions

    def adapted(self, features: Batch) -> CrossModalMaps:
        """The maps corrected by rows that have several modalities, of a kind that adapts to a task.

        Args:
            features: the generic features of a task's rows.
        """
        if not self.adapts:
            return self
        found = dict(self.params)
        for source, target in permutations(features.inputs, 2):
            both = features.present[source] & features.present[target]
            fitted = self.fitted(source, target)
            if fitted is None or not both.any():
                continue
            x, y = (self.components(m, features.inputs[m][both]) for m in (source, target))
            found |= {_between(source, target) + k: v for k, v in fitted.adapt(x, y).state.items()}
        return CrossModalMaps(self.map, found)


def paired(features: Batch, names: Sequence[str]) -> list[tuple[str, str]]:
    """The unordered pairs of modalities that enough rows have both of, those with most rows first."""
    counts = {
        (a, b): int((features.present[a] & features.present[b]).sum())
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    }
    return sorted((p for p, rows in counts.items() if rows >= _FEWEST), key=lambda p: -counts[p])


def fitted_maps(
    features: Batch,
    map: Map,
    pairs: Collection[tuple[str, str]],
    seed: int = 0,
    tasks: Tensor | None = None,
) -> Params:
    """Maps of one kind, there and back, between the modalities of each pair; without a weight.

    Args:
        tasks: of each row a number of the task that it is from.
    """
    found: Params = {}
    for name in dict.fromkeys(name for pair in pairs for name in pair):
        x = features.inputs[name][features.present[name]]
        found |= {_of(name, "mean"): x.mean(0), _of(name, "components"): _principal(x)}
    reduced = CrossModalMaps(map, found)
    for source, target in both_ways(pairs):
        both = features.present[source] & features.present[target]
        x, y = (reduced.components(m, features.inputs[m][both]) for m in (source, target))
        generator = Generator().manual_seed(seed)
        fit = fit_map(map, Pairs(x, y, None if tasks is None else tasks[both]), generator)
        found |= {_between(source, target) + k: v for k, v in fit.state.items()}
    return found


def both_ways(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each pair there and back."""
    return [turned for a, b in pairs for turned in ((a, b), (b, a))]


def without_maps(params: Params) -> Params:
    """The parameters that training works on."""
    return {name: value for name, value in params.items() if not name.startswith(_PREFIX)}


def _between(source: str, target: str) -> str:
    return f"{_PREFIX}between.{source!r}>{target!r}."


def _of(modality: str, part: str) -> str:
    return f"{_PREFIX}{part}.{modality}"


def _principal(x: Float[Tensor, "n f"]) -> Float[Tensor, "f k"]:
    """The directions of most variance, at most so many: by the smaller of the two Gram matrices."""
    centred = (x - x.mean(0)).double()
    keep = max(1, min(_COMPONENTS, len(x) - 1, x.shape[1]))
    if len(x) >= x.shape[1]:
        _, vectors = torch.linalg.eigh(centred.mT @ centred)
        return vectors.flip(-1)[:, :keep].to(x.dtype).contiguous()
    values, vectors = torch.linalg.eigh(centred @ centred.mT)
    values, vectors = values.flip(-1)[:keep].clamp(min=1e-12), vectors.flip(-1)[:, :keep]
    return (centred.mT @ vectors / values.sqrt()).to(x.dtype).contiguous()
