"""What the command translate writes: a frame for a file, and the rows of a JSON document."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pandas as pd

from metamodal.data.dataset import Dataset
from metamodal.data.tables.table import frame_of_cells
from metamodal.translation import Translated

__all__ = ["translated_document", "translated_frame"]


def translated_frame(found: Translated, suffix: str) -> pd.DataFrame:
    """One row a row: the cell, how it came about, and where it was chosen the candidates with their scores.

    Bytes stay bytes in Parquet and are base64 elsewhere; what is no scalar is JSON in CSV, as it is read.
    """
    columns: dict[str, list[Any]] = {**found.columnwise(), "how": list(found.how)}
    if any(found.matches):
        columns["candidates"] = [[match.row for match in row] for row in found.matches]
        columns["scores"] = [[match.score for match in row] for row in found.matches]
    if suffix == ".parquet":
        return frame_of_cells({name: _of_one_type(cells) for name, cells in columns.items()})
    written = _plain if suffix in (".jsonl", ".ndjson") else _line
    return frame_of_cells({name: [written(cell) for cell in cells] for name, cells in columns.items()})


def translated_document(found: Translated, table: Dataset) -> list[dict[str, Any]]:
    """The same as records, each with the number of its row."""
    return [
        {
            "row": int(number),
            "how": how,
            "cell": _plain(cell),
            "candidates": [{"row": match.row, "score": match.score} for match in matches],
        }
        for number, how, cell, matches in zip(table.numbers, found.how, found.cells, found.matches)
    ]


def _of_one_type(cells: list[Any]) -> list[Any]:
    """The cells as a Parquet column: paths that were given, beside decoded bytes, make strings of all."""
    mixed = {bytes, str} <= {type(cell) for cell in cells}
    return [_plain(cell) for cell in cells] if mixed else cells


def _plain(cell: Any) -> Any:
    """A cell as JSON has it."""
    if isinstance(cell, (bytes, bytearray)):
        return base64.b64encode(cell).decode()
    if isinstance(cell, np.ndarray):
        return cell.tolist()
    if isinstance(cell, dict):
        return {name: _plain(value) for name, value in cell.items()}
    return [_plain(value) for value in cell] if isinstance(cell, (list, tuple)) else cell


def _line(cell: Any) -> Any:
    """A cell as a line of text has it."""
    plain = _plain(cell)
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, (dict, list)) else plain
