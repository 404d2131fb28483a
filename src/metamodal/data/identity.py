"""One name for one meaning: how a value is known whatever file or dtype it was read from."""

from __future__ import annotations

import math
import re
from collections.abc import Container
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from metamodal.data.tables.scalars import date_of

__all__ = ["flag_word", "free_name", "name_of"]

_WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))\.0+")
_FINE = re.compile(r"[.,]\d{6}(\d*[1-9]\d*)")
_EXACT = 1e16  # from here on floats are written with an exponent


def name_of(value: Any) -> str:
    """The one name of a scalar: of a class, of a level of a category, of a task or a group.

    `1`, `1.0` and `'1'` have one name, and so have `True`, `'True'` and `'TRUE'`, and a date however
    it is written in ISO 8601. Words keep their case, and digits with leading zeros stay as they are.

    >>> name_of(1), name_of(1.0), name_of("1.0"), name_of("01"), name_of("1.10")
    ('1', '1', '1', '01', '1.10')
    >>> name_of(True), name_of("TRUE"), name_of("Yes")
    ('true', 'true', 'Yes')
    >>> name_of("2024-05-31 00:00:00"), name_of(date(2024, 5, 31))
    ('2024-05-31', '2024-05-31')
    """
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, (float, np.floating, Decimal)):
        return _of_number(value)
    if isinstance(value, date):
        return _of_date(value)
    if isinstance(value, (timedelta, np.timedelta64)):
        return _of_duration(value)
    try:
        return str(value)
    except Exception:  # an object of the user's own that cannot be shown
        return f"a {type(value).__name__}"


def free_name(name: str, taken: Container[str]) -> str:
    """A name that is not taken: the one asked for, or that with underscores after it.

    >>> free_name("reason", ["x"]), free_name("reason", ["reason", "reason_"])
    ('reason', 'reason__')
    """
    while name in taken:
        name += "_"
    return name


def flag_word(text: str) -> float | None:
    """1 or 0 for a word that spells true or false, in any case; else `None`."""
    return {"true": 1.0, "false": 0.0}.get(text.strip().lower())


def _of_text(text: str) -> str:
    if flag_word(text) is not None:
        return text.strip().lower()
    if text == "-0":
        return "0"
    if whole := _WHOLE.fullmatch(text):
        return "0" if whole[1] == "-0" else whole[1]
    moment = date_of(text)
    if moment is None:
        return text
    fine = _FINE.search(text)  # digits below a microsecond, which Python's times do not have
    return _of_date(
        pd.Timestamp(moment) + pd.Timedelta(int(fine[1][:3].ljust(3, "0")), "ns") if fine else moment
    )


def _of_number(number: Any) -> str:
    if isinstance(number, Decimal):
        whole = number.is_finite() and number == number.to_integral_value()
        return str(int(number)) if whole and abs(number) < _EXACT else str(number)
    number = float(number)
    if math.isfinite(number) and number == int(number) and abs(number) < _EXACT:
        return str(int(number))
    return repr(number)


def _of_date(moment: date) -> str:
    """In ISO 8601, with as many digits as need be."""
    if not isinstance(moment, datetime):
        return moment.isoformat()
    if moment.tzinfo is not None:
        return moment.astimezone(timezone.utc).isoformat()
    clock = (moment.hour, moment.minute, moment.second, moment.microsecond)
    midnight = clock == (0, 0, 0, 0) and not getattr(moment, "nanosecond", 0)  # which pandas' times have
    return moment.date().isoformat() if midnight else moment.isoformat()


def _of_duration(duration: timedelta | np.timedelta64) -> str:

    try:
        return str(pd.Timedelta(duration))  # one spelling of Python's, numpy's and pandas' durations
    except (ValueError, OverflowError):  # months, which are of no one length; more than pandas holds
        return str(duration)
