"""JSON as tables hold it: values in which no key stands twice.

Python's reader takes the last of two values of one key, without a word. Here an object with such a key is an
`Unreadable` that names it, wherever it is nested; who reads the cell, or the row, reports it with its place.
"""

from __future__ import annotations

import json
from typing import Any

from metamodal.data.limits import limits
from metamodal.data.tables.unreadable import Unreadable

__all__ = ["json_value", "parsed"]


def json_value(text: str) -> Any:
    """What a JSON text says.

    >>> json_value('{"a": 1, "b": [2]}')
    {'a': 1, 'b': [2]}
    >>> json_value('[{"a": 1, "a": 2}]')[0].reason
    "has the key 'a' twice. Keep one of them"

    Raises:
        ValueError, RecursionError: it is no JSON, or nested too deep.
    """
    return json.loads(text, object_pairs_hook=_record)


def parsed(cell: str) -> Any:
    """A string of a text file as the list or record that it spells in JSON, else the string."""
    if cell and cell[0] in "[{" and cell[-1] in "]}" and len(cell) <= limits().json_characters:
        try:
            return json_value(cell)
        except (ValueError, RecursionError):
            return cell
    return cell


def _record(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Unreadable:
    record = dict(pairs)
    if len(record) == len(pairs):
        return record
    keys = [key for key, _ in pairs]
    twice = next(key for key in record if keys.count(key) > 1)
    return Unreadable("a record", f"has the key {twice!r} twice. Keep one of them")
