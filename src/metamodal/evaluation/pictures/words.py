"""Texts, symbols and records of scalars, cut to what fits on a tile."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from markupsafe import Markup

from metamodal.data.tables.scalars import date_of

__all__ = ["breakable", "captioned", "pairs", "symbols", "words"]

_WORDS, _MORE_WORDS = 90, 400  # characters of a text on the page, and when pointed at
_PAIRS = 6  # named values of a record


def words(value: Any) -> Markup:
    """A text, shortened; more of it when pointed at."""
    text = " ".join(str(value).split())
    return Markup('<span class="words" title="{}">{}</span>').format(
        _cut(text, _MORE_WORDS), _cut(text, _WORDS)
    )


def symbols(value: np.ndarray) -> Markup:
    """The symbols of a sequence in their order."""
    return words(" ".join(map(str, value[:, 0])))


def captioned(drawing: Markup, name: str) -> Markup:
    """A drawing above the name of what it shows."""
    return Markup('<span class="captioned">{}<span class="words" title="{}">{}</span></span>').format(
        drawing, _cut(name, _MORE_WORDS), breakable(_cut(name, _WORDS))
    )


def breakable(name: str) -> Markup:
    """A name that a narrow column may break after its signs."""
    return Markup("<wbr>").join(re.findall(r"[^/_.:-]+[/_.:-]*|[/_.:-]+", name))


def pairs(value: dict[str, float | str | None]) -> Markup:
    """The first values of a record beside their names; the others when pointed at."""
    there = [(name, _scalar(v)) for name, v in value.items() if v is not None]
    rows = Markup().join(
        Markup("<span>{}</span> <b>{}</b>").format(_cut(name, 24), _cut(word, 24))
        for name, word in there[:_PAIRS]
    )
    rest = f"+{len(there) - _PAIRS}" if len(there) > _PAIRS else ""
    every = ", ".join(f"{name} {word}" for name, word in there)
    more = Markup("<span>{}</span> <b></b>").format(rest) if rest else Markup()
    return Markup('<span class="pairs" title="{}">{}{}</span>').format(_cut(every, _MORE_WORDS), rows, more)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _scalar(value: float | str) -> str:
    if isinstance(value, str):
        return _day(value)
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:g}"


def _day(word: str) -> str:
    """A date without the clock at midnight, and never with seconds or zone; other words as they are."""
    date = date_of(word)
    if date is None:
        return word
    return word[:10] if (date.hour, date.minute) == (0, 0) else f"{word[:10]} {date:%H:%M}"
