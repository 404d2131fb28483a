"""Table files as a stream of chunks of raw cells: Parquet, Arrow, CSV, TSV, JSONL and WebDataset tars.

A format is a function of a file (a path, or the bytes of standard input), its name for messages, the
rows of a chunk, and a `report` that receives what is wrong with single rows. No more than one chunk
is in memory at a time, whatever the size of the file.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from metamodal.data.cells import parsed
from metamodal.data.parquet import affordable, parquet_frames
from metamodal.data.problems import Problem, Report, short
from metamodal.data.table import check_names, frame_of, frame_of_cells
from metamodal.data.text_files import check_text, encoding_of, hint
from metamodal.data.webdataset import read_tar
from metamodal.errors import DataError

__all__ = ["FORMATS", "Chunk", "chunked", "of_arrow", "sniffed"]

CHUNK_BYTES = 64 << 20
"""Chunks have fewer rows where rows are large, so that one stays about this small."""
_LONGEST_CELL = 1 << 27  # the csv module's own limit is 128 KiB, less than a series written as JSON


class Chunk(NamedTuple):
    """Some rows of a table and their places in it, counted from 1."""

    frame: pd.DataFrame
    numbers: np.ndarray


Format = Callable[[Path | bytes, str, int, Report], Iterator[Chunk]]


def sniffed(data: bytes) -> str:
    """The ending that a file of these bytes would have."""
    if data[:4] == b"PAR1":
        return ".parquet"
    if data[:6] == b"ARROW1" or data[:4] == b"\xff\xff\xff\xff":
        return ".arrow"
    return ".jsonl" if data.lstrip()[:1] == b"{" else ".csv"


def _parquet(file: Path | bytes, name: str, rows: int, report: Report) -> Iterator[Chunk]:
    try:
        source = pa.BufferReader(file) if isinstance(file, bytes) else str(file)
        table = pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20)
        yield from _of_frames(parquet_frames(table, source, rows), table.schema_arrow, name)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{name}: not a readable Parquet file ({_first_line(error)}). Write it again."
        ) from None


def _arrow(file: Path | bytes, name: str, rows: int, report: Report) -> Iterator[Chunk]:
    """Arrow's file format (Feather) or its stream format (what `datasets` keeps on disk)."""
    try:
        source = pa.BufferReader(file) if isinstance(file, bytes) else pa.memory_map(str(file))
        reader: Any
        try:
            reader = pa.ipc.open_file(source)
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        except pa.ArrowInvalid:
            source.seek(0)
            reader = pa.ipc.open_stream(source)
            batches = iter(reader)
        pieces = (batch.slice(at, rows) for batch in batches for at in range(0, batch.num_rows, rows))
        yield from _of_batches(pieces, reader.schema, name)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{name}: not a readable Arrow file ({_first_line(error)}). Write it again."
        ) from None


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
    return names[code] if isinstance(code, int) and 0 <= code < len(names) else code


def _delimited(separator: str) -> Format:
    def read(file: Path | bytes, name: str, rows: int, report: Report) -> Iterator[Chunk]:
        csv.field_size_limit(_LONGEST_CELL)
        with _opened(file) as stream:
            start = stream.read(8)
        check_text(start, name)
        with _opened(file) as stream, io.TextIOWrapper(stream, encoding_of(start), newline="") as text:
            lines = csv.reader(text, delimiter=separator, strict=True)
            try:
                header = next(lines, None)
                if not header:
                    raise DataError(
                        f"{name}: the file has no header. Write the column names in its first line."
                    )
                if header[0][:4].lower() == "sep=":  # as Excel writes it: the separator, and not the header
                    said = header[0][4:5] or separator
                    lines = csv.reader(text, delimiter=said, strict=True)
                    header = next(lines, None) or [""]
                elif found := hint(header, separator):
                    raise DataError(f"{name}: {found}.")
                check_names(header, name)
                yield from chunked(_records(lines, header, report), header, rows)
            except csv.Error as error:
                raise DataError(f"{name}: the header is not readable as CSV ({error}). Fix it.") from None
            except UnicodeDecodeError:
                raise _not_utf8(file, name) from None

    return read


def _records(lines: Any, header: list[str], report: Report) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    while True:
        try:
            row = next(lines, None)
        except csv.Error as error:
            number += 1
            report(
                Problem(
                    number, None, "", f"line {lines.line_num} is not readable as CSV ({error}). Fix the line"
                )
            )
            continue
        if row is None:
            return
        if not row:
            continue
        number += 1
        if len(row) != len(header):
            counts = f"{len(row)} cells where the header has {len(header)}"
            report(Problem(number, None, short(row), f"{counts}. Quote cells that hold the separator"))
            continue
        yield number, {c: parsed(cell) if cell != "" else None for c, cell in zip(header, row)}


def _jsonl(file: Path | bytes, name: str, rows: int, report: Report) -> Iterator[Chunk]:
    def records() -> Iterator[tuple[int, dict[str, Any]]]:
        number = 0
        with _opened(file) as stream:
            for raw in stream:
                line = raw.decode("utf-8-sig" if not number else "utf-8").strip()
                if not line:
                    continue
                number += 1
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError) as error:
                    report(Problem(number, None, short(line), f"not JSON ({error}). Fix the line"))
                    continue
                if not isinstance(record, dict):
                    found = f"{type(record).__name__} where an object is needed"
                    report(Problem(number, None, short(line), f'{found}. Write {{"column": value}}'))
                    continue
                yield number, record

    try:
        yield from chunked(records(), [], rows)
    except UnicodeDecodeError:
        raise _not_utf8(file, name) from None


def _tar(file: Path | bytes, name: str, rows: int, report: Report) -> Iterator[Chunk]:
    with _opened(file) as stream:
        yield from chunked(read_tar(stream, name, report), [], rows)


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


def _opened(file: Path | bytes) -> io.BytesIO | io.BufferedReader:
    return io.BytesIO(file) if isinstance(file, bytes) else file.open("rb")


def _not_utf8(file: Path | bytes, name: str) -> DataError:
    with _opened(file) as stream:
        data = stream.read()
    try:
        data.decode("utf-8")
        at = 0
    except UnicodeDecodeError as error:
        at = error.start
    return DataError(f"{name}: byte {at} is not UTF-8. Save the file as UTF-8.")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


FORMATS: dict[str, Format] = {
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".tar": _tar,
}
"""How a table file is read, by its ending."""
