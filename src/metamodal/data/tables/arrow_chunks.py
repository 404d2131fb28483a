"""Parquet and Arrow files, and Arrow tables in memory, as chunks of raw cells."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from metamodal.data.tables.arrow_files import arrow_batches
from metamodal.data.tables.byte_streams import first_line
from metamodal.data.tables.chunks import Chunk
from metamodal.data.tables.parquet import affordable, parquet_frames
from metamodal.data.tables.problems import Report
from metamodal.data.tables.table import check_names, frame_of
from metamodal.data.tables.text_files import TextFormat
from metamodal.errors import DataError

__all__ = ["of_arrow", "read_arrow", "read_parquet"]

_DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)  # names in the metadata may be anything


def read_parquet(
    file: Path | bytes, name: str, rows: int, report: Report, text: TextFormat
) -> Iterator[Chunk]:
    try:
        source = pa.BufferReader(file) if isinstance(file, bytes) else str(file)
        table = pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20)
        yield from _of_frames(parquet_frames(table, source, rows), table.schema_arrow, name)
    except _DAMAGED as error:
        raise DataError(
            f"{name}: not a readable Parquet file ({first_line(error)}). Write it again."
        ) from None


def read_arrow(file: Path | bytes, name: str, rows: int, report: Report, text: TextFormat) -> Iterator[Chunk]:
    """Arrow's file format (Feather) or its stream format (what `datasets` keeps on disk)."""
    try:
        source = pa.BufferReader(file) if isinstance(file, bytes) else pa.memory_map(str(file))
        schema, batches = arrow_batches(source, name)
        pieces = (batch.slice(at, rows) for batch in batches for at in range(0, batch.num_rows, rows))
        yield from _of_batches(pieces, schema, name)
    except _DAMAGED as error:
        raise DataError(f"{name}: not a readable Arrow file ({first_line(error)}). Write it again.") from None


def of_arrow(table: pa.Table, name: str, rows: int, report: Report) -> Iterator[Chunk]:
    """An Arrow table in memory as chunks."""
    yield from _of_batches(table.to_batches(max_chunksize=rows), table.schema, name)


def _of_batches(batches: Iterable[Any], schema: pa.Schema, name: str) -> Iterator[Chunk]:
    def frames() -> Iterator[pd.DataFrame]:
        for batch in batches:
            batch.validate(full=True)  # a damaged file's offsets and texts are not to be trusted
            yield affordable(frame_of(pa.Table.from_batches([batch])))

    yield from _of_frames(frames(), schema, name)


def _of_frames(frames: Iterable[pd.DataFrame], schema: pa.Schema, name: str) -> Iterator[Chunk]:
    check_names(schema.names, name)
    levels = _class_names(schema)
    first = 1
    for frame in frames:
        for column, names in levels.items():
            frame[column] = [_level(code, names) for code in frame[column]]
        yield Chunk(frame, np.arange(first, first + len(frame)))
        first += len(frame)


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """The class names of integer labels, as the `datasets` library writes them into a schema."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        named = {c: f["names"] for c, f in features.items() if f.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {c: names for c, names in named.items() if c in schema.names}


def _level(code: Any, names: list[str]) -> Any:
    if code is None or code == -1:  # -1 is how the library marks a hidden label
        return None
    return (names[code] or None) if isinstance(code, int) and 0 <= code < len(names) else code
