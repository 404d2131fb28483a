"""The dtype that a user's labels had, so that predictions come back in it.

Inside the library a class is its canonical name (`metamodal.data.identity`). A `LabelType` is what
turns names into the user's own values again: numbers, booleans, dates, categories, pandas' nullable
and Arrow dtypes, and strings spelled as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd

from metamodal.data.identity import flag_word, name_of

__all__ = ["LabelType"]

_PLAIN = {"bool": "bool", "int": "int64", "float": "float64", "date": "date", "datetime": "datetime"}


@dataclass(frozen=True)
class LabelType:
    """How names of classes become the user's labels.

    Attributes:
        dtype: a name that pandas knows (`int64`, `Int64`, `bool[pyarrow]`, `datetime64[ns]`), or `str`,
            `date` or `datetime` for Python objects of that type.
        spelled: names and the strings they were, where these differ.
        categories: names of the categories in their order, of a categorical dtype; `dtype` is then the
            categories' own.
        ordered: whether categories have an order.
    """

    dtype: str = "str"
    spelled: tuple[tuple[str, str], ...] = ()
    categories: tuple[str, ...] | None = None
    ordered: bool = False

    @classmethod
    def of(cls, cells: Iterable[Any], dtype: Any = None, *, typed: bool = True) -> LabelType:
        """The type of a column of labels.

        Args:
            cells: its raw cells, absent ones left out.
            dtype: pandas' dtype of the column, where the table has one.
            typed: whether strings are meant as strings; in a text file they spell numbers and booleans too.
        """
        if isinstance(dtype, pd.CategoricalDtype):
            categories = list(dtype.categories)
            inner = cls.of(categories, dtype.categories.dtype)
            names = tuple(map(name_of, categories))
            return cls(inner.dtype, inner.spelled, names, bool(dtype.ordered))
        cells = list(cells)
        if dtype is None or pd.api.types.is_object_dtype(dtype):
            named = _of_cells(cells, typed)
        elif _restorable(dtype):
            named = (
                str(dtype).replace("float16", "float32").replace("halffloat", "float")
            )  # pandas indexes no halves
        else:
            named = "str"
        if not _faithful(named, cells):
            named = "str"
        if not _wordy(named):
            return cls(named)
        spelled = {name_of(c): c if isinstance(c, str) else name_of(c) for c in reversed(cells)}
        return cls(named, tuple((name, text) for name, text in spelled.items() if name != text))

    def labels(self, names: Sequence[str]) -> Any:
        """Names as the user's labels: a numpy array, or pandas' own array of an extension dtype.

        A name that is no value of the dtype (a class described by a word among numbers) makes all of
        them strings.
        """
        try:
            values = [self._value(name) for name in names]
        except ValueError:
            return _objects(list(names))
        if self.categories is not None:
            if not set(names) <= set(self.categories):
                return _array(values, self.dtype)
            categories = _array([self._value(c) for c in self.categories], self.dtype)
            return pd.Categorical(values, categories=pd.Index(categories), ordered=self.ordered)
        return _array(values, self.dtype)

    def python(self, names: Sequence[str]) -> list[Any]:
        """Names as values of JSON: numbers and booleans as such, everything else as strings."""
        found = []
        for label in self.labels(names).tolist():
            plain = isinstance(label, (bool, int, float, str)) and label == label
            found.append(label if plain else str(label))
        return found

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any] | None) -> LabelType:
        """The inverse of `to_dict`; without a record, strings.

        Raises:
            ValueError: a record that `to_dict` cannot have written.
        """
        if record is None:
            return cls()
        categories = record.get("categories")
        spelled = tuple((str(name), str(text)) for name, text in record.get("spelled", ()))
        dtype = record.get("dtype", "str")
        if dtype not in ("str", "date", "datetime") and not (
            isinstance(dtype, str) and _restorable(pd.api.types.pandas_dtype(dtype))
        ):
            raise ValueError(f"{dtype!r}: no dtype of labels")
        return cls(
            dtype,
            spelled,
            None if categories is None else tuple(map(str, categories)),
            bool(record.get("ordered", False)),
        )

    def _value(self, name: str) -> Any:
        if self.dtype == "date":
            return date.fromisoformat(name)
        if self.dtype == "datetime":
            return datetime.fromisoformat(name)
        if _wordy(self.dtype):
            return dict(self.spelled).get(name, name)
        kind = pd.api.types.pandas_dtype(self.dtype)
        if pd.api.types.is_bool_dtype(kind):
            flag = flag_word(name)
            if flag is None:
                raise ValueError(name)
            return bool(flag)
        if pd.api.types.is_integer_dtype(kind):
            return int(name)
        if pd.api.types.is_float_dtype(kind):
            return float(name)
        if isinstance(kind, pd.IntervalDtype):
            low, high = name.strip("()[]").split(", ")
            bound: type[int] | type[float] = int if np.issubdtype(kind.subtype, np.integer) else float
            return pd.Interval(bound(low), bound(high), kind.closed or "right")
        if isinstance(kind, pd.PeriodDtype):
            return pd.Period(name, kind.freq)  # type: ignore[arg-type]
        return pd.Timedelta(name) if pd.api.types.is_timedelta64_dtype(kind) else pd.Timestamp(name)


def _of_cells(cells: list[Any], typed: bool) -> str:
    """The dtype of Python objects: what all of them are, else strings."""
    kinds = {_kind(c if typed else _spelled_value(c)) for c in cells}
    if kinds == {"int", "float"}:
        return "float64"
    return _PLAIN.get(kinds.pop(), "str") if len(kinds) == 1 else "str"


def _kind(cell: Any) -> str:
    for kind, types in (
        ("bool", (bool, np.bool_)),
        ("int", (int, np.integer)),
        ("float", (float, np.floating)),
    ):
        if isinstance(cell, types):
            return kind
    if isinstance(cell, date):
        return "datetime" if isinstance(cell, datetime) else "date"
    return "str"


def _spelled_value(cell: Any) -> Any:
    """The number or boolean that a string of a text file spells and nothing else can mean, else the string."""
    if not isinstance(cell, str):
        return cell
    if flag_word(cell) is not None:
        return bool(flag_word(cell))
    for read in (int, float):
        try:
            value = read(cell)
        except ValueError:
            continue
        if name_of(value) == name_of(cell):
            return value
    return cell


def _restorable(dtype: Any) -> bool:
    """Whether values of a pandas dtype can be made of names."""
    kinds = pd.api.types
    if isinstance(dtype, pd.CategoricalDtype) or kinds.is_object_dtype(dtype):
        return False
    if isinstance(dtype, pd.IntervalDtype):
        return dtype.subtype is not None and kinds.is_numeric_dtype(dtype.subtype)
    simple = (
        kinds.is_bool_dtype,
        kinds.is_integer_dtype,
        kinds.is_float_dtype,
        kinds.is_datetime64_any_dtype,
        kinds.is_timedelta64_dtype,
        kinds.is_string_dtype,
    )
    return isinstance(dtype, pd.PeriodDtype) or any(holds(dtype) for holds in simple)


def _wordy(dtype: str) -> bool:
    return dtype == "str" or "string" in dtype


def _faithful(dtype: str, cells: list[Any]) -> bool:
    """Whether names of these cells give the same values again in a dtype."""
    if _wordy(dtype):
        return True
    kind = LabelType(dtype)
    try:
        kind.labels(list({name_of(c): None for c in cells}))
        return all(name_of(kind._value(name_of(c))) == name_of(c) for c in cells)
    except (ValueError, OverflowError, TypeError):
        return False


def _array(values: list[Any], dtype: str) -> Any:
    if dtype in ("str", "date", "datetime"):
        return _objects(values)
    kind: Any = pd.api.types.pandas_dtype(dtype)
    array = pd.array(values, dtype=kind)
    return array.to_numpy() if isinstance(kind, np.dtype) else array


def _objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
