"""JSON and JSONL files as chunks of raw cells."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metamodal.data.limits import limits
from metamodal.data.tables.byte_streams import first_line, opened, undecoded
from metamodal.data.tables.chunks import Chunk, chunked
from metamodal.data.tables.endings import sniffed
from metamodal.data.tables.json_values import json_value
from metamodal.data.tables.problems import Problem, Report, short
from metamodal.data.tables.text_files import TextFormat
from metamodal.data.tables.unreadable import Unreadable
from metamodal.errors import DataError

__all__ = ["read_json", "read_jsonl"]


def read_jsonl(file: Path | bytes, name: str, rows: int, report: Report, text: TextFormat) -> Iterator[Chunk]:
    encoding = text.encoding or "utf-8-sig"

    def records() -> Iterator[tuple[int, dict[str, Any]]]:
        number = 0
        with opened(file) as stream, io.TextIOWrapper(stream, encoding, newline="\n") as lines:
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
        raise undecoded(file, name, encoding, error) from None


def read_json(file: Path | bytes, name: str, rows: int, report: Report, text: TextFormat) -> Iterator[Chunk]:
    """An array of objects; a file of one object a line, as many tools end it so, too."""
    with opened(file) as stream:
        if sniffed(stream.read(1 << 12)) != ".json":
            yield from read_jsonl(file, name, rows, report, text)
            return
    encoding = text.encoding or "utf-8-sig"
    with opened(file) as stream:
        data = stream.read(limits().bytes + 1)
    if len(data) > limits().bytes:
        raise DataError(
            f"{name}: larger than the cap of {limits().bytes} bytes. Write one object a line (.jsonl), which is read "
            "in parts, or raise the cap (data.limits.bytes)."
        )
    try:
        found = json_value(data.decode(encoding))
    except UnicodeError as error:
        raise undecoded(file, name, encoding, error) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: not JSON ({first_line(error)}). Write it again.") from None

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
