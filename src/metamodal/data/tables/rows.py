"""Rows as users give them: a table, a list of records, or one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from metamodal.data.dataset import Dataset, open_table
from metamodal.data.roles import Roles
from metamodal.data.schema.inference import Column, Schema
from metamodal.data.tables.table import check_names, frame_of_cells
from metamodal.errors import DataError, OptionError, suggestion

__all__ = ["Rows", "dataset_of", "rows_of_kinds"]

Rows: TypeAlias = pd.DataFrame | Dataset | Mapping[Any, Any] | Sequence[Any] | pd.Series
"""What may be given as rows: a table, a list of records, or one row as a record or a Series."""


def dataset_of(rows: Rows, roles: Roles, unreadable: str = "error") -> Dataset:
    """Rows as a data set with the roles a model was trained with, as far as they have the columns.

    Args:
        unreadable: as of `read_table`.

    Raises:
        OptionError: what is given is no table and no row.
    """
    if isinstance(rows, Dataset):
        return rows
    if isinstance(rows, Mapping) and _is_columns(rows, roles.columns("target")):
        raise OptionError(
            "dict given where rows are needed, and each of its values is a list: columns, or one row of lists. "
            "Give pd.DataFrame(columns), or [row]."
        )
    return open_table(_frame_of_rows(rows), Roles(), roles, unreadable=unreadable)


def rows_of_kinds(
    records: Sequence[Mapping[str, Any]], wanted: Mapping[str, tuple[str, tuple[str, ...]]]
) -> Dataset:
    """Records as rows whose columns have the kinds of a model: nothing is inferred.

    Args:
        wanted: kind and columns of each modality.

    Raises:
        DataError: a record has a name that is no column.
    """
    kinds = {column: kind for kind, columns in wanted.values() for column in columns}
    for number, record in enumerate(records, start=1):
        if unknown := record.keys() - kinds.keys():
            name = min(map(str, unknown))
            raise DataError(f"row {number}: {name!r} is no column of the model. {suggestion(name, kinds)}")
    frame = frame_of_cells({column: [record.get(column) for record in records] for column in kinds})
    columns = tuple(Column(name, "modality", kind, "kind of the model") for name, kind in kinds.items())
    return Dataset(frame, Schema(columns), "rows", Path("."), np.arange(1, len(records) + 1))


def _is_columns(record: Mapping[Any, Any], target: Sequence[str]) -> bool:
    """Whether what could be one labelled row looks like a table's columns: lists of one length, the label's too."""
    lists = [c for c in record.values() if isinstance(c, (list, tuple, np.ndarray, pd.Series, pd.Index))]
    lengths = {len(cell) for cell in lists if not isinstance(cell, np.ndarray) or cell.ndim}
    named = any(str(name) in target for name in record)
    return named and len(lists) == len(record) and len(lengths) == 1 and lengths != {1}


def _frame_of_rows(rows: Any) -> pd.DataFrame:
    """A frame of a frame, of a list of records, or of one row as a record or a Series."""
    if isinstance(rows, pd.DataFrame):
        return rows
    records = [rows] if isinstance(rows, (Mapping, pd.Series)) else rows
    if not isinstance(records, (list, tuple)) or not all(
        isinstance(r, (Mapping, pd.Series)) for r in records
    ):
        raise OptionError(
            f"{type(rows).__name__} given where rows are needed. Give a DataFrame, a Dataset, a list of records, or "
            "one record {column: cell}; a file is read by read_table."
        )
    if not records:
        raise DataError("the list of records is empty. Give at least one row.")
    names = list(dict.fromkeys(name for record in records for name in (*record.keys(),)))
    check_names([str(name) for name in names], "rows", names)
    return frame_of_cells({str(name): [record.get(name) for record in records] for name in names})
