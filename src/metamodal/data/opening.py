"""One raw cell read as its kind reads it, with what the whole column has a say in."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metamodal.data.limits import limits as caps_here
from metamodal.data.limits import within
from metamodal.data.modalities import modalities
from metamodal.data.modalities.protocol import CellError
from metamodal.data.modalities.tabular import infinite
from metamodal.data.unreadable import Unreadable
from metamodal.errors import MetamodalError

__all__ = ["opener"]

# A cell is read, or refused with a reason: Pillow's warnings say nothing more. Filters belong to the whole
# process, so this one is set once and not around calls, which would change it under other threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


def opener(kind: str, limits: frozenset[str] = frozenset()) -> Callable[[Any, Path], Any]:
    """What reads a kind's cells: `(cell, base) -> value`, or `CellError`.

    Whatever a cell is, reading it gives a value or a `CellError`. A cell may be a call that gives the cell:
    the neighbourhood of an entity is looked up when it is read.

    Args:
        limits: columns of numbers that may be infinite, in records of scalars.
    """
    read = modalities[kind].read
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
        if kind == "tabular":
            for name, number in value.items():
                if isinstance(number, float) and math.isinf(number) and name not in limits:
                    raise infinite(name, number)
        return value

    return opened
