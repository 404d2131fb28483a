"""Rows and labels as scikit-learn's tools pass them: checked, and what is wrong as the ValueError that they expect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, check_consistent_length, column_or_1d

from metamodal.data.dataset import read_table
from metamodal.data.identity import free_name, name_of
from metamodal.data.roles import Roles
from metamodal.data.tables.cells import has_lone_surrogate
from metamodal.data.tables.rows import dataset_of
from metamodal.data.tables.unreadable import HALF_CHARACTER
from metamodal.errors import DataError, InputError

__all__ = [
    "as_input_error",
    "checked_target",
    "distinct_names",
    "frame_of_rows",
    "has_cells",
    "numbers_of",
    "of_one_type",
]

_LABELS: dict[str, Any] = {
    "bool": (bool, np.bool_),
    "int": (int, np.integer),
    "float": (float, np.floating),
    "str": str,
}
"""Types of labels that differ from one another; more than one class of Python's and numpy's is each."""


def checked_target(X: Any, y: Any) -> Any:
    """The labels or numbers as one column without gaps, in their own dtype."""
    check_consistent_length(X, y)
    if np.ma.is_masked(y):
        raise InputError("Input y has masked entries. Leave rows without a label out.")
    if not isinstance(y, pd.Series):
        y = column_or_1d(y, warn=True)
    elif y.isna().any():
        raise InputError("Input y contains NaN. Leave rows without a label out.")
    values = np.asarray(y)
    if values.dtype.kind in "fc":
        assert_all_finite(values, input_name="y")
    elif pd.isna(values).any():
        raise InputError("Input y contains NaN. Leave rows without a label out.")
    return y.reset_index(drop=True) if isinstance(y, pd.Series) else y


def of_one_type(y: Any) -> Any:
    """Labels that have an order: Python's booleans and whole numbers in a dtype of numpy, others as they are.

    Raises:
        InputError: objects of several types, or of one that has no order.
        ValueError: numbers with fractions, which are no labels.
    """
    values = np.asarray(y)
    if values.dtype == object:
        types = {
            next((t for t in _LABELS if isinstance(v, _LABELS[t])), type(v).__name__) for v in values.flat
        }
        if len(types) > 1:
            raise InputError(f"y: labels of several types ({', '.join(sorted(types))}). Give labels of one.")
        if types <= {"bool", "int", "float"}:
            values = np.array(values.tolist())
        try:
            np.sort(values, axis=None)
        except TypeError:
            raise InputError(
                f"y: labels of type {types.pop()}, which have no order. Give strings or numbers."
            ) from None
    if values.dtype.kind in "fc":
        check_classification_targets(values)
    return values


def distinct_names(classes: np.ndarray) -> list[str]:
    """A name for each class, its canonical one where no other has it: `"1"` and `"1.0"` are two labels here."""
    names: list[str] = []
    for label in classes:
        name = name_of(label)
        if has_lone_surrogate(name):
            raise InputError(f"y: the label {str(name)!r} {HALF_CHARACTER}.")
        names.append(free_name(name if name.strip() else "empty", names))
    return names


def numbers_of(y: Any) -> np.ndarray:
    values = np.asarray(y)
    odd = values.dtype.kind in "mM"
    for cell in values.flat if values.dtype.kind in "OUT" else ():
        odd = odd or not isinstance(cell, (str, int, float, Decimal, np.number))
    try:
        if not odd:
            return values.astype(float)
    except ValueError:
        pass
    raise InputError(
        "y: its cells are no numbers. Give numbers, with a decimal point; of dates, days since one."
    )


def has_cells(X: Any) -> bool:
    """Whether rows have named columns: a frame, what Arrow can read, or records."""
    if isinstance(X, (list, tuple)):
        return bool(X) and isinstance(X[0], (Mapping, pd.Series))
    return isinstance(X, (pd.DataFrame, Mapping)) or hasattr(X, "__arrow_c_stream__")


def frame_of_rows(X: Any) -> pd.DataFrame:
    return (read_table(X) if hasattr(X, "__arrow_c_stream__") else dataset_of(X, Roles())).frame


@contextmanager
def as_input_error() -> Iterator[None]:
    """What is wrong with rows or labels, as the ValueError that scikit-learn's tools expect."""
    try:
        yield
    except InputError:
        raise
    except DataError as error:
        raise InputError(str(error)) from None
