"""Small workbooks written by hand, as Excel and LibreOffice do."""

from __future__ import annotations

import zipfile
from datetime import date
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATED = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def write_sheet(path: Path, rows: list[list[Any]], *, far: str = "") -> Path:
    """A workbook with one sheet, by the ending of its path; `far` is the place of one more cell in Excel's,
    and the times that one more full row is repeated in the other."""
    (_excel if path.suffix == ".xlsx" else _open_document)(path, rows, far)
    return path


def _excel(path: Path, rows: list[list[Any]], far: str) -> None:
    lines = [
        f'<row r="{i}">{"".join(_excel_cell(c, f"{chr(65 + j)}{i}") for j, c in enumerate(row))}</row>'
        for i, row in enumerate(rows, start=1)
    ]
    lines += (
        [f'<row r="{far.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")}"><c r="{far}"><v>1</v></c></row>']
        if far
        else []
    )
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" '
        f'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" '
        f'ContentType="{kind}.sheet.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{_RELATED}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATED}"><sheets><sheet name="S" sheetId="1" '
        'r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{_RELATED}/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="r2" Type="{_RELATED}/styles" '
        'Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}"><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>',
    }
    _write(path, parts)


def _excel_cell(cell: Any, place: str) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return f'<c r="{place}" t="b"><v>{int(cell)}</v></c>'
    if isinstance(cell, date):
        return f'<c r="{place}" s="1"><v>{(cell - date(1899, 12, 30)).days}</v></c>'
    if isinstance(cell, (int, float)):
        return f'<c r="{place}"><v>{cell}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t>{escape(cell)}</t></is></c>'


def _open_document(path: Path, rows: list[list[Any]], far: str) -> None:
    if far:
        rows = [*rows, [1.0]]
    lines = "".join(f"<table:table-row>{''.join(map(_open_cell, row))}</table:table-row>" for row in rows)
    if far:
        last, cell = lines.rpartition("<table:table-row>")[::2]
        cell = cell.replace("table-cell", 'table-cell table:number-columns-repeated="16384"', 1)
        lines = f'{last}<table:table-row table:number-rows-repeated="{far}">{cell}'
    names = "urn:oasis:names:tc:opendocument:xmlns"
    content = (
        f'<office:document-content xmlns:office="{names}:office:1.0" xmlns:table="{names}:table:1.0" '
        f'xmlns:text="{names}:text:1.0"><office:body><office:spreadsheet><table:table table:name="S">{lines}'
        '<table:table-row table:number-rows-repeated="1048000"><table:table-cell table:number-columns-repeated="16384"/>'
        "</table:table-row></table:table></office:spreadsheet></office:body></office:document-content>"
    )
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    manifest = (
        f'<manifest:manifest xmlns:manifest="{names}:manifest:1.0"><manifest:file-entry manifest:full-path="/" '
        f'manifest:media-type="{kind}"/></manifest:manifest>'
    )
    _write(path, {"mimetype": kind, "content.xml": content, "META-INF/manifest.xml": manifest})


def _open_cell(cell: Any) -> str:
    if cell is None:
        return "<table:table-cell/>"
    if isinstance(cell, bool):
        said = f'"boolean" office:boolean-value="{str(cell).lower()}"'
    elif isinstance(cell, date):
        said = f'"date" office:date-value="{cell.isoformat()}"'
    elif isinstance(cell, (int, float)):
        said = f'"float" office:value="{cell}"'
    else:
        said = '"string"'
    return (
        f"<table:table-cell office:value-type={said}><text:p>{escape(str(cell))}</text:p></table:table-cell>"
    )


def _write(path: Path, parts: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
