"""Table files as a stream of chunks of raw cells: Parquet, Arrow, CSV, TSV, JSONL and WebDataset tars.

A format is a function of a file (a path, or the bytes of standard input), its name for messages, the
rows of a chunk, and a `report` that receives what is wrong with single rows. No more than one chunk
is in memory at a time, whatever the size of the file.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from metamodal.data.arrow_files import arrow_batches
from metamodal.data.json_values import json_value, parsed
from metamodal.data.limits import limits
from metamodal.data.parquet import affordable, parquet_frames
from metamodal.data.problems import Problem, Report, short
from metamodal.data.table import check_names, frame_of, frame_of_cells
from metamodal.data.text_files import TextFormat, check_text, encoding_of, hint, long_cells, separator_of
from metamodal.data.unreadable import Unreadable
from metamodal.data.webdataset import read_tar
from metamodal.data.workbooks import read_workbook
from metamodal.errors import DataError, MetamodalWarning

__all__ = ["FORMATS", "Chunk", "chunked", "ending_of", "of_arrow", "sniffed"]

CHUNK_BYTES = 64 << 20
"""Chunks have fewer rows where rows are large, so that one stays about this small."""


class Chunk(NamedTuple):
    """Some rows of a table and their places in it, counted from 1."""

    frame: pd.DataFrame
    numbers: np.ndarray


Format = Callable[[Path | bytes, str, int, Report, TextFormat], Iterator[Chunk]]
_DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)  # names in the metadata may be anything
_SAMPLE = 1 << 16  # characters by which the separator is told


def ending_of(path: Path) -> str:
    """The ending by which a file's format is known, in small letters: `.csv`, `.csv.gz`."""
    return "".join(path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:]).lower()


def sniffed(data: bytes) -> str:
    """The ending that a file of these bytes would have."""
    if data[:4] == b"PAR1":
        return ".parquet"
    if data[:6] == b"ARROW1" or data[:4] == b"\xff\xff\xff\xff":
        return ".arrow"
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] == b"[" and start[1:].lstrip()[:1] in (b"{", b"]"):
        return ".json"
    return ".jsonl" if start[:1] == b"{" else ".csv"


def _parquet(file: Path | bytes, name: str, rows: int, report: Report, text: TextFormat) -> Iterator[Chunk]:
    try:
        source = pa.BufferReader(file) if isinstance(file, bytes) else str(file)
        table = pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20)
        yield from _of_frames(parquet_frames(table, source, rows), table.schema_arrow, name)
    except _DAMAGED as error:
        raise DataError(
            f"{name}: not a readable Parquet file ({_first_line(error)}). Write it again."
        ) from None


def _arrow(file: Path | bytes, name: str, rows: int, report: Report, text: TextFormat) -> Iterator[Chunk]:
    """Arrow's file format (Feather) or its stream format (what `datasets` keeps on disk)."""
    try:
        source = pa.BufferReader(file) if isinstance(file, bytes) else pa.memory_map(str(file))
        schema, batches = arrow_batches(source, name)
        pieces = (batch.slice(at, rows) for batch in batches for at in range(0, batch.num_rows, rows))
        yield from _of_batches(pieces, schema, name)
    except _DAMAGED as error:
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
    return (names[code] or None) if isinstance(code, int) and 0 <= code < len(names) else code


def _delimited(separator: str) -> Format:
    def read(file: Path | bytes, name: str, rows: int, report: Report, said: TextFormat) -> Iterator[Chunk]:
        with _opened(file) as stream:
            start = stream.read(8)
        check_text(start, name)
        encoding = said.encoding or encoding_of(start)
        used = said.sep or _separator(file, name, encoding, separator)
        with long_cells(), _opened(file) as stream, io.TextIOWrapper(stream, encoding, newline="") as text:
            lines = csv.reader(text, delimiter=used, strict=True)
            try:
                header = next(lines, None)
                if not header:
                    raise DataError(
                        f"{name}: the file has no header. Write the column names in its first line."
                    )
                if header[0][:4].lower() == "sep=":  # as Excel writes it: the separator, and not the header
                    lines = csv.reader(text, delimiter=said.sep or header[0][4:5] or used, strict=True)
                    header = next(lines, None) or [""]
                elif not said.sep and (found := hint(header, used)):
                    raise DataError(f"{name}: {found}.")
                check_names(header, name)
                columns = header if header[-1] else header[:-1]
                yield from chunked(_records(lines, header, report), columns, rows)
            except csv.Error as error:
                raise DataError(f"{name}: the header is not readable as CSV ({error}). Fix it.") from None
            except UnicodeError as error:
                raise _undecoded(file, name, encoding, error) from None

    return read


def _separator(file: Path | bytes, name: str, encoding: str, usual: str) -> str:
    """What separates the cells, told from the first rows; a warning where it is not what the ending says."""
    with _opened(file) as stream, io.TextIOWrapper(stream, encoding, newline="") as text:
        try:
            sample = text.read(_SAMPLE)
        except UnicodeError:
            return usual  # reading the table says where
    if len(sample) == _SAMPLE:
        sample = sample[: sample.rfind("\n") + 1]
    found = separator_of(sample, usual)
    if found != usual:
        shown, option = ("tabs", "tab") if found == "\t" else (found, f"'{found}'")
        warnings.warn(
            f"{name}: read with {shown} between the cells, which give every row as many as the header. "
            f"Pass --sep {option} to say so.",
            MetamodalWarning,
            stacklevel=2,
        )
    return found


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
        if len(row) == len(header) + 1 and not row[-1]:
            del row[-1]  # a separator that ends each line
        elif len(row) == len(header) - 1 and not header[-1]:
            row.append("")
        if len(row) != len(header):
            counts = f"{len(row)} cells where the header has {len(header)}"
            report(Problem(number, None, short(row), f"{counts}. Quote cells that hold the separator"))
            continue
        filled = zip(header, row) if header[-1] or row[-1] else zip(header[:-1], row)
        yield number, {c: parsed(cell) for c, cell in filled}


def _jsonl(file: Path | bytes, name: str, rows: int, report: Report, text: TextFormat) -> Iterator[Chunk]:
    encoding = text.encoding or "utf-8-sig"

    def records() -> Iterator[tuple[int, dict[str, Any]]]:
        number = 0
        with _opened(file) as stream, io.TextIOWrapper(stream, encoding, newline="\n") as lines:
            for line in map(str.strip, lines):
                if not line:
                    continue
                number += 1
                try:
                    record = json_value(line)
                except (ValueError, RecursionError) as error:
                    report(Problem(number, None, short(line), f"not JSON ({error}). Fix the line"))
                    continue
                if isinstance(record, dict):
                    yield number, record
                else:
                    report(_no_object(number, record))

    try:
        yield from chunked(records(), [], rows)
    except UnicodeError as error:
        raise _undecoded(file, name, encoding, error) from None


def _json(file: Path | bytes, name: str, rows: int, report: Report, text: TextFormat) -> Iterator[Chunk]:
    """An array of objects; a file of one object a line, as many tools end it so, too."""
    with _opened(file) as stream:
        if sniffed(stream.read(1 << 12)) != ".json":
            yield from _jsonl(file, name, rows, report, text)
            return
    encoding = text.encoding or "utf-8-sig"
    with _opened(file) as stream:
        data = stream.read(limits().bytes + 1)
    if len(data) > limits().bytes:
        raise DataError(
            f"{name}: larger than the cap of {limits().bytes} bytes. Write one object a line (.jsonl), which is read "
            "in parts, or raise the cap (data.limits.bytes)."
        )
    try:
        found = json_value(data.decode(encoding))
    except UnicodeError as error:
        raise _undecoded(file, name, encoding, error) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: not JSON ({_first_line(error)}). Write it again.") from None

    def records() -> Iterator[tuple[int, dict[str, Any]]]:
        for number, record in enumerate(found, 1):
            if isinstance(record, dict):
                yield number, record
            else:
                report(_no_object(number, record))

    yield from chunked(records(), [], rows)


def _no_object(number: int, record: Any) -> Problem:
    if isinstance(record, Unreadable):
        return Problem(number, None, record.value, f"the object {record.reason}")
    found = f"{type(record).__name__} where an object is needed"
    return Problem(number, None, short(json.dumps(record)), f'{found}. Write {{"column": value}}')


def _workbook(file: Path | bytes, name: str, rows: int, report: Report, text: TextFormat) -> Iterator[Chunk]:
    header, records = read_workbook(file, name)
    check_names(header, name)
    yield from chunked(records, header, rows)


def _tar(file: Path | bytes, name: str, rows: int, report: Report, text: TextFormat) -> Iterator[Chunk]:
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
    if isinstance(file, bytes):
        return io.BytesIO(file)
    if file.suffix.lower() == ".gz":
        return io.BufferedReader(_Unpacked(file))
    return file.open("rb")


class _Unpacked(io.RawIOBase):
    """A gzip file as it unpacks, up to the cap of bytes."""

    def __init__(self, path: Path) -> None:
        self._path, self._left = path, limits().bytes
        self._stream = gzip.open(path)  # noqa: SIM115, closed with this

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(min(len(buffer), 1 << 16))
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"{self._path.name}: not readable as gzip ({_first_line(error)}). Write it again."
            ) from None
        self._left -= len(data)
        if self._left < 0:
            raise DataError(
                f"{self._path.name}: unpacks to more than the cap of {limits().bytes} bytes. Unpack it first, or raise "
                "the cap (data.limits.bytes)."
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _undecoded(file: Path | bytes, name: str, encoding: str, found: UnicodeError) -> DataError:
    if not isinstance(
        found, UnicodeDecodeError
    ):  # what the bytes as a whole lack, such as UTF-16's first mark
        return DataError(f"{name}: not {encoding} ({_first_line(found)}). Pass another --encoding.")
    with _opened(file) as stream:
        data = stream.read()
    at = found.start
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        at = error.start + (3 if encoding == "utf-8-sig" and data[:3] == b"\xef\xbb\xbf" else 0)
    except UnicodeError:
        pass
    if encoding not in ("utf-8-sig", "utf-16"):
        return DataError(f"{name}: byte {at} is not {encoding}. Pass another --encoding.")
    known = "UTF-8" if encoding == "utf-8-sig" else "UTF-16"
    return DataError(f"{name}: byte {at} is not {known}. Save the file as UTF-8, or pass --encoding cp1252.")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


FORMATS: dict[str, Format] = {
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".json": _json,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".csv.gz": _delimited(","),
    ".tsv.gz": _delimited("\t"),
    ".jsonl.gz": _jsonl,
    ".xlsx": _workbook,
    ".ods": _workbook,
    ".tar": _tar,
}
"""How a table file is read, by its ending."""
