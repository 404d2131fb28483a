"""A table of any size as a folder of feature shards, which is a table again.

Two passes over the source, neither of which holds more than a chunk of it: the first keeps the role
columns and a sample of rows, to which kinds are fitted; the second computes features, or finds them
where they are kept, and writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from metamodal.data.dataset import Dataset
from metamodal.data.features.extraction import Features
from metamodal.data.features.reading import column_of, raw_cells, refused
from metamodal.data.features.shard_encoders import modality_features
from metamodal.data.features.shard_folder import left_shards, publish, staged
from metamodal.data.features.shard_options import CHUNK, ShardOptions
from metamodal.data.features.shard_sample import sampled
from metamodal.data.modalities.protocol import CellError
from metamodal.data.roles import ROLES, Roles
from metamodal.data.schema.inference import Schema
from metamodal.data.tables.folders import is_encoded
from metamodal.data.tables.forms import VECTORS
from metamodal.data.tables.source import Source
from metamodal.storage import check_folder, explained

__all__ = ["Encoded", "encode_table"]


@dataclass(frozen=True)
class Encoded:
    """What was written: the folder, its rows and shards, each modality's width, vectors computed and found."""

    folder: Path
    rows: int
    shards: int
    widths: dict[str, int]
    computed: int
    found: int
    schema: Schema


def encode_table(
    source: Source,
    said: Roles,
    out: str | Path,
    options: ShardOptions,
    watch: Callable[[int], None] = lambda rows: None,
) -> Encoded:
    """Features of every modality of a table, in a folder that every command reads as a table.

    A column a modality, list<float32>, null where the cell is absent; columns with other roles stay as they are, and
    so do those that nothing is learned from, unless they are media or lists. The table
    appears whole or not at all; one that `encode_table` wrote before is replaced, and stays if this fails.

    Args:
        watch: called with the number of rows after each chunk.

    Raises:
        DataError: a cell that cannot be read, named by row and column.
        OutputError: `out` holds files of others, cannot be written, or is written to by another process.
    """
    folder = Path(out)
    check_folder(folder, ours=is_encoded(folder), left=left_shards(folder))
    said = (said.over(source.roles) if source.roles else said).settled()
    sample = sampled(source, said, options)
    features = modality_features(sample, options)
    with explained(folder), staged(folder) as part, _one_torch_thread():
        rows, shards = _write_shards(source, sample, features, part, options, watch)
        widths = _widths(part, features)
        publish(part, folder, _about(source, sample.schema, features, widths))
    computed = sum(f.computed for f in features.values())
    found = sum(f.found for f in features.values())
    return Encoded(folder, rows, shards, widths, computed, found, sample.schema)


def _write_shards(
    source: Source,
    sample: Dataset,
    features: Mapping[str, Features],
    folder: Path,
    options: ShardOptions,
    watch: Callable[[int], None],
) -> tuple[int, int]:
    """The features of all rows, and how many rows and files they are."""
    schema, roles = sample.schema, sample.schema.to_roles()
    modal = {c for _, columns in schema.modalities.values() for c in columns}
    named = {c for role in ROLES if role.is_column for c in roles.columns(role.name)}
    rows = shards = 0
    writer: pq.ParquetWriter | None = None
    try:
        for frame, numbers in source.chunks(min(CHUNK, options.rows)):
            data = Dataset(frame, schema, source.name, source.base, numbers, sample.triples)
            columns = dict(_kept(frame, modal - named | set(features), named))
            for name, encoder in features.items():
                columns[name] = _vectors(data, name, encoder, options.unreadable)
            table = pa.table(columns)
            if writer is None or rows // options.rows >= shards or writer.schema != table.schema:
                if writer is not None:
                    writer.close()
                # Features are dense floats: compressing them costs more than the computing saved.
                writer = pq.ParquetWriter(
                    folder / f"part-{shards:05}.parquet",
                    table.schema,
                    compression="none",
                    use_dictionary=False,
                    write_statistics=False,
                )
                shards += 1
            writer.write_table(table)
            rows += len(frame)
            watch(rows)
    finally:
        if writer is not None:
            writer.close()
    return rows, shards


def _vectors(data: Dataset, name: str, encoder: Features, unreadable: str) -> pa.Array:
    def failed(position: int, error: CellError) -> None:
        if unreadable == "error":
            raise refused(data, position, column_of(error, columns), error) from None

    kind, columns = data.schema.modalities[name]
    vectors = encoder(raw_cells(data, kind, columns), data.base, failed)
    present = [v for v in vectors if v is not None]
    width = len(present[0]) if present else 0
    offsets = np.concatenate([[0], np.cumsum([v is not None for v in vectors])]) * width
    flat = np.concatenate(present) if present else np.zeros(0, np.float32)
    absent = pa.array([v is None for v in vectors])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(flat, pa.float32()), mask=absent)


def _kept(frame: pd.DataFrame, without: set[str], named: set[str]) -> Iterator[tuple[str, pa.Array]]:
    """The other columns, if they are `named` in a role or their cells are scalars."""
    for name in frame.columns:
        cells = frame[name].tolist()
        if name in without:
            continue
        if name not in named and any(isinstance(c, (bytes, list, dict, tuple, np.ndarray)) for c in cells):
            continue
        try:
            yield name, pa.array(cells)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            yield name, pa.array([None if c is None else str(c) for c in cells])


def _widths(folder: Path, features: Mapping[str, Features]) -> dict[str, int]:
    widths = dict.fromkeys(features, 0)
    for path in sorted(folder.glob("part-*.parquet")):
        for name in [n for n, width in widths.items() if not width]:
            for batch in pq.ParquetFile(path).iter_batches(1, columns=[name]):
                lengths = batch.column(0).value_lengths().drop_null().to_pylist()
                if lengths:
                    widths[name] = lengths[0]
                    break
        if all(widths.values()):
            break
    return widths


def _about(
    source: Source, schema: Schema, features: Mapping[str, Features], widths: dict[str, int]
) -> dict[str, Any]:
    roles = replace(
        schema.to_roles(), use=tuple(features), kinds=dict.fromkeys(features, VECTORS), triples=None
    )
    return {
        "source": source.name,
        "roles": {"use": []} | roles.record(),
        "modalities": {
            name: {
                "kind": schema.modalities[name][0],
                "columns": list(schema.modalities[name][1]),
                "encoder": f.encoder.spec or "the kind's own features",
                "identity": f.encoder.identity,
                "width": widths[name],
            }
            for name, f in features.items()
        },
    }


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Cells are computed in threads, which share the cores; torch's own would get in their way."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
