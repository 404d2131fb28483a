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
    """A frozen pretrained encoder of one kind of cells: opened cells in, vectors out.

    A sentence encoder or a vision network from a folder is one. It learns nothing of the table, so its vectors
    are cached by the content of the cell, and the column becomes an `embedding`.

    >>> import numpy as np
    >>> from metamodal.extend import Extractor
    >>> class Length:
    ...     kind, spec, identity = "text", None, "length-1"
    ...
    ...     def open(self, cell, base):
    ...         return str(cell)
    ...
    ...     def vectors(self, values):
    ...         return np.array([[len(v)] for v in values], np.float32)
    >>> isinstance(Length(), Extractor), Length().vectors(["ab", "abc"]).tolist()
    (True, [[2.0], [3.0]])

    Attributes:
        kind: the kind of the cells it opens.
        spec: how a YAML file or an artifact names it; `None` for an object that only this process has.
        identity: equal where equal cells give equal vectors; `None` if that cannot be known, and nothing is cached.
    """

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
    """An `Extractor` whose network can be trained further with the model (`model.tune`).

    The table then holds prepared cells instead of vectors, the network becomes the encoder of its modality, and its
    weights are saved in the artifact. Its parameters have the learning rate of pretrained networks.

    >>> from metamodal.extend import Extractor, Tunable
    >>> Extractor in Tunable.__mro__
    True
    >>> sorted({"prepare", "network"} & set(dir(Tunable)))
    ['network', 'prepare']

    `prepare` gives floats of one shape whatever the cells; `network` gives a copy, so that two models never share
    weights.
    """

    def prepare(self, values: Sequence[Any]) -> Tensor:
        """Opened cells as the network's input `(n, *shape)`, floats of one shape whatever the cells."""
        ...

    def network(self) -> nn.Module:
        """A copy of the network, from prepared cells to `(n, width)`."""
        ...


def open_cell(kind: str, cell: Any, base: Path) -> Any:
    """A cell as its kind reads it, in the size that networks take."""
    return (capabilities_of(kind).read_large or modalities[kind].read)(cell, base)
