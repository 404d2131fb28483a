"""What is known of a table's columns besides their cells: pandas' dtypes, and the index that it saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from metamodal.data.tables.arrow_files import arrow_batches
from metamodal.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["About", "of_arrow_table", "of_dataframe", "of_file"]

_TEXT = (".csv", ".tsv", ".csv.gz", ".tsv.gz")


def _unknown(column: str) -> Any:
    return None


@dataclass(frozen=True)
class About:
    """`dtype` gives pandas' dtype of a column, `None` where its cells alone decide. `typed` says that
    strings are meant as strings, as nowhere in CSV. `index` are the columns that are pandas' index.
    """

    dtype: Callable[[str], Any] = _unknown
    typed: bool = True
    index: frozenset[str] = frozenset()


def of_dataframe(frame: pd.DataFrame) -> About:
    """What a DataFrame says of its columns."""
    dtypes = {str(column): dtype for column, dtype in zip(frame.columns, frame.dtypes)}
    return About(dtypes.get)


def of_arrow_table(table: pa.Table) -> About:
    """What an Arrow table says of its columns."""
    return About(lambda column: _dtype(table.select([column])), index=_index(table.schema))


def of_file(path: Path) -> About:
    """What a file says of its columns; a file that cannot be read is left to the reader to refuse."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    suffix = path.suffix.lower()
    if path.name.lower().endswith(_TEXT):
        return About(typed=False)
    try:
        if suffix == ".parquet":
            return About(
                lambda column: _dtype(pq.read_table(path, columns=[column], partitioning=None)),
                index=_index(pq.read_schema(path)),
            )
        if suffix in (".arrow", ".feather"):
            schema, _ = arrow_batches(pa.memory_map(str(path)), path.name)
            return About(lambda column: _dtype(_arrow_column(path, column)), index=_index(schema))
    except (pa.ArrowException, OSError, UnicodeDecodeError, DataError):
        pass
    return About()


def _arrow_column(path: Path, column: str) -> pa.Table:
    import pyarrow as pa

    schema, batches = arrow_batches(pa.memory_map(str(path)), path.name, column)
    return pa.Table.from_batches(batches, schema)


def _dtype(column: pa.Table) -> Any:
    """The dtype of a single column, where Arrow's cells alone do not give it: categories and pandas' own."""
    import pyarrow as pa

    kind = column.schema.field(0).type
    try:
        dtype = column.to_pandas().dtypes.iloc[0]
    except (
        Exception
    ):  # an index column, a date beyond pandas' range; what pandas noted may be damaged in any way
        return None
    kept = isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_extension_array_dtype(dtype)
    same = pa.types.is_integer(kind) == pd.api.types.is_integer_dtype(dtype)  # integers with gaps
    return dtype if kept or (same and not pd.api.types.is_object_dtype(dtype)) else None


def _index(schema: pa.Schema) -> frozenset[str]:
    try:
        noted = (schema.pandas_metadata or {}).get("index_columns", [])
        return frozenset(name for name in noted if isinstance(name, str) and name in schema.names)
    except (ValueError, AttributeError, TypeError):  # the note is damaged, which costs no cell
        return frozenset()
