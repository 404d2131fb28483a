"""What a text table is written in, told from its first bytes: separator, encoding, or no text at all."""

from __future__ import annotations

import csv

from metamodal.errors import DataError

__all__ = ["check_text", "encoding_of", "hint"]

_NO_TEXT = (
    (b"PK\x03\x04", "an Excel or OpenDocument workbook, or another ZIP archive. Save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook of before 2007. Save it as CSV"),
    (b"\x1f\x8b", "compressed by gzip. Unpack it"),
    (b"BZh", "compressed by bzip2. Unpack it"),
    (b"\xfd7zXZ", "compressed by xz. Unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd. Unpack it"),
    (b"PAR1", "Parquet. Let its name end in .parquet"),
    (b"ARROW1", "Arrow. Let its name end in .arrow"),
)


def check_text(start: bytes, name: str) -> None:
    """DataError where a file is no text, by its first bytes."""
    for magic, what in _NO_TEXT:
        if start.startswith(magic):
            raise DataError(f"{name}: not CSV, but {what}.")


def encoding_of(start: bytes) -> str:
    """UTF-16 where the byte order mark says so, else UTF-8 with or without one."""
    return "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def hint(header: list[str], separator: str) -> str | None:
    """What to do about a header in one cell that another separator would part.

    >>> hint(["x;y;z"], ",")
    "the header is one cell, 'x;y;z', in which ; separates 3. Save the file with commas"
    """
    if len(header) != 1:
        return None
    cell = header[0]
    counts = {
        s: len(next(csv.reader([cell], delimiter=s), [])) for s in (";", "\t", "|", ",") if s != separator
    }
    best = max(counts, key=counts.__getitem__)
    if counts[best] < 2:
        return None
    shown = "a tab" if best == "\t" else best
    remedy = "Let its name end in .tsv" if best == "\t" else "Save the file with commas"
    return f"the header is one cell, {cell[:40]!r}, in which {shown} separates {counts[best]}. {remedy}"
