"""CSV and TSV files as chunks of raw cells."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metamodal.data.tables.byte_streams import opened, undecoded
from metamodal.data.tables.chunks import Chunk, Format, chunked
from metamodal.data.tables.json_values import parsed
from metamodal.data.tables.problems import Problem, Report, short
from metamodal.data.tables.table import check_names
from metamodal.data.tables.text_files import (
    TextFormat,
    check_text,
    encoding_of,
    hint,
    long_cells,
    separator_of,
)
from metamodal.errors import DataError, MetamodalWarning

__all__ = ["delimited"]

_SAMPLE = 1 << 16  # characters by which the separator is inferred


def delimited(separator: str) -> Format:
    def read(file: Path | bytes, name: str, rows: int, report: Report, said: TextFormat) -> Iterator[Chunk]:
        with opened(file) as stream:
            start = stream.read(8)
        check_text(start, name)
        encoding = said.encoding or encoding_of(start)
        used = said.sep or _separator(file, name, encoding, separator)
        with long_cells(), opened(file) as stream, io.TextIOWrapper(stream, encoding, newline="") as text:
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
                raise undecoded(file, name, encoding, error) from None

    return read


def _separator(file: Path | bytes, name: str, encoding: str, usual: str) -> str:
    """What separates the cells, inferred from the first rows; a warning where it is not what the ending says."""
    with opened(file) as stream, io.TextIOWrapper(stream, encoding, newline="") as text:
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
