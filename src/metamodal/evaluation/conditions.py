"""What of the drawn rows is shown: the same episodes with some modalities alone, or with cells missing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from metamodal.data.tasks import Draw, episodes_of, random_missing
from metamodal.evaluation.protocol import Protocol
from metamodal.types import Batch, Episode

__all__ = ["Condition", "conditions", "episodes_under", "occurring"]

_MOST = 64  # subsets of the modalities that are measured


@dataclass(frozen=True)
class Condition:
    """These modalities alone, and of their cells a share missing, chosen by the seed."""

    modalities: tuple[str, ...]
    missing: float = 0.0
    seed: int = 0


def conditions(modalities: tuple[str, ...], protocol: Protocol) -> list[Condition]:
    """What a protocol measures: all modalities first, each alone, maybe all subsets, maybe missing cells."""
    sizes = range(1, len(modalities) + 1) if protocol.subsets else (1, len(modalities))
    chosen = [s for size in dict.fromkeys(sizes) for s in combinations(modalities, size)]
    if len(chosen) > _MOST:
        chosen = [s for s in chosen if len(s) in (1, len(modalities) - 1, len(modalities))]
    whole = [Condition(s) for s in sorted(chosen, key=len, reverse=True)]
    return whole + ([Condition(modalities, protocol.missing, protocol.seed)] if protocol.missing else [])


def occurring(rows: Batch) -> tuple[str, ...]:
    """The modalities that some row has."""
    return tuple(m for m, present in rows.present.items() if present.any())


def episodes_under(
    rows: Batch, draw: Draw, condition: Condition, about: dict[str, Tensor] | None = None
) -> Episode:
    """The drawn episodes with only these modalities, and a share of their cells, present."""
    shown = {m: p if m in condition.modalities else torch.zeros_like(p) for m, p in rows.present.items()}
    episodes = episodes_of(rows._replace(present=shown), draw, len(draw.names[0]), about)
    if not condition.missing:
        return episodes
    generator = torch.Generator().manual_seed(condition.seed)
    return Episode(*(random_missing(batch, condition.missing, generator) for batch in episodes))
