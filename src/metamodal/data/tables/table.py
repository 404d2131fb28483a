"""Frames of raw cells; nothing is guessed.

A frame holds Python objects: `None` where a cell is empty or an empty string, else what the file says. `"NA"` stays
text, a decimal number is a float, an integer column with gaps stays integer, and a NaN in a file stays a NaN to be reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from metamodal.data.tables.cells import canonical, has_lone_surrogate
from metamodal.data.tables.unreadable import FAR_DATE, HALF_CHARACTER, Unreadable, checked
from metamodal.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "check_names",
    "frame_of",
    "frame_of_cells",
    "from_dataframe",
]


def from_dataframe(frame: pd.DataFrame) -> pd.DataFrame:
    """A user's DataFrame as a frame of raw cells: NaN is `None`, numpy scalars are Python's.

    Raises:
        DataError: two columns have one name, as strings.
    """
    names = [str(c) for c in frame.columns]
    check_names(names, "DataFrame", frame.columns)
    return frame_of_cells(
        {name: [canonical(cell) for cell in column] for name, (_, column) in zip(names, frame.items())}
    )


def check_names(names: Sequence[str], table: str, said: Iterable[Any] | None = None) -> None:
    """DataError if two columns have one name.

    Args:
        said: what the names are made of, where they were no strings.
    """
    first: dict[str, Any] = {}
    for name, origin in zip(names, names if said is None else said):
        if name in first:
            other = first[name]
            alike = (
                repr(name)
                if type(other) is type(origin)
                else f"{other!r} and {origin!r}, both {name!r} as text"
            )
            raise DataError(f"{table}: two columns are named {alike}. Rename one.")
        first[name] = origin


def frame_of_cells(columns: dict[str, list[Any]]) -> pd.DataFrame:
    """Columns of Python objects as they are: pandas infers nothing.

    A cell that nothing can be made of is an `Unreadable`, from here on.

    Raises:
        DataError: a column's name cannot be written as UTF-8.
    """
    arrays = {}
    for name, cells in columns.items():
        if has_lone_surrogate(name):
            raise DataError(
                f"column {name!r}: its name {HALF_CHARACTER.replace('Write the text anew', 'Rename it')}."
            )
        array = np.empty(len(cells), dtype=object)
        for i, cell in enumerate(cells):
            array[i] = checked(cell)
        arrays[name] = array
    return pd.DataFrame(arrays, dtype=object)


def frame_of(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a frame of raw cells; nested lists of numbers become numpy arrays."""
    return frame_of_cells({n: _arrow_cells(table.column(n).combine_chunks()) for n in table.column_names})


def _arrow_cells(column: Any) -> list[Any]:
    """Python cells of an Arrow array; nested lists of numbers become numpy arrays, fast.

    Where a null is among the numbers they stay lists, in which `None` is not a NaN.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        if not pa.types.is_nested(column.type.value_type):
            words = _python(column.dictionary)  # rows share a word, however long it is
            return [None if i is None else words[i] for i in column.indices.to_pylist()]
        column = column.dictionary_decode()
    if _is_list(column.type):
        inner = column.type.value_type
        if _is_numeric(inner):
            flat = column.flatten()
            return _python(column) if flat.null_count else _split(column, _numbers(flat))
        if _is_list(inner) and _is_numeric(inner.value_type):
            steps = column.flatten()
            widths = set(np.diff(steps.offsets.to_numpy()).tolist())
            if len(widths) == 1 and steps.null_count == 0 and (width := widths.pop()) > 0:
                flat = steps.flatten()
                if not flat.null_count:
                    return _split(column, _numbers(flat).reshape(-1, width))
    return _python(column)


def _python(column: Any) -> list[Any]:
    """An Arrow array as Python objects, those that Python has no value for refused one by one."""
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):
        return [_python_cell(cell) for cell in column]


def _python_cell(cell: Any) -> Any:
    try:
        return cell.as_py()
    except (ValueError, OverflowError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        dated = "date" in str(cell.type) or "timestamp" in str(cell.type)
        return Unreadable(
            f"a {cell.type}", FAR_DATE if dated else f"is no value that Python has ({reason}). Replace it"
        )


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

    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)
