"""Numbers and dates in a notation of their own: `1.045,16 €`, `12%`, `(3.20)`, `<0.5`, `31/05/2024`.

How one cell is meant is often open (`1,234`, `01/02/2024`), so the whole column decides. A `Convention` is what it
decided: it is kept with what was fitted, so that later rows are read the same way.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from metamodal.data.tables.cells import is_absent
from metamodal.data.tables.scalars import date_of, moment_of

__all__ = ["MISSING_WORDS", "Convention", "Finding", "convention_of", "moment_in", "respelled"]

MISSING_WORDS = frozenset(
    [
        "na",
        "n/a",
        "#n/a",
        "#na",
        "null",
        "none",
        "missing",
        "-",
        "--",
        "–",
        "—",
        "?",
        ".",
        "#value!",
        "#div/0!",
        "#ref!",
        "#null!",
        "#num!",
    ]
)
"""What programs write into an empty cell, in small letters."""

_MOST = 0.8  # of a column's cells that one convention has to fit
_LONGEST = 48  # characters of a number or a date
_SYMBOLS = "€$£¥₹₽₩₺₪"
_CODES = "EUR|USD|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|HUF|RON|CAD|AUD|NZD|BRL|MXN|ZAR|RUB|TRY|KRW|SGD|HKD"
_MONEY = re.compile(rf"(?:[A-Z]{{0,3}}[{_SYMBOLS}]|{_CODES})")
_BLANK = " \u00a0\u2009\u202f"
_CELL = re.compile(
    rf"""(?P<bound>[<>≤≥]=?)?\s*(?P<open>\()?\s*(?P<sign>[+\-−])?\s*
    (?P<before>{_MONEY.pattern})?\s*(?P<inner>[+\-−])?
    (?P<body>[.,]?\d(?:[\d.,'’{_BLANK}]*\d)?[.,]?)(?P<power>[eE][+-]?\d+)?
    (?:[{_BLANK}]?(?P<after>%|‰|°[CF]?|{_MONEY.pattern})|[{_BLANK}](?P<unit>[A-Za-zµΩ][\w/²³^µΩ]{{0,9}})
    |(?P<short>[A-Za-zµ]{{2,4}}|[gmslhLKVW]))?
    \s*(?P<close>\))?(?P<behind>[-−])?""",
    re.X,
)
_MARKS = {",": ",", ".": r"\.", "'": "['’]", " ": f"[{_BLANK}]", "": "(?!)"}
_MONTHS = {
    m: i
    for i, m in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], start=1
    )
}
_CLOCK = r"(?:[T ,]+(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.\d+)?)?\s?(?P<half>[AaPp]\.?[Mm]\.?)?)?"
_DATE = re.compile(r"(?P<first>\d{1,4})(?P<mark>[./-])(?P<next>\d{1,2})(?P=mark)(?P<last>\d{1,4})" + _CLOCK)
_NAMED = re.compile(
    r"(?:(?P<day>\d{1,2})(?:st|nd|rd|th)?[ .-]*(?P<month>[A-Za-z]{3,9})\.?|(?P<month2>[A-Za-z]{3,9})\.?[ -]*"
    r"(?P<day2>\d{1,2})(?:st|nd|rd|th)?),?[ -]*(?P<year>\d{4}|\d\d)" + _CLOCK
)
_ORDERS = {
    "dmy": "day/month/year",
    "mdy": "month/day/year",
    "ymd": "year/month/day",
    "named": "named months",
}


@dataclass(frozen=True)
class Convention:
    """How the numbers or dates of a column are written; dates have an `order`, numbers the rest.

    >>> Convention(",", ".", "€").parse("1.045,16 €"), Convention(order="dmy").parse("31/05/2024")
    (1045.16, '2024-05-31')
    """

    decimal: str = "."
    group: str = ""
    unit: str = ""
    order: str = ""

    def parse(self, cell: str) -> float | str | None:
        """The number of a cell, or its date in ISO 8601; `None` where it does not fit."""
        text = cell.strip()
        if not self.order:
            return _number(text, self.decimal, self.group or ("." if self.decimal == "," else ","), self.unit)
        return text if date_of(text) else _date(text, self.order)

    def __str__(self) -> str:
        if self.order:
            return f"dates {_ORDERS[self.order]}" if self.order != "named" else "dates with named months"
        said = ["decimal comma"] if self.decimal == "," else []
        marks = {",": "commas", ".": "points", " ": "blanks", "'": "apostrophes"}
        said += [f"thousands separated by {marks[self.group]}"] if self.group else []
        said += [f"the unit {self.unit}"] if self.unit else []
        return f"numbers with {' and '.join(said)}" if said else "numbers with bounds, signs or parentheses"


@dataclass(frozen=True)
class Finding:
    """The convention of a column, and what to beware of where its cells could mean something else."""

    convention: Convention
    warning: str | None = None


def convention_of(counts: Mapping[str, int]) -> Finding | None:
    """The convention that all or most of a column's strings fit, each with the number of its cells.

    Where two readings fit alike and differ, the likelier one is taken, with a warning that names the other:
    days first, and of `1,234` the thousands. As features both readings of `1,234` are the same up to a scale.
    """
    if not counts:
        return None
    cells = Counter({c: n for c, n in counts.items() if len(c) <= _LONGEST and any(map(str.isdigit, c))})
    if cells.total() < _MOST * sum(counts.values()):
        return None
    needed = _MOST * sum(counts.values())
    return _dates(cells, needed) or _numbers(cells, needed)


def respelled(cell: str, decimal: str) -> str:
    """A number that is written with this decimal mark as one with a point; any other string as it is.

    >>> respelled("1.045,16 €", ","), respelled("16.09.2026", ","), respelled("so, so", ",")
    ('1045.16 €', '16.09.2026', 'so, so')
    """
    match = _CELL.fullmatch(cell.strip())
    if match is None:
        return cell
    for group in ("." if decimal == "," else ",", " ", "'"):
        plain = _plain(match["body"], decimal, group)
        if plain is not None:
            start, end = match.span("body")
            return match.string[:start] + plain + match.string[end:]
    return cell


def _dates(cells: Counter[str], needed: float) -> Finding | None:
    fits = {o: sum(n for c, n in cells.items() if Convention(order=o).parse(c)) for o in _ORDERS}
    best = max(fits, key=fits.__getitem__)  # of equals the first: days before months
    if fits[best] < needed or all(date_of(c) for c in cells):
        return None
    runner_up = min(fits["dmy"], fits["mdy"])
    doubtful = (
        best in ("dmy", "mdy")
        and runner_up >= needed
        and (runner_up == fits[best] or fits[best] < sum(cells.values()))
    )
    if doubtful and not all("." in c.split(" ")[0] for c in cells):
        other = "mdy" if best == "dmy" else "dmy"
        return Finding(
            Convention(order=best),
            f"its dates fit {_ORDERS[best]} and {_ORDERS[other]} and are read as {_ORDERS[best]}: "
            "write them as 2024-05-31 if they are meant otherwise",
        )
    return Finding(Convention(order=best))


def _numbers(cells: Counter[str], needed: float) -> Finding | None:
    matches = {c: m for c in cells if (m := _CELL.fullmatch(c.strip())) is not None}
    units: Counter[str] = Counter()
    for c, m in matches.items():
        units[_unit(m)] += cells[c]
    unit = _usual_unit(units)
    found: dict[Convention, int] = {}
    for decimal, groups in ((".", ("", ",", " ", "'")), (",", ("", ".", " ", "'"))):
        counted = {
            g: sum(n for c, n in cells.items() if _number(c.strip(), decimal, g, unit) is not None)
            for g in groups
        }
        group = max(counted, key=counted.__getitem__)  # of equals the first: no thousands are marked
        found[Convention(decimal, group, unit)] = counted[group]
    point, comma = found
    best = max(found, key=found.__getitem__)
    if found[best] < needed:
        return None
    if found[point] != found[comma]:
        return Finding(best)
    apart = [c for c in cells if point.parse(c) != comma.parse(c)]
    if not apart:
        return Finding(point)
    grouped, plain = (point, comma) if point.group else (comma, point)
    mark = grouped.group
    unmarked = any(mark not in c for c in matches)
    if _MONEY.fullmatch(unit) or unmarked:  # money has two decimals; decimals would be marked in every cell
        return Finding(grouped)
    read = grouped if mark == "," else plain
    what, other = ("thousands", "decimals") if read is grouped else ("decimals", "thousands")
    return Finding(
        read,
        f"in numbers such as {apart[0]!r} the {'comma' if mark == ',' else 'point'} could mark thousands or "
        f"decimals and is read as marking {what}: pass --decimal {plain.decimal if other == 'decimals' else grouped.decimal} "
        f"if it marks {other}",
    )


def _usual_unit(units: Counter[str]) -> str:
    """The one unit of a column's cells; money may be without it, other cells not."""
    named = Counter({u: n for u, n in units.items() if u})
    if not named:
        return ""
    unit, count = named.most_common(1)[0]
    return unit if _MONEY.fullmatch(unit) or count >= units[""] else ""


def _unit(match: re.Match[str]) -> str:
    return match["before"] or match["after"] or match["unit"] or match["short"] or ""


def _number(text: str, decimal: str, group: str, unit: str) -> float | None:
    match = _CELL.fullmatch(text)
    if match is None or bool(match["open"]) != bool(match["close"]) or (match["before"] and match["after"]):
        return None
    found = _unit(match)
    if found != unit and (found or not _MONEY.fullmatch(unit)):
        return None
    signs = [s for s in (match["sign"], match["inner"], match["behind"], match["open"]) if s]
    plain = _plain(match["body"], decimal, group)
    if plain is None or len(signs) > 1:
        return None
    value = float(plain + (match["power"] or ""))
    if value in (float("inf"), float("-inf")):
        return None
    return -value if signs and signs[0] != "+" else value


def _plain(body: str, decimal: str, group: str) -> str | None:
    """Digits with marks as Python spells a number, `None` where the marks are elsewhere."""
    match = _form(decimal, group).fullmatch(body)
    if match is None:
        return None
    whole = re.sub(r"\D", "", match["whole"] or "") or "0"
    return f"{whole}.{match['part']}" if match["part"] else whole


@lru_cache(maxsize=16)
def _form(decimal: str, group: str) -> re.Pattern[str]:
    mark, point = _MARKS[group], re.escape(decimal)
    inner = rf"(?:{mark}\d{{2}})*" if group == "," else rf"(?:{mark}\d{{3}})*"  # lakhs and crores
    grouped = rf"[1-9]\d{{0,2}}(?:{mark}\d{{3}})+|[1-9]\d?{inner}{mark}\d{{3}}"
    return re.compile(rf"(?P<whole>{grouped}|0|[1-9]\d*)?(?:{point}(?P<part>\d*))?(?<=[\d.,])")


def _date(text: str, order: str) -> str | None:
    match = (_NAMED if order == "named" else _DATE).fullmatch(text)
    if match is None:
        return None
    if order == "named":
        month = _month(match["month"] or match["month2"])
        return _iso(match, match["year"], month, int(match["day"] or match["day2"]))
    fields = dict(zip(order, (match["first"], match["next"], match["last"])))
    if (
        len(fields["y"]) not in ((4,) if order == "ymd" else (2, 4))
        or max(map(len, (fields["d"], fields["m"]))) > 2
    ):
        return None
    return _iso(match, fields["y"], int(fields["m"]), int(fields["d"]))


def _month(name: str) -> int:
    """The number of a month that is named in English, whole or cut short; 0 for another word."""
    whole = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ]
    known = [
        i for i, month in enumerate(whole, start=1) if month.startswith(name.lower().replace("sept", "sep"))
    ]
    return known[0] if known and name.lower()[:3] in _MONTHS else 0


def _iso(match: re.Match[str], year: str, month: int, day: int) -> str | None:
    full = int(year) if len(year) == 4 else int(year) + (2000 if int(year) < 69 else 1900)  # as POSIX has it
    hour = int(match["hour"] or 0)
    if half := (match["half"] or "").lower()[:1]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    try:
        moment = datetime(full, month, day, hour, int(match["minute"] or 0), int(match["second"] or 0))
    except ValueError:  # the 31st of February
        return None
    return moment.isoformat() if match["hour"] else moment.date().isoformat()


def moment_in(cell: Any, written: Convention | None) -> float | None:
    """The moment that a cell names, written as its column is, in seconds; `None` where it names none."""
    if written and isinstance(cell, str):
        cell = written.parse(cell) or cell
    return moment_of(None if is_absent(cell) else cell)
