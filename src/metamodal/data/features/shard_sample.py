"""The sample of a table that kinds are fitted to before its features are computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from metamodal.data.dataset import Dataset
from metamodal.data.features.shard_options import CHUNK, ShardOptions
from metamodal.data.roles import ROLES, Roles
from metamodal.data.schema.inference import infer
from metamodal.data.tables.source import Source
from metamodal.data.tables.table import frame_of_cells
from metamodal.data.tables.triples import Triples, read_triples

__all__ = ["sampled"]

_SAMPLE = 1024  # rows that scales and levels are fitted to


def sampled(source: Source, said: Roles, options: ShardOptions) -> Dataset:
    """Rows to fit kinds to: evenly drawn from the training part, at most 1,024."""
    rng = np.random.default_rng(options.seed)
    named = [c for role in ROLES if role.is_column for c in said.columns(role.name)]
    held: dict[str, list[Any]] = {c: [] for c in named}
    kept: list[tuple[int, int, dict[str, Any]]] = []  # (place among all rows, number in the file, cells)
    count = 0
    for frame, numbers in source.chunks(CHUNK):
        for c, cells in held.items():
            cells += frame[c].tolist() if c in frame.columns else [None] * len(frame)
        columns = {c: frame[c].tolist() for c in frame.columns}
        for i, number in enumerate(numbers.tolist()):  # each row is in the sample with equal chance
            place = count if count < _SAMPLE else int(rng.integers(count + 1))
            if place < _SAMPLE:
                row = (count, number, {c: cells[i] for c, cells in columns.items()})
                kept[place : place + 1] = [row]
            count += 1
    kept.sort(key=lambda row: row[0])
    names = dict.fromkeys(c for _, _, cells in kept for c in cells)
    frame = frame_of_cells({c: [cells.get(c) for _, _, cells in kept] for c in names})
    schema = infer(frame, said, source.name, index=source.stored.index)
    dataset = Dataset(
        frame, schema, source.name, source.base, np.array([n for _, n, _ in kept]), _triples(source, said)
    )
    if said.target is None:
        return dataset
    roles = Dataset(frame_of_cells(held), schema, source.name, source.base, np.arange(1, count + 1))
    training = np.isin([place for place, _, _ in kept], roles.split(options.seed).train)
    return dataset.rows(np.flatnonzero(training)) if training.any() else dataset


def _triples(source: Source, said: Roles) -> Triples | None:
    return read_triples(said.triples, source.base) if said.triples else None
