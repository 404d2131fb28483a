"""The kind of a column by the forms of all its cells, with the evidence."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from metamodal.data.schema.column_words import sounds_like_points
from metamodal.data.schema.raw_column import RawColumn
from metamodal.data.schema.string_kinds import kind_of_strings
from metamodal.data.tables.forms import FORMS, form
from metamodal.data.tables.problems import short
from metamodal.data.tasks.axis import SMOOTH, roughness
from metamodal.errors import DataError

__all__ = ["RECORDS", "kind_of_column", "quiet_kind"]

RECORDS = "records of named values"
"""The evidence for a column of them."""


def kind_of_column(column: RawColumn) -> tuple[str | None, str]:
    """Kind and evidence of a column with at least one cell; no kind where nothing is known of it.

    Raises:
        DataError: the column mixes two kinds or is of none, and nobody receives the report.
    """
    only, cells = _of_one_form(column)
    if only in ("sequence", "points", "array file") and sounds_like_points(column.name):
        return "points", f"{_evidence(only, cells)}; by its name, points"
    if only == "string":
        return kind_of_strings(column, cells)
    if only not in FORMS:
        if column.report is None:
            raise column.untold(f"cells are ({only})")
        reason = f"{only}: no kind has such cells. Pass --kind {column.name}=KIND"
        column.tell(column.report, lambda cell: reason if form(cell) == only else None)
        return None, f"cannot tell what its cells are ({only})"
    if only == "vector":
        lengths = {len(c) for c in cells}
        if len(lengths) > 1:
            return "series", f"number lists of {min(lengths)} to {max(lengths)} steps"
        return _of_one_length(column.name, cells, lengths.pop())
    return FORMS[only], _evidence(only, cells)


def quiet_kind(column: RawColumn) -> str | None:
    """The kind of a column if it has one; nobody is told of cells that do not fit."""
    try:
        return kind_of_column(replace(column, report=None))[0]
    except DataError:
        return None


def _of_one_form(column: RawColumn) -> tuple[str, list[Any]]:
    """The form of a column's cells, and those that have it; the others are reported, or an error."""
    cells = column.present
    forms = Counter(form(c) for c in cells)
    if {"number", "boolean"} <= set(forms):
        forms["number"] += forms.pop("boolean")
    usual, rare = max(forms, key=forms.__getitem__), min(forms, key=forms.__getitem__)
    if len(forms) == 1:
        return usual, cells
    if column.report is None:
        counts = " and ".join(f"{n} {f}" for f, n in forms.most_common())
        row = next(row for row, c in column.numbered() if form(c) == rare)
        raise column.mixed(row, counts, "Fix the cell, or split the column in two")
    fits = {usual, "boolean"} if usual == "number" else {usual}

    def odd(cell: Any) -> str | None:
        if (found := form(cell)) in fits:
            return None
        what = f"{short(cell)} is a {found} where {forms[usual]} cells are {usual}"
        return f"{what}. Fix the cell, or split the column in two"

    column.tell(column.report, odd)
    return usual, [c for c in cells if form(c) in fits]


def _of_one_length(name: str, cells: list[Any], length: int) -> tuple[str, str]:
    """Lists as long as each other: a series where neighbouring numbers are alike, else an embedding."""
    found = roughness(cells)
    kind, other = ("series", "embedding") if found < SMOOTH else ("embedding", "series")
    alike = f"neighbours differ {found:.2f} times as much as any two numbers do"
    return kind, f"number lists, all of length {length}; {alike}: {kind}, else pass --kind {name}={other}"


def _evidence(only: str, cells: list[Any]) -> str:
    if only in ("image", "audio", "video", "points"):
        return f"{only} by the first bytes of all {len(cells)} cells"
    if only == "array file":
        return "arrays in .npy files"
    if only == "timed":
        return "records of times and values"
    if only == "graph":
        return "records of nodes and edges"
    if only == "frames":
        return f"pictures in a row, {min(map(len, cells))} to {max(map(len, cells))} in a cell"
    if only == "sequence":
        lengths = [len(c) for c in cells]
        first = next((step for cell in cells for step in cell if step is not None), ())
        return f"lists of steps, {len(first)} values each, {min(lengths)} to {max(lengths)} steps"
    if only == "symbols":
        return "lists of symbols"
    if only == "record":
        return RECORDS
    return f"{only}s"
