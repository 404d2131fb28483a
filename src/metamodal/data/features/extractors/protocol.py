"""What a pretrained encoder has to say for itself: raw cells in, vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn

from metamodal.data.modalities import modalities
from metamodal.data.modalities.capabilities import capabilities_of

__all__ = ["Extractor", "Tunable", "open_cell"]


@runtime_checkable
class Extractor(Protocol):
    """A frozen encoder of one kind of cells. It learns nothing of the table."""

    @property
    def kind(self) -> str:
        """The kind of the cells it opens."""
        ...

    @property
    def spec(self) -> str | None:
        """How a YAML file or an artifact names it; `None` for an object that only this process has."""
        ...

    @property
    def identity(self) -> str | None:
        """Equal where equal cells give equal vectors; `None` if that cannot be known: nothing is kept."""
        ...

    def open(self, cell: Any, base: Path) -> Any:
        """One raw cell as `vectors` reads it, or `CellError`."""
        ...

    def vectors(self, values: Sequence[Any]) -> np.ndarray:
        """The features `(n, width)` of opened cells, float32."""
        ...


@runtime_checkable
class Tunable(Extractor, Protocol):
    """An encoder whose network can be trained further."""

    def prepare(self, values: Sequence[Any]) -> Tensor:
        """Opened cells as the network's input `(n, *shape)`, floats of one shape whatever the cells."""
        ...

    def network(self) -> nn.Module:
        """A copy of the network, from prepared cells to `(n, width)`."""
        ...


def open_cell(kind: str, cell: Any, base: Path) -> Any:
    """A cell as its kind reads it, in the size that networks take."""
    return (capabilities_of(kind).read_large or modalities[kind].read)(cell, base)
