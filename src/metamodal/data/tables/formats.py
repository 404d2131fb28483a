"""Table files as a stream of chunks of raw cells: how a file of each ending is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from metamodal.data.tables.arrow_chunks import read_arrow, read_parquet
from metamodal.data.tables.byte_streams import opened
from metamodal.data.tables.chunks import Chunk, Format, chunked
from metamodal.data.tables.delimited import delimited
from metamodal.data.tables.json_files import read_json, read_jsonl
from metamodal.data.tables.problems import Report
from metamodal.data.tables.table import check_names
from metamodal.data.tables.text_files import TextFormat
from metamodal.data.tables.webdataset import read_tar
from metamodal.data.tables.workbooks import read_workbook

__all__ = ["FORMATS"]


def _workbook(file: Path | bytes, name: str, rows: int, report: Report, text: TextFormat) -> Iterator[Chunk]:
    header, records = read_workbook(file, name)
    check_names(header, name)
    yield from chunked(records, header, rows)


def _tar(file: Path | bytes, name: str, rows: int, report: Report, text: TextFormat) -> Iterator[Chunk]:
    with opened(file) as stream:
        yield from chunked(read_tar(stream, name, report), [], rows)


FORMATS: dict[str, Format] = {
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
    ".csv": delimited(","),
    ".tsv": delimited("\t"),
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".csv.gz": delimited(","),
    ".tsv.gz": delimited("\t"),
    ".jsonl.gz": read_jsonl,
    ".xlsx": _workbook,
    ".ods": _workbook,
    ".tar": _tar,
}
"""How a table file is read, by its ending."""
