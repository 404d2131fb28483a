"""What is known of a table's columns besides their cells: pandas' dtypes, and the index that it saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

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
    from pyarrow import feather

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
            with pa.memory_map(str(path)) as source:
                schema = pa.ipc.open_file(source).schema
            return About(
                lambda column: _dtype(feather.read_table(path, columns=[column])), index=_index(schema)
            )
    except (pa.ArrowException, OSError):
        pass
    return About()


def _dtype(column: pa.Table) -> Any:
    """The dtype of a single column, where Arrow's cells alone do not give it: categories and pandas' own."""
    import pyarrow as pa

    kind = column.schema.field(0).type
    try:
        dtype = column.to_pandas().dtypes.iloc[0]
    except (pa.ArrowException, ValueError, IndexError):  # an index column, a date beyond pandas' range
        return None
    kept = isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_extension_array_dtype(dtype)
    same = pa.types.is_integer(kind) == pd.api.types.is_integer_dtype(dtype)  # integers with gaps
    return dtype if kept or (same and not pd.api.types.is_object_dtype(dtype)) else None


def _index(schema: pa.Schema) -> frozenset[str]:
    said = (schema.pandas_metadata or {}).get("index_columns", [])
    return frozenset(name for name in said if isinstance(name, str) and name in schema.names)
