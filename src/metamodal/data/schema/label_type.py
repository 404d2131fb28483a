"""The dtype that a user's labels had, so that predictions come back in it.

Inside the library a class is its canonical name (`metamodal.data.identity`). A `LabelType` is what
turns names into the user's own values again: numbers, booleans, dates, categories, pandas' nullable
and Arrow dtypes, and strings spelled as they were.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pandas as pd

from metamodal.data.identity import flag_word, name_of

__all__ = ["LabelType"]


@dataclass(frozen=True)
class LabelType:
    """How names of classes become the user's labels.

    Attributes:
        dtype: a name that pandas knows (`int64`, `Int64`, `bool[pyarrow]`, `datetime64[ns]`), or `str`,
            `date`, `datetime`, `time`, `timedelta`, `decimal` or `bytes` for Python objects of that type.
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
        labels = self.labels(names)
        dates = getattr(labels.dtype, "kind", "O") in "mM"  # whose `tolist` may give integers
        return [
            text if dates else _json_value(label, text)
            for label, text in zip(labels.tolist(), self.text(names))
        ]

    def text(self, names: Sequence[str]) -> list[str]:
        """Names as a text file spells the labels: one spelling of one label, whatever rows are beside it."""
        labels = self.labels(names)
        if isinstance(labels, np.ndarray) and labels.dtype.kind not in "mM":
            return [str(label) for label in labels]  # float32 in its own few digits
        return pd.Index(labels).astype(str).tolist()

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
        if dtype not in ("str", *_OBJECTS) and not (
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
        if self.dtype in _OBJECTS:
            return _OBJECTS[self.dtype](name)
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
        ("datetime", datetime),
        ("date", date),
        ("time", time),
        ("timedelta", timedelta),
        ("decimal", Decimal),
        ("bytes", bytes),
    ):
        if isinstance(cell, types):
            return kind
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


def _json_value(label: Any, text: str) -> Any:
    if isinstance(label, float):
        return float(text) if math.isfinite(label) else text
    return label if isinstance(label, (bool, int, str)) else text


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
    if dtype == "str" or dtype in _OBJECTS:
        return _objects(values)
    kind: Any = pd.api.types.pandas_dtype(dtype)
    array = pd.array(values, dtype=kind)
    return array.to_numpy() if isinstance(kind, np.dtype) else array


def _objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _bytes(name: str) -> bytes:
    try:
        value = ast.literal_eval(name)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(name) from None
    if not isinstance(value, bytes):
        raise ValueError(name)
    return value


def _decimal(name: str) -> Decimal:
    try:
        return Decimal(name)
    except InvalidOperation:
        raise ValueError(name) from None


_OBJECTS: dict[str, Callable[[str], Any]] = {
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda name: pd.Timedelta(name).to_pytimedelta(),
    "decimal": _decimal,
    "bytes": _bytes,
}
"""Python's own types that labels may be of, and what reads a name as one."""
_PLAIN = {"bool": "bool", "int": "int64", "float": "float64"} | {kind: kind for kind in _OBJECTS}
