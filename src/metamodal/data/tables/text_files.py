"""How a table is written as text: separator, decimal mark, encoding, words for an empty cell, said or told."""

from __future__ import annotations

import csv
import io
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd

from metamodal.data.schema.conventions import respelled
from metamodal.data.tables.table import frame_of_cells
from metamodal.errors import DataError, OptionError

__all__ = ["TextFormat", "check_text", "encoding_of", "hint", "long_cells", "separator_of"]

_LONGEST_CELL = 1 << 27  # the csv module's own limit is 128 KiB, less than a series written as JSON
_LIMIT = threading.Lock()
_readers: list[int] = []  # the limit that each open table found
_SEPARATORS = (";", "\t", "|", ",")

_NO_TEXT = (
    (
        b"PK\x03\x04",
        "an Excel or OpenDocument workbook, or another ZIP archive. Let its name end in .xlsx or .ods, or save it as CSV",
    ),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook of before 2007. Save it as CSV"),
    (b"\x1f\x8b", "compressed by gzip. Unpack it, or let its name end in .csv.gz"),
    (b"BZh", "compressed by bzip2. Unpack it"),
    (b"\xfd7zXZ", "compressed by xz. Unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd. Unpack it"),
    (b"PAR1", "Parquet. Let its name end in .parquet"),
    (b"ARROW1", "Arrow. Let its name end in .arrow"),
)


@dataclass(frozen=True)
class TextFormat:
    """How a table is written; what is not said is told from the file.

    Args:
        sep: what stands between the cells of a CSV file; `tab` for a tab.
        decimal: the decimal mark, `.` or `,`; the other one, a blank or an apostrophe may mark thousands.
        encoding: of a text file, as Python names it.
        na: words that stand for an empty cell. `nan` also means the number NaN.
    """

    sep: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    na: tuple[str, ...] = ()

    @classmethod
    def said(
        cls,
        sep: str | None = None,
        decimal: str | None = None,
        encoding: str | None = None,
        na: str | Sequence[str] | None = None,
    ) -> TextFormat:
        """A format as callers say it: one word for an empty cell, or several.

        Raises:
            OptionError: a separator or decimal mark of other than one character, an unknown encoding, a value
                that is no string.
        """
        for option, value in (("sep", sep), ("decimal", decimal), ("encoding", encoding)):
            if not isinstance(value, (str, type(None))):
                raise OptionError(f"--{option} {value!r}: no string. Give a string.")
        words = (na,) if isinstance(na, str) else () if na is None else na
        if not isinstance(words, (list, tuple, set, frozenset)) or not all(isinstance(w, str) for w in words):
            raise OptionError(f"--na {na!r}: no words. Give a string, or a list of strings.")
        sep = {"tab": "\t", "\\t": "\t"}.get(sep or "", sep)
        if sep is not None and (len(sep) != 1 or sep in '"\r\n'):
            raise OptionError(f"--sep {sep!r}: no separator. Give one character, or tab.")
        if decimal not in (None, ".", ","):
            raise OptionError(f"--decimal {decimal!r}: no decimal mark. Give . or a comma.")
        if encoding is not None and not _reads_text(encoding):
            raise OptionError(
                f"--encoding {encoding!r}: no such encoding. Give one that Python knows, such as cp1252 or latin-1."
            )
        return cls(sep, decimal, encoding, tuple(words))

    @property
    def respells(self) -> bool:
        """Whether cells have to be looked at, whatever the file."""
        return bool(self.na or self.decimal)

    def frame(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A frame of raw cells in which words for nothing are empty, and numbers have a decimal point."""
        return frame_of_cells({str(name): list(map(self._cell, cells)) for name, cells in frame.items()})

    def _cell(self, cell: Any) -> Any:
        if isinstance(cell, float):
            return None if math.isnan(cell) and "nan" in self.na else cell
        if not isinstance(cell, str):
            return cell
        if cell in self.na or cell.strip() in self.na:
            return None
        return cell if self.decimal is None else respelled(cell, self.decimal)


def _reads_text(encoding: str) -> bool:
    """Whether an encoding is known and reads the text that it writes; `undefined` and `base64` do not."""
    try:
        data = "a,b\n".encode(encoding)
        return io.TextIOWrapper(io.BytesIO(data), encoding, newline="").read() == "a,b\n"
    except (LookupError, ValueError):  # a null in its name; UnicodeError is a ValueError, too
        return False


def separator_of(sample: str, usual: str) -> str:
    """The separator of a text table: the usual one, unless another alone parts all rows alike.

    >>> separator_of("x;y\\n1,5;2\\n2,5;3\\n", ","), separator_of("x,y\\n1,a;b\\n", ",")
    (';', ',')
    """
    if _width(sample, usual) > 1 or sample[:4].lower() == "sep=":
        return usual
    widths = {s: _width(sample, s) for s in _SEPARATORS if s != usual}
    best = max(widths, key=widths.__getitem__)
    return best if widths[best] > 1 else usual


def _width(sample: str, separator: str) -> int:
    """The number of cells in every row of some text, 0 where rows differ."""
    try:
        widths = {
            len(row) for row in csv.reader(io.StringIO(sample), delimiter=separator, strict=True) if row
        }
    except csv.Error:
        return 0
    return widths.pop() if len(widths) == 1 else 0


@contextmanager
def long_cells() -> Iterator[None]:
    """Cells of up to 128 MiB inside the block.

    The csv module has one limit for the whole process and looks at it as it reads. The first table that is open
    raises it, and the last that is closed gives back what was there, unless someone else has changed it since.
    """
    with _LIMIT:
        _readers.append(csv.field_size_limit() if not _readers else _readers[0])
        csv.field_size_limit(max(_LONGEST_CELL, _readers[0]))
    try:
        yield
    finally:
        with _LIMIT:
            before = _readers.pop()
            if not _readers and csv.field_size_limit() == max(_LONGEST_CELL, before):
                csv.field_size_limit(before)


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
    "the header is one cell, 'x;y;z', in which ; separates 3. Pass --sep ';'"
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
    remedy = "Pass --sep tab" if best == "\t" else f"Pass --sep '{best}'"
    return f"the header is one cell, {cell[:40]!r}, in which {shown} separates {counts[best]}. {remedy}"
