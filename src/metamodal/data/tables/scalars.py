"""Strings as the numbers, dates and moments that they spell."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timezone
from typing import Any

from metamodal.data.tables.cells import NUMBERS

__all__ = ["date_of", "moment_of", "number_of"]

_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?( ?(Z|[+-]\d\d(:?\d\d)?))?)?")


def date_of(text: str) -> datetime | None:
    """The time that an ISO 8601 string names (`2024-05-31`, `2024-05-31T12:30:00Z`), else `None`.

    One with an offset is given in UTC, so that equal instants are equal however they are written.

    >>> date_of("2024-05-31T00:30:00+02:00") == date_of("2024-05-30T22:30:00Z")
    True
    >>> str(date_of("2024-05-31T00:30:00+02:00"))
    '2024-05-30 22:30:00+00:00'
    """
    if not _ISO_DATE.fullmatch(text):
        return None
    day, clock = text[:10], text[11:].replace(",", ".").replace(" ", "").replace("Z", "+00:00")
    clock, sign, zone = re.sub(r"\.(\d+)", _microseconds, clock).partition("+" if "+" in clock else "-")
    zone = zone.replace(":", "").ljust(4, "0") if zone else ""
    try:
        moment = datetime.fromisoformat(
            f"{day} {clock or '00:00'}{sign}{zone[:2]}{':' if zone else ''}{zone[2:]}"
        )
        return moment.astimezone(timezone.utc) if moment.tzinfo else moment
    except (ValueError, OverflowError):  # the 31st of February; the first hours of year 1 east of Greenwich
        return None


def _microseconds(found: re.Match[str]) -> str:
    return "." + found[1][:6].ljust(6, "0")


def number_of(text: str) -> float | None:
    """The number that a string spells, else `None`; ids such as `1_60` and `024e7871` are none."""
    if "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isinf(number) and "inf" not in text.lower() else number


def moment_of(cell: Any) -> float | None:
    """A number, or a date as seconds since 1970 (UTC where it names no zone); NaN for an empty cell.

    `None` for what is no moment.
    """
    if cell is None:
        return math.nan
    if isinstance(cell, str):
        cell = date_of(cell) or number_of(cell)
    if isinstance(cell, date):
        cell = cell if isinstance(cell, datetime) else datetime(cell.year, cell.month, cell.day)
        return (cell if cell.tzinfo else cell.replace(tzinfo=timezone.utc)).timestamp()
    number = isinstance(cell, NUMBERS) and not isinstance(cell, bool)
    return float(cell) if number and math.isfinite(cell) else None
