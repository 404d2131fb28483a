"""Frames to table files, a part of the rows at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from metamodal.errors import OptionError, OutputError
from metamodal.storage import check_file, explained, written

__all__ = ["check_target", "standard_output", "write_frame", "write_frames"]


def check_target(target: str | Path) -> None:
    """The error that `write_frame` would end with, as far as it is known before there is anything to write.

    Raises:
        OptionError: an ending that is not written.
        OutputError: no space, no permission, or a path that is something else.
    """
    if str(target) == "-":
        standard_output()
        return
    _writer(Path(target))
    check_file(target)


def write_frame(frame: pd.DataFrame, target: str | Path) -> None:
    """A frame of plain values as CSV, TSV, JSONL or Parquet, by the ending; `-` writes CSV to stdout.

    Text is UTF-8. A file appears whole or not at all.
    """
    write_frames([frame], target)


def write_frames(
    frames: Iterable[pd.DataFrame], target: str | Path, like: pd.DataFrame | None = None
) -> None:
    """Frames of the same columns one after another as one table; see `write_frame`.

    Args:
        like: a frame whose columns have the types of a typed file, without gaps; by default the first of `frames`.
    """
    if str(target) == "-":
        with explained("standard output"):
            _lines(frames, standard_output(), ",")
        return
    write = _writer(Path(target))
    with written(target) as part:
        write(frames, part, like)


def standard_output() -> TextIO:
    """The stream that data goes to.

    Raises:
        OutputError: it is closed.
    """
    if sys.stdout is None:
        raise OutputError("standard output: it is closed. Open it, or name a file with --out.")
    return sys.stdout


Writer = Callable[[Iterable[pd.DataFrame], Path, pd.DataFrame | None], None]


def _writer(path: Path) -> Writer:
    """What writes a file of this ending."""
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise OptionError(
            f"{path}: cannot write {suffix or 'a file without ending'}. End it in {', '.join(_WRITERS)}."
        )
    return _WRITERS[suffix]


def _lines(frames: Iterable[pd.DataFrame], stream: TextIO, separator: str) -> None:
    for number, frame in enumerate(frames):
        frame.to_csv(stream, index=False, header=not number, sep=separator, lineterminator="\n")
    stream.flush()


def _delimited(separator: str) -> Writer:
    def write(frames: Iterable[pd.DataFrame], path: Path, like: pd.DataFrame | None) -> None:
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            _lines(frames, stream, separator)

    return write


def _jsonl(frames: Iterable[pd.DataFrame], path: Path, like: pd.DataFrame | None) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        for frame in frames:
            text = frame.to_json(
                orient="records", lines=True, force_ascii=False, date_format="iso", double_precision=15
            )
            stream.write(text if not text or text.endswith("\n") else f"{text}\n")


def _parquet(frames: Iterable[pd.DataFrame], path: Path, like: pd.DataFrame | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: Any = None
    schema: Any = None if like is None else pa.Schema.from_pandas(like, preserve_index=False)
    try:
        for frame in frames:
            table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
            schema = schema or table.schema
            writer = writer or pq.ParquetWriter(path, schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


_WRITERS: dict[str, Writer] = {
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".parquet": _parquet,
}
