"""Parquet in batches that stay small, whatever a small file claims to decompress to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from metamodal.data.limits import limits
from metamodal.data.tables.table import frame_of, frame_of_cells
from metamodal.data.tables.unreadable import Unreadable

__all__ = ["affordable", "parquet_frames"]

_BATCH_BYTES = 64 << 20
_SUSPICIOUS = 32  # times that a chunk grows when it is decompressed, where it is also large
_DICTIONARY = ("RLE_DICTIONARY", "PLAIN_DICTIONARY")


def parquet_frames(table: pq.ParquetFile, source: Any, rows: int) -> Iterator[pd.DataFrame]:
    """The rows of a file in order as raw cells, at most `rows` at a time and fewer where they are large.

    Values that a dictionary holds once are shared by the rows that name them, not copied. A column's
    chunk that is tiny on disk and large in memory is not decoded: each of its cells is refused.
    """
    about, names = table.metadata, table.schema_arrow.names
    shared = [c for c in _in_dictionaries(about) if _is_plain(table.schema_arrow, c)]
    if shared:
        table = pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20, read_dictionary=shared)
    for group in range(about.num_row_groups):
        chunks = about.row_group(group)
        bombs = _bombs(chunks)
        kept = [c for c in names if c not in bombs]
        fitting = min(rows, _fitting(chunks, kept, shared))
        if not kept:
            for start in range(0, chunks.num_rows, rows):
                yield _completed(pd.DataFrame(index=range(min(rows, chunks.num_rows - start))), names, bombs)
            continue
        for batch in table.iter_batches(fitting, row_groups=[group], columns=kept):
            batch.validate(full=True)  # a damaged file's offsets and texts are not to be trusted
            yield _completed(affordable(frame_of(pa.Table.from_batches([batch]))), names, bombs)


def _fitting(chunks: Any, columns: list[str], shared: list[str]) -> int:
    """Rows that decode to about the size of a batch; each may name the largest value of a dictionary."""
    plain = nested = 0
    for at in range(chunks.num_columns):
        chunk = chunks.column(at)
        if _name(chunk) not in columns or chunk.path_in_schema in shared:
            continue
        size = int(chunk.total_uncompressed_size)
        plain += size
        if _has_dictionary(chunk) and size > _BATCH_BYTES // 8 and size > 4 * chunk.total_compressed_size:
            nested += size
    return max(
        1, min(_BATCH_BYTES * max(1, chunks.num_rows) // max(1, plain), _BATCH_BYTES // max(1, nested))
    )


def _completed(frame: pd.DataFrame, names: list[str], bombs: dict[str, str]) -> pd.DataFrame:
    cells: dict[str, list[Any]] = {
        c: [Unreadable("a compressed cell", bombs[c])] * len(frame) if c in bombs else frame[c].tolist()
        for c in names
    }
    return frame_of_cells(cells) if bombs else frame


def affordable(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with cells above the cap of bytes refused."""
    cap = limits().bytes

    def checked(cell: Any) -> Any:
        held = cell.get("bytes") if isinstance(cell, dict) else cell
        if isinstance(held, (bytes, str)) and len(held) > cap:
            return Unreadable(
                f"{len(held)} bytes", f"is {len(held)} bytes, above the cap of {cap}. Cut it into parts"
            )
        return cell

    cells = {column: [checked(cell) for cell in frame[column].tolist()] for column in frame.columns}
    refused = any(isinstance(cell, Unreadable) for column in cells.values() for cell in column)
    return frame_of_cells(cells) if refused else frame


def _name(chunk: Any) -> str:
    return str(chunk.path_in_schema.partition(".")[0])


def _has_dictionary(chunk: Any) -> bool:
    return any(encoding in _DICTIONARY for encoding in chunk.encodings)


def _in_dictionaries(about: Any) -> list[str]:
    """The columns whose values stand in dictionaries, by their paths in the schema."""
    groups = [about.row_group(group) for group in range(about.num_row_groups)]
    chunks = [chunks.column(at) for chunks in groups for at in range(chunks.num_columns)]
    return list(dict.fromkeys(chunk.path_in_schema for chunk in chunks if _has_dictionary(chunk)))


def _is_plain(schema: pa.Schema, column: str) -> bool:
    if column not in schema.names:
        return False
    kind = schema.field(column).type
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _bombs(chunks: Any) -> dict[str, str]:
    """The columns of a row group that are not to be decoded, and why."""
    found = {}
    for at in range(chunks.num_columns):
        chunk = chunks.column(at)
        large, small = chunk.total_uncompressed_size, max(1, chunk.total_compressed_size)
        if large > min(limits().bytes, _BATCH_BYTES) and large > _SUSPICIOUS * small:
            found[_name(chunk)] = (
                f"is in {small} bytes of the file that decompress to {large}, more than {_SUSPICIOUS} times as many. "
                "Write the table without compression"
            )
    return found
