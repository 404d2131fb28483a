"""Retrieval: given one modality of a row, is the other one found among candidates?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from metamodal.errors import DataError
from metamodal.evaluation.baselines.retrieval import retrieval_baselines
from metamodal.evaluation.metrics import interval
from metamodal.evaluation.results import named
from metamodal.mappings.cross_modal_maps import CrossModalMaps
from metamodal.types import Batch

__all__ = ["RANKS", "Gallery", "Recall", "codes_of", "recalls", "shares_found"]

RANKS = (1, 5, 10)
"""Among how many of the nearest candidates the right one may be."""

_CHUNK = 64  # draws ranked at a time


@dataclass(frozen=True)
class Recall:
    """How often the right cell is among the nearest, `shares` `(draws, ranks)`, from one modality to another.

    `baseline` is empty for the model's own shared space.
    """

    source: str
    target: str
    candidates: int
    baseline: str
    shares: Tensor = field(repr=False)

    @property
    def queries(self) -> int:
        """Each candidate of each draw is a query once."""
        return self.candidates * len(self.shares)

    @property
    def intervals(self) -> list[tuple[float, float]]:
        """Mean and half-width of the 95 % interval over draws, one a rank."""
        return [interval(share) for share in self.shares.unbind(1)]

    @property
    def label(self) -> str:
        who = f"{self.baseline.replace('_', ' ')}: " if self.baseline else ""
        return f"{who}{self.source} → {self.target}"

    def to_dict(self) -> dict[str, Any]:
        name = {"baseline": self.baseline} if self.baseline else {"model": "shared_space"}
        return {
            "from": self.source,
            "to": self.target,
            "candidates": self.candidates,
            "queries": self.queries,
            "draws": len(self.shares),
            **name,
            "recall": {str(k): named(pair) for k, pair in zip(RANKS, self.intervals)},
        }


@dataclass(frozen=True)
class Gallery:
    """The rows that candidates are drawn of.

    `raw` is what is read of them, `groups` the entity of each or `None`, `tokens` their points in the shared
    space, if there is one, and `generic` the features that `maps` between modalities start from. Baselines are
    fitted to the features of `training` rows and compare those of the gallery, `features`.
    """

    raw: Batch
    groups: np.ndarray
    tokens: Batch | None
    features: Batch | None = None
    training: Batch | None = None
    generic: Batch | None = None
    maps: CrossModalMaps = field(default_factory=lambda: CrossModalMaps(None, {}))

    def points(self, mine: str, other: str) -> Float[Tensor, "n e"]:
        """Each row's cell of one modality as it is compared with those of another."""
        assert self.tokens is not None
        return self.maps.points(self.tokens.inputs[mine], self.generic or self.raw, [(mine, other)])


def recalls(gallery: Gallery, candidates: int, draws: int, seed: int) -> Iterator[Recall]:
    """Every ordered pair of modalities, by the shared space and by each baseline, on the same draws.

    Cells that read alike are the same: either is right. Rows of one group are never candidates together.
    Where fewer rows have both modalities than candidates are wanted, all of them are.

    Raises:
        DataError: no two rows have two modalities both.
    """
    found = False
    for a, b in permutations(gallery.raw.inputs, 2):
        both = (gallery.raw.present[a] & gallery.raw.present[b]).nonzero()[:, 0].numpy()
        units = _units(both, gallery.groups)
        count = min(candidates, len(units))
        if count < 2:
            continue
        found = True
        rng = np.random.default_rng([seed, candidates])
        drawn = torch.from_numpy(np.stack([_one_of_each(units, count, rng) for _ in range(draws)]))
        same = codes_of(gallery.raw.inputs[b])
        if gallery.tokens is not None:
            shares = shares_found(gallery.points(a, b), gallery.points(b, a), same, drawn)
            yield Recall(a, b, count, "", shares)
        for name in retrieval_baselines:
            if gallery.features is None or gallery.training is None:
                break
            pair = retrieval_baselines[name](gallery.training.only((a, b)), a, b)
            if pair is not None:
                x, y = pair(gallery.features.inputs[a], gallery.features.inputs[b])
                yield Recall(a, b, count, name, shares_found(x, y, same, drawn))
    if not found:
        raise DataError("--retrieval: no two test rows have two modalities both. Leave it out.")


def shares_found(
    queries: Float[Tensor, "n d"],
    cells: Float[Tensor, "n d"],
    same: Int[Tensor, "n"],
    drawn: Int[Tensor, "s c"],
) -> Float[Tensor, "s r"]:
    """Of each draw of rows, the share whose own cell is among the 1, 5, 10 nearest of the draw's cells.

    Nearness is the cosine; a wrong cell as near as the right one counts as nearer. Rows of equal `same`
    have the same cell.
    """
    queries, cells = F.normalize(queries, dim=1), F.normalize(cells, dim=1)
    same, drawn = same.to(queries.device), drawn.to(queries.device)
    parts = []
    for rows in drawn.split(_CHUNK):
        scores = queries[rows] @ cells[rows].mT
        right = same[rows][:, :, None] == same[rows][:, None]
        best = scores.masked_fill(~right, -torch.inf).amax(2, keepdim=True)
        rank = ((scores >= best) & ~right).sum(2)
        parts.append(torch.stack([(rank < k).float().mean(1) for k in RANKS], 1))
    return torch.cat(parts)


def _units(rows: np.ndarray, groups: np.ndarray) -> list[np.ndarray]:
    """Rows that may not be candidates together: those of a group; each other one alone."""
    by_name: dict[Any, list[int]] = {}
    for row in rows:
        name = ("row", row) if groups[row] is None else ("group", groups[row])
        by_name.setdefault(name, []).append(row)
    return [np.array(unit) for unit in by_name.values()]


def _one_of_each(units: list[np.ndarray], count: int, rng: np.random.Generator) -> np.ndarray:
    chosen = rng.choice(len(units), count, replace=False)
    return np.array([units[i][rng.integers(len(units[i]))] for i in chosen])


def codes_of(x: Tensor) -> Int[Tensor, "n"]:
    """The same number for rows that are the same."""
    seen: dict[bytes, int] = {}
    return torch.tensor([seen.setdefault(row.numpy().tobytes(), len(seen)) for row in x])
