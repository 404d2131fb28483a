"""Tables from files: Parquet, CSV, TSV and JSONL become frames of raw cells, nothing guessed.

A frame holds Python objects: `None` where a cell is empty, else what the file says. `"NA"` stays
text, an integer column with gaps stays integer, and a NaN in a file stays a NaN to be reported.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from metamodal.data.cells import canonical, parsed
from metamodal.errors import DataError, OptionError, suggestion

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["READERS", "frame_of", "from_dataframe", "read_frame", "write_frame"]


def read_frame(source: str | Path) -> tuple[pd.DataFrame, str, Path]:
    """A table file as a frame of raw cells, its short name, and the folder its paths start from.

    `-` reads standard input, whose format is told from its first bytes.

    Raises:
        DataError: no such file, an unknown format, a ragged row, text that is not UTF-8.
    """
    if str(source) == "-":
        data = sys.stdin.buffer.read()
        return _parse(io.BytesIO(data), _sniff(data), "standard input"), "standard input", Path.cwd()
    path = Path(source)
    if not path.exists():
        raise DataError(f"{path}: no such file. Give a table ({', '.join(READERS)}) or the word glyphs.")
    if path.is_dir():
        raise DataError(f"{path}: is a folder. Give a table file ({', '.join(READERS)}).")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty. Give a table with a header and rows.")
    with path.open("rb") as stream:
        return _parse(stream, path.suffix.lower(), path.name), path.name, path.parent


def from_dataframe(frame: pd.DataFrame) -> pd.DataFrame:
    """A user's DataFrame as a frame of raw cells: NaN is `None`, numpy scalars are Python's."""
    columns = {str(c): [canonical(cell) for cell in frame[c]] for c in frame.columns}
    return _frame(columns)


def write_frame(frame: pd.DataFrame, target: str | Path) -> None:
    """A frame of plain values as CSV, JSONL or Parquet, by the ending; `-` writes CSV to stdout.

    A file appears whole or not at all.
    """
    if str(target) == "-":
        frame.to_csv(sys.stdout, index=False)
        return
    path = Path(target)
    suffix = path.suffix.lower()
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix in (".jsonl", ".ndjson"):
        frame.to_json(part, orient="records", lines=True, force_ascii=False)
    elif suffix == ".parquet":
        frame.to_parquet(part, index=False)
    elif suffix in (".csv", ".tsv"):
        frame.to_csv(part, index=False, sep="\t" if suffix == ".tsv" else ",")
    else:
        raise OptionError(
            f"{path}: cannot write {suffix or 'a file without ending'}. End it in .csv, .jsonl or .parquet."
        )
    part.replace(path)


def _parse(stream: io.BufferedIOBase, suffix: str, name: str) -> pd.DataFrame:
    if suffix not in READERS:
        raise DataError(
            f"{name}: cannot read {suffix or 'a file without ending'}. {suggestion(suffix, READERS)}"
        )
    frame = READERS[suffix](stream, name)
    doubled = frame.columns[frame.columns.duplicated()]
    if len(doubled):
        raise DataError(f"{name}: two columns are named {doubled[0]!r}. Rename one.")
    if not len(frame.columns) or not len(frame):
        raise DataError(f"{name}: the table has no rows. Give a table with at least one labelled row.")
    return frame


def _sniff(data: bytes) -> str:
    if data[:4] == b"PAR1":
        return ".parquet"
    return ".jsonl" if data.lstrip()[:1] == b"{" else ".csv"


def _frame(columns: dict[str, list[Any]]) -> pd.DataFrame:
    """Columns of Python objects as they are: pandas infers nothing."""
    arrays = {}
    for name, cells in columns.items():
        array = np.empty(len(cells), dtype=object)
        for i, cell in enumerate(cells):
            array[i] = cell
        arrays[name] = array
    return pd.DataFrame({n: pd.Series(a, dtype=object) for n, a in arrays.items()})


def _read_parquet(stream: io.BufferedIOBase, name: str) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(stream.read()))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{name}: not a readable Parquet file ({_first_line(error)}). Write it again."
        ) from None
    names = table.column_names
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise DataError(f"{name}: two columns are named {twice!r}. Rename one.")
    return frame_of(table)


def frame_of(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a frame of raw cells; nested lists of numbers become numpy arrays."""
    return _frame({n: _arrow_cells(table.column(n).combine_chunks()) for n in table.column_names})


def _arrow_cells(column: Any) -> list[Any]:
    """Python cells of an Arrow array; nested lists of numbers become numpy arrays, fast.

    Where a null is among the numbers they stay lists, in which `None` is not a NaN.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_list(column.type):
        inner = column.type.value_type
        if _is_numeric(inner):
            flat = column.flatten()
            return column.to_pylist() if flat.null_count else _split(column, _numbers(flat))
        if _is_list(inner) and _is_numeric(inner.value_type):
            steps = column.flatten()
            widths = set(np.diff(steps.offsets.to_numpy()).tolist())
            if len(widths) == 1 and steps.null_count == 0 and (width := widths.pop()) > 0:
                flat = steps.flatten()
                if not flat.null_count:
                    return _split(column, _numbers(flat).reshape(-1, width))
    return column.to_pylist()


def _split(column: Any, values: np.ndarray) -> list[Any]:
    lengths = [0 if n is None else n for n in column.value_lengths().to_pylist()]
    valid = column.is_valid().to_pylist()
    ends = np.cumsum(lengths)
    return [
        values[end - length : end] if ok else None for end, length, ok in zip(ends.tolist(), lengths, valid)
    ]


def _numbers(flat: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        return flat.to_numpy(zero_copy_only=False).astype(np.float32)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _is_numeric(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _read_delimited(separator: str) -> Callable[[io.BufferedIOBase, str], pd.DataFrame]:
    def read(stream: io.BufferedIOBase, name: str) -> pd.DataFrame:
        lines = csv.reader(io.StringIO(_text(stream, name), newline=""), delimiter=separator, strict=True)
        try:
            header = next(lines)
            rows = [row for row in lines if row]
        except (csv.Error, StopIteration) as error:
            raise DataError(
                f"{name} line {lines.line_num}: not readable as CSV ({error}). Mend the line."
            ) from None
        for i, row in enumerate(rows, start=1):
            if len(row) != len(header):
                raise DataError(
                    f"{name} row {i}: {len(row)} cells where the header has {len(header)}. "
                    "Quote cells that hold the separator."
                )
        if len(set(header)) < len(header):
            twice = next(n for n in header if header.count(n) > 1)
            raise DataError(f"{name}: two columns are named {twice!r}. Rename one.")
        return _frame(
            {
                column: [parsed(row[j]) if row[j] != "" else None for row in rows]
                for j, column in enumerate(header)
            }
        )

    return read


def _read_jsonl(stream: io.BufferedIOBase, name: str) -> pd.DataFrame:
    records = []
    for number, line in enumerate(_text(stream, name).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{name} line {number}: not JSON ({error}). Mend the line.") from None
        if not isinstance(record, dict):
            raise DataError(
                f'{name} line {number}: {type(record).__name__} where an object is needed. Write {{"column": value}}.'
            )
        records.append(record)
    columns = list(dict.fromkeys(key for record in records for key in record))
    return _frame({c: [record.get(c) for record in records] for c in columns})


def _text(stream: io.BufferedIOBase, name: str) -> str:
    try:
        return stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: byte {error.start} is not UTF-8. Save the file as UTF-8.") from None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


READERS: dict[str, Callable[[io.BufferedIOBase, str], pd.DataFrame]] = {
    ".parquet": _read_parquet,
    ".csv": _read_delimited(","),
    ".tsv": _read_delimited("\t"),
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
}
"""How a table file is read, by its ending."""
