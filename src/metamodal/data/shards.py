"""A table of any size as a folder of feature shards, which is a table again.

Two passes over the source, neither of which holds more than a chunk of it: the first keeps the role
columns and a sample of rows, to which kinds are fitted; the second computes features, or finds them
where they are kept, and writes them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from metamodal.data.cache import cache_folder
from metamodal.data.dataset import Dataset
from metamodal.data.digests import digest
from metamodal.data.encode import fit_options, fitted_from
from metamodal.data.encoders import open_encoders
from metamodal.data.extraction import Features, Generic, content_of
from metamodal.data.extractors import Extractor
from metamodal.data.folders import ABOUT, is_encoded, shards_named, signed
from metamodal.data.modalities import modalities
from metamodal.data.modalities.protocol import CellError
from metamodal.data.reading import column_of, raw_cells, read_cells, refused
from metamodal.data.roles import ROLES, Roles
from metamodal.data.schema import Schema, infer
from metamodal.data.source import Source
from metamodal.data.table import frame_of_cells
from metamodal.data.triples import Triples, read_triples
from metamodal.errors import OptionError, OutputError
from metamodal.storage import PART, check_folder, explained, locked, made, write_text

__all__ = ["Encoded", "ShardOptions", "encode_table"]

_SAMPLE = 1024  # rows that scales and levels are fitted to
_MEDIA_SAMPLE = 256  # of them, where a cell takes long to decode and much memory
_CHUNK = 1024
_PENDING = f"{PART}shards.json"  # names the shards that are being put into place


@dataclass(frozen=True)
class ShardOptions:
    """How features are computed and shared out over files.

    Args:
        encoders: pretrained encoders by modality; the others get the features of their kind.
        kinds: options of the kinds' `fit`, by kind.
        unreadable: `"error"`, or `"absent"` for an empty cell in its place.
        rows: of a shard.
        seed: of the sample and of the split.
    """

    encoders: Mapping[str, Any]
    kinds: Mapping[str, Mapping[str, Any]]
    unreadable: str = "error"
    rows: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise OptionError(f"rows={self.rows}: a shard has 1 row or more. Give e.g. 4096.")


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
    check_folder(folder, ours=is_encoded(folder), left=_left(folder))
    said = said.over(source.roles) if source.roles else said
    sample = _sampled(source, said, options)
    features = _encoders(sample, options)
    with explained(folder), _staged(folder) as part, _one_torch_thread():
        rows, shards = _write_shards(source, sample, features, part, options, watch)
        widths = _widths(part, features)
        _publish(part, folder, _about(source, sample.schema, features, widths))
    computed = sum(f.computed for f in features.values())
    found = sum(f.found for f in features.values())
    return Encoded(folder, rows, shards, widths, computed, found, sample.schema)


def _sampled(source: Source, said: Roles, options: ShardOptions) -> Dataset:
    """Rows to fit kinds to: evenly drawn from the training part, at most 1,024."""
    rng = np.random.default_rng(options.seed)
    named = [c for role in ROLES if role.is_column for c in said.columns(role.name)]
    held: dict[str, list[Any]] = {c: [] for c in named}
    kept: list[tuple[int, int, dict[str, Any]]] = []  # (place among all rows, number in the file, cells)
    count = 0
    for frame, numbers in source.chunks(_CHUNK):
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
    schema = infer(frame, said, source.name, index=source.about.index)
    dataset = Dataset(
        frame, schema, source.name, source.base, np.array([n for _, n, _ in kept]), _triples(source, said)
    )
    if said.target is None:
        return dataset
    roles = Dataset(frame_of_cells(held), schema, source.name, source.base, np.arange(1, count + 1))
    training = np.isin([place for place, _, _ in kept], roles.split(options.seed).train)
    return dataset.rows(np.flatnonzero(training)) if training.any() else dataset


def _encoders(sample: Dataset, options: ShardOptions) -> dict[str, Features]:
    """What computes each modality's vectors."""
    said = open_encoders(options.encoders, [], sample.schema).frozen
    found: dict[str, Features] = {}
    for name, (kind, _) in sample.schema.modalities.items():
        encoder: Extractor | None = said.get(name) or _generic(sample, name, kind, options)
        if encoder is not None:
            found[name] = Features(encoder)
    return found


def _generic(sample: Dataset, name: str, kind: str, options: ShardOptions) -> Generic | None:
    """The kind's own features, fitted to the sample: once, and kept by what the sample holds."""
    settings = fit_options(sample, options.kinds).get(kind, {})
    if getattr(modalities[kind], "threaded", False) and len(sample) > _MEDIA_SAMPLE:
        at = np.linspace(0, len(sample) - 1, _MEDIA_SAMPLE).round().astype(int)
        sample = sample.rows(at)
    limits = sample.schema.limits
    wanted = {name: sample.schema.modalities[name]}
    content = _digests(sample, kind, raw_cells(sample, *wanted[name]))
    key = hashlib.blake2b(repr((kind, settings, content)).encode(), digest_size=16).hexdigest()
    path = cache_folder() / "fits" / f"{key}.json"
    try:
        return Generic(kind, fitted_from(kind, json.loads(path.read_text("utf-8"))), limits)
    except (OSError, ValueError, TypeError, KeyError):
        pass
    values = [v for v in read_cells(sample, wanted, options.unreadable).values[name] if v is not None]
    if not values:
        return None
    modality = modalities[kind].fit(values, **settings)
    with suppress(OutputError):
        write_text(path, json.dumps(asdict(modality)))  # type: ignore[call-overload]
    return Generic(kind, modality, limits)


def _digests(sample: Dataset, kind: str, cells: list[Any]) -> list[bytes | None]:
    found: list[bytes | None] = []
    for cell in cells:
        try:
            found.append(None if cell is None else digest(content_of(cell, kind, sample.base)))
        except CellError:  # told when the cells are read
            found.append(None)
    return found


def _triples(source: Source, said: Roles) -> Triples | None:
    return read_triples(said.triples, source.base) if said.triples else None


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
        for frame, numbers in source.chunks(min(_CHUNK, options.rows)):
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
        schema.to_roles(), use=tuple(features), kinds=dict.fromkeys(features, "embedding"), triples=None
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
def _staged(folder: Path) -> Iterator[Path]:
    """A hidden folder inside `folder` to write shards to; no other process writes there meanwhile."""
    new = made(folder)
    try:
        with locked(folder.resolve(), wait=False):
            for path in (*_left(folder), *folder.glob(f"{PART}*")):  # of an attempt that was killed
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            part = Path(tempfile.mkdtemp(prefix=PART, dir=folder))
            try:
                yield part
                new = []
            finally:
                shutil.rmtree(part, ignore_errors=True)
    finally:
        for path in new:
            path.rmdir()


def _left(folder: Path) -> list[Path]:
    """The shards that an attempt put into place before it was killed, and that no record names."""
    named = {path.name for path in shards_named(folder) or []}
    return [path for path in shards_named(folder, _PENDING) or [] if path.name not in named]


def _publish(part: Path, folder: Path, about: dict[str, Any]) -> None:
    """The shards under names that the present table does not use, then the record that names them; then the
    old ones go."""
    old = shards_named(folder) or []
    turn = "" if not old or old[0].stem.endswith("-1") else "-1"
    shards = {f"{path.stem}{turn}.parquet": path for path in sorted(part.iterdir())}
    write_text(folder / _PENDING, signed({"shards": list(shards)}))
    for name, path in shards.items():
        os.replace(path, folder / name)
    write_text(folder / ABOUT, signed(about | {"shards": list(shards)}))
    for path in (*(path for path in old if path.name not in shards), folder / _PENDING):
        path.unlink(missing_ok=True)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Cells are computed in threads, which share the cores; torch's own would get in their way."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
