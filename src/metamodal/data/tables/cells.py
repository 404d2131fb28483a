"""A raw cell by itself: whether it is empty, and the plain value that it has."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = ["NUMBERS", "canonical", "has_lone_surrogate", "is_absent", "is_blank", "plain"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_FLOAT_DIGITS = 308
NUMBERS = (int, float, np.number, Decimal, Fraction)
"""The types of numbers that a cell, a list or a record may hold."""


def is_absent(cell: Any) -> bool:
    """Whether a cell is empty: `None`, or the missing marks of pandas (but not a float NaN).

    A NaN read from a file is a number that cannot be read, not an empty cell; DataFrames, where NaN
    *is* the empty cell, are converted when they come in.
    """
    return cell is None or type(cell).__name__ in ("NAType", "NaTType")


def is_blank(cell: Any) -> bool:
    """Whether a cell has nothing in it: absent, or an empty list or array. Of labels an empty list says that there are none."""
    if isinstance(cell, np.ndarray):
        return cell.size == 0
    return is_absent(cell) or (isinstance(cell, (list, tuple)) and not cell)


def canonical(cell: Any) -> Any:
    """A DataFrame's cell as the readers know it: NaN becomes `None`, every number Python's own."""
    cell = plain(cell)
    if is_absent(cell) or (isinstance(cell, float) and math.isnan(cell)):
        return None
    return cell


def plain(cell: Any) -> Any:
    """A number of whatever type as an int or a float, other scalars of numpy as Python's, all else as it is.

    A decimal of more digits than a float has stays one: two of them may name two classes.

    >>> plain(Decimal("1.50")), plain(Fraction(4, 2)), plain(np.float32(0.5))
    (1.5, 2, 0.5)
    """
    if isinstance(cell, (Decimal, Fraction)):
        return _of_ratio(cell)
    if isinstance(cell, np.datetime64):
        return None if np.isnat(cell) else cell
    if isinstance(cell, np.floating):
        return float(cell)  # an extended float's own `item` is no float of Python
    return cell.item() if isinstance(cell, np.generic) else cell


def _of_ratio(number: Decimal | Fraction) -> int | float | Decimal | Fraction:
    """A decimal number or a fraction, whole ones without loss; infinite beyond what a float can hold."""
    if isinstance(number, Decimal):
        if number.is_nan():
            return math.nan
        if number.is_infinite() or number.adjusted() > _FLOAT_DIGITS:
            return math.copysign(math.inf, number)
        whole = number == number.to_integral_value()
    else:
        whole = number.denominator == 1
    try:
        near = int(number) if whole else float(number)
        exact = not isinstance(number, Decimal) or Decimal(repr(near)) == number
        return near if exact else number
    except OverflowError:
        return math.copysign(math.inf, number)


def has_lone_surrogate(text: str) -> bool:
    """Whether a string holds half of a character that UTF-16 writes as two: it cannot be written as UTF-8."""
    return not text.isascii() and _SURROGATE.search(text) is not None
