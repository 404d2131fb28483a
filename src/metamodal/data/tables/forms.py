"""The form of a raw cell, by its type and first bytes alone, and the kind that each form has."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np

from metamodal.data.tables.cells import NUMBERS
from metamodal.data.tables.media_types import media_kind

__all__ = ["FORMS", "SCALARS", "TIME_KEYS", "VECTORS", "form"]

FORMS = {
    "number": "tabular",
    "boolean": "tabular",
    "date": "tabular",
    "record": "tabular",
    "image": "image",
    "audio": "audio",
    "video": "video",
    "frames": "video",
    "points": "points",
    "graph": "graph",
    "vector": "embedding",
    "sequence": "series",
    "timed": "series",
    "symbols": "series",
}
"""The kind that a column of cells of one form has; strings are classified by their content."""
SCALARS, VECTORS = FORMS["record"], FORMS["vector"]
"""The kinds of several scalars together, and of what an encoder gives."""
_LISTS = (list, tuple, np.ndarray)
TIME_KEYS = ("time", "times", "t")
"""What the times of a series in a record may be called."""


def form(cell: Any) -> str:
    """One of the keys of `FORMS`, `string`, or `unknown: …` with the type's name."""
    if isinstance(cell, (bytes, bytearray, memoryview)):
        return media_kind(bytes(cell[:16])) or "unknown bytes"
    if isinstance(cell, str):
        return "string"
    if isinstance(cell, (bool, np.bool_)):
        return "boolean"
    if isinstance(cell, NUMBERS):
        return "number"
    if isinstance(cell, dict):
        return _form_of_record(cell)
    if isinstance(cell, (date, np.datetime64)):
        return "date"
    if isinstance(cell, np.ndarray):
        return _form_of_array(cell)
    if isinstance(cell, (list, tuple)):
        return _form_of_list(cell)
    if type(cell).__module__.startswith("PIL."):
        return "image"
    return f"unknown type {type(cell).__name__}"


def _form_of_record(cell: dict) -> str:
    if "edges" in cell:
        return "graph"
    if cell.keys() <= {"bytes", "path"} and (cell.get("bytes") or cell.get("path")):
        held = cell.get("bytes") or cell["path"]
        known = media_kind(held if isinstance(held, str) else bytes(held[:16]))
        return known or "record of unknown bytes"
    if "array" in cell and "sampling_rate" in cell:
        return "audio"
    if isinstance(cell.get("values"), _LISTS) and any(isinstance(cell.get(k), _LISTS) for k in TIME_KEYS):
        return "timed"
    return "record"


def _form_of_array(cell: np.ndarray) -> str:
    if cell.dtype == object:
        return _form_of_list(cell.tolist())
    if cell.dtype.kind == "U":
        return "symbols"
    if cell.ndim == 4:
        return "frames"
    if cell.ndim == 1:
        return "vector"
    if cell.ndim == 2:
        return "image" if cell.dtype == np.uint8 else "sequence"
    return "image" if cell.ndim == 3 and cell.shape[-1] in (1, 3, 4) else f"{cell.ndim}-d array"


def _form_of_list(cell: list | tuple) -> str:
    if not len(cell):
        return "empty list"
    first = next((c for c in cell if c is not None), None)
    if first is None or isinstance(first, NUMBERS):
        return "vector"
    if isinstance(first, str):
        return "symbols"
    if isinstance(first, np.ndarray) and (first.ndim > 2 or (first.ndim == 2 and first.dtype == np.uint8)):
        return "frames"
    if isinstance(first, _LISTS):
        return "sequence"
    if form(first) == "image":
        return "frames"
    return f"list of {type(first).__name__}"
