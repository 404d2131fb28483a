"""One raw cell read as its kind reads it, with what the whole column has a say in."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metamodal.data.modalities import modalities
from metamodal.data.modalities.tabular import infinite

__all__ = ["opener"]

# A cell is read, or refused with a reason: Pillow's warnings say nothing more. Filters belong to the whole
# process, so this one is set once and not around calls, which would change it under other threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


def opener(kind: str, limits: frozenset[str] = frozenset()) -> Callable[[Any, Path], Any]:
    """What reads a kind's cells: `(cell, base) -> value`, or `CellError`.

    A cell may be a call that gives the cell: the neighbourhood of an entity is looked up when it is
    read.

    Args:
        limits: columns of numbers that may be infinite, in records of scalars.
    """
    read = modalities[kind].read

    def opened(cell: Any, base: Path) -> Any:
        value = read(cell() if callable(cell) else cell, base)
        if kind == "tabular":
            for name, number in value.items():
                if isinstance(number, float) and math.isinf(number) and name not in limits:
                    raise infinite(name, number)
        return value

    return opened
