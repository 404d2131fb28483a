"""Workbooks of Excel and OpenDocument: the first sheet as records, with numbers and dates typed."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from metamodal.data.limits import limits
from metamodal.data.tables.json_values import parsed
from metamodal.errors import DataError

__all__ = ["read_workbook"]

_CELLS = 20_000_000  # of the rectangle that a sheet spans, which the reader holds as a whole
_PLACE = re.compile(rb'<(?:\w+:)?c [^>]*?r="([A-Z]{1,3})(\d{1,7})"')
_BLOCK = 1 << 20
_OVERLAP = 256  # bytes, more than a place takes


def read_workbook(file: Path | bytes, name: str) -> tuple[list[str], Iterator[tuple[int, dict[str, Any]]]]:
    """The header and the numbered rows of a workbook's first sheet; rows without any cell are left out.

    Raises:
        DataError: no readable workbook, or one that unpacks to more than the caps; `metamodal[excel]` is missing.
    """
    try:
        from python_calamine import CalamineError, load_workbook
    except ImportError:
        raise DataError(
            f"{name}: workbooks need an extra. Install it with pip install 'metamodal[excel]', or save the sheet as CSV."
        ) from None
    data = io.BytesIO(file) if isinstance(file, bytes) else file
    try:
        _check_size(data, name)
        with load_workbook(data) as book:
            rows: list[list[Any]] = book.get_sheet_by_index(0).to_python(skip_empty_area=True)
    except (
        CalamineError,
        ElementTree.ParseError,
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DataError(f"{name}: not a readable workbook ({reason}). Save it again, or as CSV.") from None
    if not rows:
        raise DataError(f"{name}: the first sheet is empty. Write the column names in its first row.")
    header = [_named(cell) for cell in rows[0]]
    while header and not header[-1] and not any(row[len(header) - 1] != "" for row in rows):
        header.pop()
    return header, _records(header, rows[1:])


def _records(header: list[str], rows: list[list[Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    filled = (row for row in rows if any(cell != "" for cell in row))
    for number, row in enumerate(filled, start=1):
        yield number, {column: _cell(cell) for column, cell in zip(header, row)}


def _named(cell: Any) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _cell(cell: Any) -> Any:
    """A cell as the other formats have it: whole numbers as such, though a sheet knows fractions alone."""
    if isinstance(cell, str):
        return parsed(cell)
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return int(cell)
    if isinstance(cell, (bool, int, float)) or hasattr(cell, "year"):
        return cell
    return str(cell)  # a time of the day, a length of time


def _check_size(data: io.BytesIO | Path, name: str) -> None:
    """DataError where a workbook unpacks to more than the caps, before any of it is held."""
    with zipfile.ZipFile(data) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > limits().bytes:
            raise DataError(
                f"{name}: unpacks to {size} bytes, above the cap of {limits().bytes}. Save it as CSV or Parquet, or raise "
                "the cap (data.limits.bytes)."
            )
        for member in archive.namelist():
            if measured := _measure(member):
                width, height = measured(archive, member)
                if width * height > _CELLS or height > limits().rows:
                    raise DataError(
                        f"{name}: {member} spans {height} rows × {width} columns, above the cap of {_CELLS} cells or "
                        f"{limits().rows} rows. Delete what stands far from the table, or save it as CSV."
                    )
    if isinstance(data, io.BytesIO):
        data.seek(0)


def _measure(member: str) -> Callable[[zipfile.ZipFile, str], tuple[int, int]] | None:
    if member == "content.xml":
        return _open_extent
    return _excel_extent if re.fullmatch(r"xl/worksheets/[^/]+\.xml", member) else None


def _open_extent(archive: zipfile.ZipFile, member: str) -> tuple[int, int]:
    """The columns and rows up to the last filled cell of the largest OpenDocument sheet, repeated ones counted."""
    width = height = most = row = columns = filled = 0
    with archive.open(member) as stream:
        for _, element in ElementTree.iterparse(stream):
            name = element.tag.rpartition("}")[2]
            if name == "table-cell":
                columns += _repeats(element, "number-columns-repeated")
                filled = columns if len(element) or len(element.attrib) > 1 else filled
            elif name == "table-row":
                row += _repeats(element, "number-rows-repeated")
                width, most = max(width, filled), row if filled else most
                columns = filled = 0
                element.clear()
            elif name == "table":
                height, most, row = max(height, most), 0, 0
                element.clear()
    return width, height


def _repeats(element: ElementTree.Element, attribute: str) -> int:
    said = next((value for name, value in element.items() if name.endswith(attribute)), "1")
    return int(said) if said.isdigit() else 1


def _excel_extent(archive: zipfile.ZipFile, member: str) -> tuple[int, int]:
    """The columns and rows up to the last cell of an Excel sheet, read block by block."""
    width = height = 0
    with archive.open(member) as stream:
        rest = b""
        while block := stream.read(_BLOCK):
            text = rest + block
            for letters, row in set(_PLACE.findall(text)):
                column = 0
                for letter in letters:
                    column = 26 * column + letter - 64
                width, height = max(width, column), max(height, int(row))
            rest = text[-_OVERLAP:]
    return width, height
