"""What of the drawn rows is shown: the same episodes with some modalities alone, other ones in support and
query, or with cells missing."""

from __future__ import annotations

from itertools import combinations, permutations

import torch
from torch import Tensor

from metamodal.data.tasks.episodes import Draw, episodes_of, random_missing
from metamodal.evaluation.protocol import Protocol
from metamodal.evaluation.results import Condition
from metamodal.types import Batch, Episode

__all__ = ["conditions", "episodes_under", "occurring"]

_MOST = 64  # subsets of the modalities that are measured


def conditions(modalities: tuple[str, ...], protocol: Protocol) -> list[Condition]:
    """What a protocol measures: all modalities first, each alone, maybe all subsets, maybe others in the
    query than in the support, maybe missing cells."""
    sizes = range(1, len(modalities) + 1) if protocol.subsets else (1, len(modalities))
    chosen = [s for size in dict.fromkeys(sizes) for s in combinations(modalities, size)]
    if len(chosen) > _MOST:
        chosen = [s for s in chosen if len(s) in (1, len(modalities) - 1, len(modalities))]
    whole = [Condition(s) for s in sorted(chosen, key=len, reverse=True)]
    if protocol.cross and len(modalities) > 1:
        whole += [Condition(modalities, queried=(m,)) for m in modalities]
        if len(modalities) > 2:  # with two, a support of the others is another alone
            whole += [Condition(tuple(o for o in modalities if o != m), queried=(m,)) for m in modalities]
        pairs = permutations(modalities, 2)
        whole += [Condition((a,), queried=(b,)) for a, b in pairs][:_MOST]
    return whole + ([Condition(modalities, protocol.missing, protocol.seed)] if protocol.missing else [])


def occurring(rows: Batch) -> tuple[str, ...]:
    """The modalities that some row has."""
    return tuple(m for m, present in rows.present.items() if present.any())


def episodes_under(
    rows: Batch, draw: Draw, condition: Condition, about: dict[str, Tensor] | None = None
) -> Episode:
    """The drawn episodes with only these modalities, and a share of their cells, present."""
    support, query = episodes_of(rows, draw, len(draw.names[0]), about)
    episodes = Episode(
        _seen(support, condition.modalities), _seen(query, condition.queried or condition.modalities)
    )
    if not condition.missing:
        return episodes
    generator = torch.Generator().manual_seed(condition.seed)
    return Episode(*(random_missing(batch, condition.missing, generator) for batch in episodes))


def _seen(batch: Batch, modalities: tuple[str, ...]) -> Batch:
    present = {m: p if m in modalities else torch.zeros_like(p) for m, p in batch.present.items()}
    return batch._replace(present=present)
