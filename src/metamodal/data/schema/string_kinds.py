"""The kind of a column of strings: paths, numbers, dates, categories or words."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable
from typing import Any

from metamodal.data.identity import flag_word
from metamodal.data.schema.column_words import sounds_like_points, sounds_like_text
from metamodal.data.schema.conventions import MISSING_WORDS
from metamodal.data.schema.raw_column import RawColumn
from metamodal.data.tables.media_types import media_kind, unread_ending
from metamodal.data.tables.problems import short
from metamodal.data.tables.scalars import date_of, number_of

__all__ = ["NUMBERS_AS_TEXT", "is_word", "kind_of_strings", "na_remedy"]

NUMBERS_AS_TEXT = "numbers written as text"
"""The evidence for a column of them."""

_MOST = 0.8  # of a column's strings; what the others are not, is wrong with them
_MANY_LEVELS = 100
_NAMED = 3  # words that a remedy names
_OFTEN = 10  # rows a value, with which many values are a category all the same


def kind_of_strings(column: RawColumn, cells: list[str]) -> tuple[str | None, str]:
    """Kind of and evidence for those cells of a column that are strings.

    Raises:
        DataError: a string is not what most are and nobody receives the report, or all are `.npy` files
            of which nothing says what they hold.
    """
    counts = Counter(cells)
    kind = _usual([media_kind(c) or "" for c in cells])
    if kind:
        _part_odd(column, {c: media_kind(c) == kind for c in counts}, f"paths that end like {kind} files")
        if kind != "array file":
            return kind, f"paths that end like {kind} files"
        if sounds_like_points(column.name):
            return "points", "paths of .npy files; by its name, points"
        raise column.untold(".npy files are")
    ending = _usual([unread_ending(c) or "" for c in cells])
    if ending:
        return None, (
            f"holds paths to {ending} files, which are not read: convert them to PNG, WAV, MP4 or text, or pass "
            f"--kind {column.name}=text if the names are meant"
        )
    if told := _numbers_or_dates(column, counts):
        return "tabular", told
    if all(flag_word(c) is not None for c in counts):
        return "tabular", "booleans written as text"
    return _category_or_text(column.name, counts)


def is_word(text: str) -> bool:
    """Whether a string is a single word, and neither number nor date."""
    return len(text.split()) == 1 and not _is_number(text) and not date_of(text)


def _numbers_or_dates(column: RawColumn, counts: Counter[str]) -> str | None:
    """The evidence of numbers or dates, plain or in a convention, if most strings are such."""
    meant = Counter({c: n for c, n in counts.items() if c.strip().lower() not in MISSING_WORDS})
    readings: dict[str, Callable[[str], Any]] = {"numbers": _is_number, "dates": _is_date}
    if column.convention:
        convention = column.convention.convention
        readings[str(convention)] = lambda c: convention.parse(c) is not None
    told, fitting = max(
        readings.items(), key=lambda reading: sum(n for c, n in meant.items() if reading[1](c))
    )
    fits = {c: c in meant and bool(fitting(c)) for c in counts}
    if not meant or sum(n for c, n in meant.items() if fits[c]) < _MOST * meant.total():
        return None
    if len(meant) == 1 and len(counts) > 1:  # one number among words for nothing is a word, too
        return None
    _part_odd(column, fits, told)
    return NUMBERS_AS_TEXT if told == "numbers" else told


def _category_or_text(name: str, counts: Counter[str]) -> tuple[str, str]:
    distinct, total = len(counts), counts.total()
    words = sum(len(c.split()) * n for c, n in counts.items()) / total
    evidence = f"strings, {distinct} distinct, {words:.1f} words on average"
    if sounds_like_text(name) and distinct > 1:
        return "text", f"{evidence}; by its name, text"
    often = distinct <= _MANY_LEVELS or words < 1.2 or total >= _OFTEN * distinct
    few = distinct <= max(2, 0.5 * total) and often
    if (few and words < 3) or distinct == 1:
        return "tabular", f"a category of {distinct} values"
    if words == 1 and all(any(letter.isdigit() for letter in c) for c in counts):
        return "tabular", f"a category of {distinct} values, single words with digits"
    return "text", evidence


def _usual(kinds: list[str]) -> str | None:
    """What most of a column's strings are, if it is anything."""
    kind, count = Counter(kinds).most_common(1)[0]
    return kind if kind and count >= _MOST * len(kinds) else None


def _part_odd(column: RawColumn, fits: dict[str, bool], usual: str) -> None:
    """Report each string that does not look like most of its column, or raise for the first."""
    if all(fits.values()):
        return
    there = [(row, c) for row, c in column.numbered() if isinstance(c, str)]
    odd = [row for row, c in there if not fits[c]]
    some = len(there) - len(odd)
    words = list(dict.fromkeys(c.strip() for _, c in there if not fits[c]))
    empty = [word for word in words if word.lower() in MISSING_WORDS]
    others = [word for word in words if word.lower() not in MISSING_WORDS]
    mend = _mend(column.name, empty, others)
    if column.report is None:
        telling = [row for row in odd if column.cells[row - 1].strip() in others] or odd
        raise column.mixed(telling[0], f"{some} {usual} and {len(odd)} words", mend)
    what = f"is a word where {some} cells are {usual}. {mend}"
    column.tell(column.report, lambda c: f"{short(c)} {what}" if isinstance(c, str) and not fits[c] else None)


def _mend(column: str, empty: list[str], others: list[str]) -> str:
    """What to do about words for an empty cell, and about other words, in a column that holds something else."""
    if not others:
        return f"{na_remedy(empty)}, or --kind {column}=tabular if they are values of their own"
    if not empty:
        return f"Fix the cell, or pass --kind {column}=text"
    more = f" and {len(others) - _NAMED} other words" if len(others) > _NAMED else ""
    named = ", ".join(map(short, others[:_NAMED]))
    return f"{na_remedy(empty)}; fix {named}{more}, or pass --kind {column}=text"


def na_remedy(words: list[str]) -> str:
    """How to say that words mean an empty cell.

    >>> na_remedy(["NA", "-"])
    'Pass --na NA,- if the cells are empty'
    """
    listed = shlex.quote(",".join(words))
    return f"Pass --na{'=' if listed.startswith('-') else ' '}{listed} if the cells are empty"


def _is_date(text: str) -> bool:
    return bool(date_of(text))


def _is_number(text: str) -> bool:
    return number_of(text) is not None
