"""Rows of scalars: numbers, dates, categories and booleans side by side, with room for missing ones."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from metamodal.data.identity import flag_word, name_of
from metamodal.data.modalities.capabilities import Capabilities
from metamodal.data.modalities.dates import DateColumn
from metamodal.data.modalities.protocol import CellError, check_scales, modalities
from metamodal.data.schema.conventions import MISSING_WORDS, Convention
from metamodal.data.tables.cells import NUMBERS, is_absent
from metamodal.data.tables.scalars import date_of, number_of
from metamodal.data.tables.unreadable import Unreadable

__all__ = ["Tabular", "infinite"]

_CLIP = 4.0
_MAX_LEVELS = 50


def _check_infinite(value: dict[str, float | str | None], limits: frozenset[str]) -> None:
    """CellError for an infinite number in a column that is not one of `limits`."""
    for name, number in value.items():
        if isinstance(number, float) and math.isinf(number) and name not in limits:
            raise infinite(name, number)


@modalities.register("tabular")
@dataclass(frozen=True)
class Tabular:
    """Named scalars as one vector.

    A number is `(x - centre) / scale` cut at ±4, with an indicator beside it that says it is there
    (an absent one is 0, 0). An infinite number in one of the columns `limits` was beyond what could
    be measured, and is ±4. True and false are the numbers 1 and 0, however they are written: `flags`
    are the columns that hold nothing else, and `words` those of them in which some cell is written as a
    word. A date column is described by `DateColumn`; its record is
    (name, centre, scale, cycles). Strings in a column of `conventions`, by records (name, decimal, group, unit,
    order), are read as numbers or dates in its `Convention`. A category is one-hot over the training levels; an unseen level
    and an absent one are both all zeros.
    """

    numbers: tuple[tuple[str, float, float], ...]
    categories: tuple[tuple[str, tuple[str, ...]], ...]
    dates: tuple[tuple[str, float, float, tuple[str, ...]], ...] = ()
    limits: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    conventions: tuple[tuple[str, str, str, str, str], ...] = ()

    capabilities: ClassVar[Capabilities] = Capabilities(
        strings=True, scalars=True, describes=True, check=_check_infinite
    )

    def __post_init__(self) -> None:
        check_scales(
            "tabular", (), (), *(scale for _, _, scale in self.numbers), *(c.scale for c in self._dates)
        )

    @classmethod
    def read(cls, cell: Any, base: Path) -> dict[str, float | str | None]:
        """A record of floats and strings; a lone scalar is a record of one, named ``value``.

        A date is its ISO 8601 string. Strings stay strings, be they digits, and infinities stay: what
        they are, the whole column decides.
        """
        record = cell if isinstance(cell, dict) else {"value": cell}
        return {str(name): _scalar(str(name), value) for name, value in record.items()}

    @classmethod
    def fit(
        cls,
        values: Sequence[dict[str, float | str | None]],
        limits: tuple[str, ...] = (),
        conventions: tuple[tuple[str, str, str, str, str], ...] = (),
    ) -> Tabular:
        """Which columns are numbers, dates and categories, and their scales and levels.

        Args:
            limits: the columns whose infinities stand for values beyond the limits of detection.
            conventions: how numbers and dates are written in columns where they are not plain.
        """
        there = {name for value in values for name in value}
        conventions = tuple(record for record in conventions if record[0] in there)
        written = _by_name(conventions)
        values = [_in_convention(value, written) for value in values]
        numbers, dates, categories, flags, words_ = [], [], [], [], []
        for name in dict.fromkeys(name for value in values for name in value):
            cells = [value.get(name) for value in values]
            known = [c for c in cells if c is not None]
            truths = [_flag(c) for c in known]
            flag = bool(known) and None not in truths
            if flag:
                flags.append(name)
                words_ += [name] if any(_spelled(c) for c in known) else []
            floats = [f for f in (truths if flag else map(_float, known)) if f is not None]
            if floats and len(floats) == len(known):
                finite = [f for f in floats if math.isfinite(f)] or [0.0]
                low, centre, high = _quartiles(finite)
                spread = _difference(high, low) or _deviation(finite) or 1.0
                numbers.append((name, centre, spread))
            elif known:
                words = [_word(c) for c in known]
                times = [t for w in words if (t := date_of(w))]
                if len(times) == len(known):
                    column = DateColumn.fit(name, times)
                    dates.append((name, column.centre, column.scale, column.cycles))
                    continue
                counted = Counter(words)
                levels = sorted(counted, key=lambda level: (-counted[level], level))
                categories.append((name, tuple(levels[:_MAX_LEVELS])))
        beyond = tuple(c for c in limits if c in there)
        return cls(
            tuple(numbers), tuple(categories), tuple(dates), beyond, tuple(flags), tuple(words_), conventions
        )

    def unknown(self, values: Sequence[dict[str, float | str | None]]) -> dict[str, str]:
        """The categories of which these rows have values and none that training knew, each with one value."""
        found = {}
        for name, levels in self.categories:
            cells = [_word(cell) for value in values if (cell := value.get(name)) is not None]
            if cells and not set(cells) & set(levels):
                found[name] = cells[0]
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        width = 2 * len(self.numbers) + sum(column.width for column in self._dates)
        return (width + sum(len(levels) for _, levels in self.categories),)

    def tensor(self, values: Sequence[dict[str, float | str | None]]) -> Float[Tensor, "n f"]:
        written = _by_name(self.conventions)
        rows = [self._row(_in_convention(value, written)) for value in values]
        return torch.tensor(rows).reshape(len(values), *self.shape)

    def cells(self, x: Float[Tensor, "n f"]) -> list[dict[str, float | str | None]]:
        """Records in their own units: `None` where an entry is likelier absent, or of a level unseen."""
        return [self._record(row) for row in x.tolist()]

    def features(self, x: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
        """The columns as they are, in a scale in which a row's length is about 1: how far out it is says something."""
        return x / math.sqrt(max(1, 2 * len(self.numbers) + len(self.dates) + len(self.categories)))

    def augment(self, x: Float[Tensor, "n f"], generator: Generator) -> Float[Tensor, "n f"]:
        """A little noise on numbers and dates."""
        at = [2 * i for i in range(len(self.numbers))]
        start = 2 * len(self.numbers)
        for column in self._dates:
            at.append(start)
            start += column.width
        noise = torch.zeros_like(x)
        noise[:, at] = 0.2 * torch.randn(len(x), len(at), generator=generator)
        there = torch.ones_like(x)
        there[:, at] = x[:, [i + 1 for i in at]]
        return x + noise * there

    @property
    def variants(self) -> int:
        return 1

    def variant(self, x: Float[Tensor, "n f"], number: int) -> Float[Tensor, "n f"]:
        return x

    @cached_property
    def _dates(self) -> tuple[DateColumn, ...]:
        return tuple(DateColumn(*record) for record in self.dates)

    def _record(self, row: list[float]) -> dict[str, float | str | None]:
        record: dict[str, float | str | None] = {}
        entries = iter(row)
        for name, centre, scale in self.numbers:
            away, there = next(entries), next(entries)
            record[name] = centre + scale * _if_there(away, there) if there > 0.5 else None
            if name in self.words and record[name] is not None:
                record[name] = "true" if record[name] > 0.5 else "false"  # type: ignore[operator]
        for column in self._dates:
            away, there, *_ = (next(entries) for _ in range(column.width))
            record[column.name] = column.cell(_if_there(away, there)) if there > 0.5 else None
        for name, levels in self.categories:
            shares = [next(entries) for _ in levels]
            best = max(shares)
            record[name] = levels[shares.index(best)] if best > 1 - sum(shares) else None
        return record

    def _row(self, value: dict[str, float | str | None]) -> list[float]:
        row: list[float] = []
        for name, centre, scale in self.numbers:
            cell = value.get(name)
            number = None if cell is None else _float(cell)
            if number is None and isinstance(cell, str) and name in self.flags:
                number = flag_word(cell)
            if cell is not None and number is None:
                raise CellError(
                    f"{name} is {cell!r} where the training rows have numbers. {_remedy(cell, 'Give a number')}",
                    name,
                )
            if number is None:
                row += [0.0, 0.0]
                continue
            if math.isnan(number) or (math.isinf(number) and name not in self.limits):
                raise infinite(name, number)
            row += [min(max(_difference(number, centre) / scale, -_CLIP), _CLIP), 1.0]
        for column in self._dates:
            cell = value.get(column.name)
            time = date_of(cell) if isinstance(cell, str) else None
            if cell is not None and time is None:
                raise CellError(
                    f"{column.name} is {cell!r} where the training rows have dates. Give one like 2024-05-31",
                    column.name,
                )
            row += column.row(time)
        for name, levels in self.categories:
            cell = value.get(name)
            word = None if cell is None else _word(cell)
            row += [float(level == word) for level in levels]
        return row


def _by_name(records: Sequence[tuple[str, str, str, str, str]]) -> dict[str, Convention]:
    return {name: Convention(*fields) for name, *fields in records}


def _in_convention(
    value: dict[str, float | str | None], written: dict[str, Convention]
) -> dict[str, float | str | None]:
    """A record whose strings in columns with a convention are numbers, or dates in ISO 8601."""
    if not written:
        return value
    found = dict(value)
    for name, convention in written.items():
        cell = value.get(name)
        if isinstance(cell, str):
            found[name] = convention.parse(cell)
            if found[name] is None:
                raise CellError(
                    f"{name} is {cell!r} where the training rows have {convention}. {_remedy(cell, 'Write it so')}",
                    name,
                )
    return found


def _remedy(cell: float | str, otherwise: str) -> str:
    if isinstance(cell, str) and cell.strip().lower() in MISSING_WORDS:
        return f"Pass --na {cell.strip()} if the cell is empty"
    return otherwise


def _difference(a: float, b: float) -> float:
    """`a - b`, at most the largest number there is; infinite only if `a` is."""
    difference = float(a) - float(b)
    if math.isinf(difference) and math.isfinite(a):
        return math.copysign(sys.float_info.max, difference)
    return difference


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The quartiles, of numbers too large for their differences too."""
    unit = 1.0 if max(map(abs, values)) < 1e150 else 1e150
    low, centre, high = np.quantile(np.array(values) / unit, [0.25, 0.5, 0.75])
    return float(low) * unit, float(centre) * unit, float(high) * unit


def _deviation(values: Sequence[float]) -> float:
    """The standard deviation, of numbers too large for their squares too."""
    largest = max(map(abs, values))
    return float(np.std(values)) if largest < 1e150 else float(np.std(np.array(values) / largest)) * largest


def _if_there(value: float, there: float) -> float:
    """What is expected of a present entry, from the mean over those present and those that are 0 for absent."""
    return value / min(max(there, 0.5), 1.0)


def infinite(name: str, value: float) -> CellError:
    """The error of a lone infinity."""
    empty = " (or pass --na nan, which reads it as empty)" if math.isnan(value) else ""
    return CellError(f"{name} is {value}. Give a finite number, or leave the cell empty{empty}", name)


def _scalar(name: str, value: Any) -> float | str | None:
    if is_absent(value):
        return None
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, str):
        return str(value) if value.strip() else None
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, NUMBERS):
        try:
            number = float(value)
        except (OverflowError, TypeError):  # 10 ** 400; a complex number
            raise CellError(f"{name} is no number within range. Give one below 1e308", name) from None
        if math.isnan(number):
            raise infinite(name, number)
        return number
    if isinstance(value, Unreadable):
        raise CellError(f"{name} is {value} and {value.reason}", name)
    raise CellError(f"{name} is a {type(value).__name__}. Give a number, a word, a date or true/false", name)


def _float(cell: float | str) -> float | None:
    return number_of(cell) if isinstance(cell, str) else cell


def _flag(cell: float | str) -> float | None:
    """1 or 0 for what says true or false, as a word or a number."""
    truth = flag_word(cell) if isinstance(cell, str) else None
    number = _float(cell) if truth is None else truth
    return number if number in (0.0, 1.0) else None


def _spelled(cell: float | str) -> bool:
    return isinstance(cell, str) and flag_word(cell) is not None


def _word(cell: float | str) -> str:
    """A level of a category: one for each meaning."""
    return name_of(cell)
