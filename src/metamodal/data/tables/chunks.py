"""Chunks of raw cells: some rows of a table at a time, and their places in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from metamodal.data.tables.problems import Report
from metamodal.data.tables.table import frame_of_cells
from metamodal.data.tables.text_files import TextFormat

__all__ = ["CHUNK_BYTES", "Chunk", "Format", "chunked"]

CHUNK_BYTES = 64 << 20
"""Chunks have fewer rows where rows are large, so that one stays about this small."""


class Chunk(NamedTuple):
    """Some rows of a table and their places in it, counted from 1."""

    frame: pd.DataFrame
    numbers: np.ndarray


Format = Callable[[Path | bytes, str, int, Report, TextFormat], Iterator[Chunk]]


def chunked(records: Iterator[tuple[int, dict[str, Any]]], columns: list[str], rows: int) -> Iterator[Chunk]:
    """Numbered records as chunks with all of `columns`, and whatever other keys records have."""
    held: list[tuple[int, dict[str, Any]]] = []
    size = 0
    for number, record in records:
        held.append((number, record))
        size += sum(len(cell) for cell in record.values() if isinstance(cell, (str, bytes, list)))
        if len(held) >= rows or size > CHUNK_BYTES:
            yield _chunk(held, columns)
            held, size = [], 0
    if held:
        yield _chunk(held, columns)


def _chunk(held: list[tuple[int, dict[str, Any]]], columns: list[str]) -> Chunk:
    names = dict.fromkeys([*columns, *(key for _, record in held for key in record)])
    frame = frame_of_cells({c: [record.get(c) for _, record in held] for c in names})
    return Chunk(frame, np.array([number for number, _ in held]))
