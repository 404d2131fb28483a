"""One raw cell read as its kind reads it, with what the whole column has a say in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from metamodal.data.limits import limits as caps_here
from metamodal.data.limits import within
from metamodal.data.modalities import modalities
from metamodal.data.modalities.capabilities import capabilities_of
from metamodal.data.modalities.protocol import CellError
from metamodal.data.tables.cells import is_absent
from metamodal.data.tables.unreadable import Unreadable
from metamodal.errors import MetamodalError

__all__ = ["opener", "readable_part"]

# What Pillow warns of (a palette, damaged EXIF data) is not silenced here: filters belong to the whole process, `catch_warnings`
# would change them under the other threads that read cells, and what the user filters is the user's to choose.


def opener(kind: str, limits: frozenset[str] = frozenset()) -> Callable[[Any, Path], Any]:
    """What reads a kind's cells: `(cell, base) -> value`, or `CellError`.

    Whatever a cell is, reading it gives a value or a `CellError`. A cell may be a call that gives the cell:
    the neighbourhood of an entity is looked up when it is read.

    Args:
        limits: columns of numbers that may be infinite, in records of scalars.
    """
    read, check = modalities[kind].read, capabilities_of(kind).check
    caps = caps_here()  # threads that call `opened` have none of their own

    def opened(cell: Any, base: Path) -> Any:
        if isinstance(cell, Unreadable):
            raise CellError(f"the cell {cell.reason}")
        try:
            with within(caps):
                value = read(cell() if callable(cell) else cell, base)
        except (CellError, MetamodalError):
            raise
        except Exception as error:  # no cell may end a run, whatever a decoder makes of it
            reason = (str(error).splitlines() or [""])[0].rstrip(".")
            raise CellError(f"it is no {kind} ({type(error).__name__}: {reason}). Fix the cell") from error
        if check is not None:
            check(value, limits)
        return value

    return opened


def readable_part(read: Callable[[Any], Any], cell: Any, failed: Callable[[CellError], None]) -> Any:
    """What is read of a cell, `None` of one that cannot be; of a record of scalars, what can be read of it.

    Args:
        failed: receives what cannot be read, or raises it.
    """
    while cell is not None:
        try:
            return read(cell)
        except CellError as error:
            failed(error)
            cell = _without(cell, error.column)
    return None


def _without(cell: Any, column: str | None) -> Any:
    """A record less one of its scalars; `None` where nothing is left, or the cell is no such record."""
    if not isinstance(cell, dict) or cell.get(column) is None:
        return None
    rest = {name: value for name, value in cell.items() if name != column}
    return None if all(map(is_absent, rest.values())) else rest
