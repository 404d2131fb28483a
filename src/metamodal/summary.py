"""What an object is in a few lines: plain in a terminal, a small table in a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any, NamedTuple

from metamodal.errors import one_line

__all__ = ["Summary", "listed"]

_MOST = 8
_LONG = 160


class Summary(NamedTuple):
    """A title and facts by name.

    >>> print(Summary("Predictor", (("labels", "cat, dog"), ("rows", "4"))))
    Predictor
      labels  cat, dog
      rows    4
    """

    title: str
    facts: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        width = max((len(name) for name, _ in self.facts), default=0)
        return "\n".join([self.title, *(f"  {name:{width}}  {_cut(value)}" for name, value in self.facts)])

    def html(self) -> str:
        """The same as a table, for `_repr_html_`."""
        cell = '<td style="text-align:left">'
        rows = "".join(
            f"<tr>{cell}{escape(name)}</td>{cell}{escape(_cut(value))}</td></tr>"
            for name, value in self.facts
        )
        return f"<div><b>{escape(one_line(self.title))}</b><table>{rows}</table></div>"


def listed(names: Iterable[Any], most: int = _MOST) -> str:
    """The first few names, and how many more there are.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    texts = [str(name) for name in names]
    rest = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + rest


def _cut(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"
