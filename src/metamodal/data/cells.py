"""What a raw cell looks like from outside: its form, told from its type and first bytes alone."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timezone
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

__all__ = [
    "FORMS",
    "NUMBERS",
    "PICTURES",
    "TIME_KEYS",
    "canonical",
    "date_of",
    "form",
    "has_lone_surrogate",
    "is_absent",
    "is_blank",
    "media_kind",
    "moment_of",
    "number_of",
    "plain",
    "unread_ending",
]

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

PICTURES = (
    *("PNG", "JPEG", "MPO", "WEBP", "GIF", "TIFF", "BMP", "DIB"),
    *("ICO", "JPEG2000", "AVIF", "HEIF", "PPM", "TGA", "PCX", "QOI"),
)
"""The formats of pictures, as Pillow names them: pixels that it decodes itself. Of an EPS it would start Ghostscript."""
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
    (b"\xff\xf3", "audio"),
    (b"\xff\xf2", "audio"),
    (b"\xff\xe3", "audio"),
    (b"\x1aE\xdf\xa3", "video"),
    (b"\x00\x00\x01\xba", "video"),
    (b"ply", "points"),
    (b"OFF", "points"),
    (b"\x93NUMPY", "array file"),
)
_SUFFIXES = {
    "audio": "wav flac ogg oga mp3 aif aiff opus m4a aac",
    "video": "mp4 m4v avi mov mkv webm mpg mpeg 3gp",
    "points": "ply off obj stl xyz",
    "array file": "npy",
}
_KIND_OF_SUFFIX = {suffix: kind for kind, known in _SUFFIXES.items() for suffix in known.split()}
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNREAD = frozenset(
    [
        "heic",
        "heif",
        "hif",
        "dcm",
        "dicom",
        "svg",
        "svgz",
        "pdf",
        "eps",
        "ai",
        "wma",
        "amr",
        "ac3",
        "mid",
        "midi",
        "ra",
        "caf",
        "wmv",
        "flv",
        "ts",
        "m2ts",
        "vob",
        "ogv",
        "rm",
        "raw",
        "dng",
        "cr2",
        "cr3",
        "nef",
        "arw",
        "orf",
        "rw2",
        "psd",
        "xcf",
        "nii",
        "doc",
        "docx",
        "odt",
        "rtf",
        "ppt",
        "pptx",
        "las",
        "laz",
        "e57",
        "pcd",
        "fbx",
        "glb",
        "gltf",
        "usdz",
        "step",
        "stp",
    ]
)
"""Endings of media and documents that no kind reads, nor Pillow as it is installed."""
_STILL_BRANDS = (b"avif", b"avis", b"heic", b"mif1")
_LISTS = (list, tuple, np.ndarray)
_FLOAT_DIGITS = 308
NUMBERS = (int, float, np.number, Decimal, Fraction)
"""The types of numbers that a cell, a list or a record may hold."""
TIME_KEYS = ("time", "times", "t")
"""What the times of a series in a record may be called."""


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


def media_kind(cell: str | bytes) -> str | None:
    """`image`, `audio`, `video` or `points` by the first bytes or the ending of a path; else `None`.

    A `.npy` file may hold any of them, and is an `array file`.
    """
    if isinstance(cell, str):
        suffix = _suffix(cell)
        return _KIND_OF_SUFFIX.get(suffix) or ("image" if suffix in _picture_suffixes() else None)
    if cell[:4] == b"RIFF":
        return {b"WAVE": "audio", b"WEBP": "image", b"AVI ": "video"}.get(cell[8:12])
    if cell[:4] == b"FORM" and cell[8:11] == b"AIF":
        return "audio"
    if cell[4:8] in (b"moov", b"wide", b"mdat"):
        return "video"
    if cell[:2] in (b"\xff\xf1", b"\xff\xf9") or cell[4:11] == b"ftypM4A":
        return "audio"
    if cell[4:8] == b"ftyp":
        return "image" if cell[8:12] in _STILL_BRANDS else "video"
    return next((kind for magic, kind in _MAGIC if cell.startswith(magic)), None)


def unread_ending(cell: str) -> str | None:
    """The ending of a path to a medium that no kind reads, such as `.heic`; else `None`."""
    suffix = _suffix(cell)
    return f".{suffix}" if suffix in _UNREAD and not media_kind(cell) else None


def _suffix(path: str) -> str:
    return path[-8:].rpartition(".")[2].lower() if "." in path[-8:] else ""


@cache
def _picture_suffixes() -> frozenset[str]:
    """The endings of pictures that Pillow, with the plugins that are installed, opens."""
    import PIL.Image

    known = PIL.Image.registered_extensions().items()
    return frozenset(
        e[1:] for e, form in known if form in PICTURES and (form in PIL.Image.OPEN or form == "MPO")
    )


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
