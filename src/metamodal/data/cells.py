"""What a raw cell looks like from outside: its form, told from its type and first bytes alone."""

from __future__ import annotations

import json
import math
from pathlib import PurePath
from typing import Any

import numpy as np

__all__ = ["FORMS", "canonical", "form", "is_absent", "media_kind"]

FORMS = {
    "number": "tabular",
    "boolean": "tabular",
    "record": "tabular",
    "image": "image",
    "audio": "audio",
    "video": "video",
    "vector": "embedding",
    "sequence": "series",
    "symbols": "series",
}
"""The kind that a column of cells of one form has; strings are told apart by their content."""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"GIF8", "image"),
    (b"BM", "image"),
    (b"II*\x00", "image"),
    (b"MM\x00*", "image"),
    (b"fLaC", "audio"),
    (b"OggS", "audio"),
    (b"ID3", "audio"),
    (b"\xff\xfb", "audio"),
    (b"\x1aE\xdf\xa3", "video"),
)
_SUFFIXES = {
    "image": {".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp"},
    "audio": {".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus"},
    "video": {".mp4", ".avi", ".mov", ".mkv", ".webm"},
}


def is_absent(cell: Any) -> bool:
    """Whether a cell is empty: `None`, or the missing marks of pandas (but not a float NaN).

    A NaN read from a file is a number that cannot be read, not an empty cell; DataFrames, where NaN
    *is* the empty cell, are converted when they come in.
    """
    return cell is None or type(cell).__name__ in ("NAType", "NaTType")


def canonical(cell: Any) -> Any:
    """A DataFrame's cell as the readers know it: NaN becomes `None`, numpy scalars Python's own."""
    if isinstance(cell, np.generic):
        cell = cell.item()
    if is_absent(cell) or (isinstance(cell, float) and math.isnan(cell)):
        return None
    return cell


def media_kind(cell: str | bytes) -> str | None:
    """`image`, `audio` or `video`, by the first bytes or by the ending of a path; else `None`."""
    if isinstance(cell, str):
        suffix = PurePath(cell).suffix.lower()
        return next((kind for kind, known in _SUFFIXES.items() if suffix in known), None)
    if cell[:4] == b"RIFF":
        return {b"WAVE": "audio", b"WEBP": "image", b"AVI ": "video"}.get(cell[8:12])
    if cell[4:8] == b"ftyp":
        return "video"
    return next((kind for magic, kind in _MAGIC if cell.startswith(magic)), None)


def form(cell: Any) -> str:
    """One of the keys of `FORMS`, `string`, or `unknown: …` with the type's name."""
    if isinstance(cell, (bytes, bytearray, memoryview)):
        return media_kind(bytes(cell[:16])) or "unknown bytes"
    if isinstance(cell, str):
        return "string"
    if isinstance(cell, (bool, np.bool_)):
        return "boolean"
    if isinstance(cell, (int, float, np.number)):
        return "number"
    if isinstance(cell, dict):
        return "record"
    if isinstance(cell, np.ndarray):
        return _form_of_array(cell)
    if isinstance(cell, (list, tuple)):
        return _form_of_list(cell)
    if type(cell).__module__.startswith("PIL."):
        return "image"
    return f"unknown type {type(cell).__name__}"


def parsed(cell: str) -> Any:
    """A string of a text file as the list or record that it spells in JSON, else the string."""
    if cell[:1] in "[{" and cell[-1:] in "]}":
        try:
            return json.loads(cell)
        except ValueError:
            return cell
    return cell


def _form_of_array(cell: np.ndarray) -> str:
    if cell.dtype == object:
        return _form_of_list(cell.tolist())
    if cell.ndim == 1:
        return "vector"
    if cell.ndim == 2:
        return "image" if cell.dtype == np.uint8 else "sequence"
    return "image" if cell.ndim == 3 and cell.shape[-1] in (1, 3, 4) else f"{cell.ndim}-d array"


def _form_of_list(cell: list | tuple) -> str:
    if not cell:
        return "empty list"
    first = cell[0]
    if isinstance(first, str):
        return "symbols"
    if isinstance(first, (list, tuple, np.ndarray)):
        return "sequence"
    if isinstance(first, (int, float, np.number)) or first is None:
        return "vector"
    return f"list of {type(first).__name__}"
