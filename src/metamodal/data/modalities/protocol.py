"""What a kind of modality has to say for itself, and the registry of kinds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Generator, Tensor

from metamodal.errors import DataError
from metamodal.registry import Registry

__all__ = [
    "Categorical",
    "CellError",
    "Fitted",
    "Invertible",
    "Kind",
    "Modality",
    "check_scales",
    "modalities",
    "most_common",
]


class CellError(DataError):
    """A cell that is there but cannot be read; a kind raises it in `read` and `tensor`.

    Give the reason and the remedy. The caller adds file, row and column, so that the message is complete:

    >>> from metamodal.extend import CellError, DataError
    >>> str(CellError("not a colour. Write #rrggbb"))
    'not a colour. Write #rrggbb'
    >>> issubclass(CellError, DataError)
    True

    Args:
        reason: what is wrong with the cell, and what to do.
        column: the column in question, where the cell is a record of several scalars.
    """

    def __init__(self, reason: str, column: str | None = None) -> None:
        super().__init__(reason)
        self.column = column


def most_common(values: Sequence[Any], shape: Callable[[Any], Any]) -> Any:
    """The shape that most values have, the first of equally many: what the others are measured against."""
    return Counter(map(shape, values)).most_common(1)[0][0]


def check_scales(kind: str, centres: Sequence[Any], scales: Sequence[float], *sizes: int | float) -> None:
    """ValueError unless each centre has a scale of its own, which is not negative, and `sizes` are above zero."""
    if len(centres) != len(scales):
        raise ValueError(f"{kind}: {len(centres)} centres and {len(scales)} scales")
    if any(not scale >= 0 for scale in scales) or any(not size > 0 for size in sizes):
        raise ValueError(f"{kind}: a scale below zero, or a size of none")


@runtime_checkable
class Fitted(Protocol):
    """A modality after `fit`: from read cells to tensors, generic features and augmented samples.

    A fitted text knows its vocabulary, a fitted image its size. Cells that are absent never come here; their
    places in a batch are zeros.

    >>> import numpy as np
    >>> from metamodal.extend import modalities
    >>> fitted = modalities["embedding"].fit([np.array([1.0, 2.0]), np.array([3.0, 6.0])])
    >>> fitted.shape, tuple(fitted.tensor([np.array([2.0, 4.0])]).shape)
    ((2,), (1, 2))

    A fitted value is a frozen dataclass: its fields are saved with the model.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one cell's tensor."""
        ...

    def tensor(self, values: Sequence[Any]) -> Float[Tensor, "n *shape"]:
        """Read values as one tensor, or `CellError` where one does not fit what was fitted."""
        ...

    def features(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n f"]:
        """Generic features that need no training, each row of length one at most."""
        ...

    def augment(self, x: Float[Tensor, "n *shape"], generator: Generator) -> Float[Tensor, "n *shape"]:
        """The same samples as they might have come out another time: the class stays."""
        ...

    @property
    def variants(self) -> int:
        """How many symmetries (the identity included) turn a class into a new one."""
        ...

    def variant(self, x: Float[Tensor, "n *shape"], number: int) -> Float[Tensor, "n *shape"]:
        """The samples under symmetry `number`; 0 is the identity."""
        ...


@runtime_checkable
class Invertible(Protocol):
    """A fitted modality whose tensors can be turned back into cells, so that a model can have a decoder for it.

    Not every kind has such an inverse: an image or a vector has one, a bag of hashed words has not. Translation
    to a modality without one answers with the nearest cell of a table instead.

    >>> import numpy as np
    >>> from metamodal.extend import Invertible, modalities
    >>> fitted = modalities["embedding"].fit([np.array([1.0, 2.0]), np.array([3.0, 6.0])])
    >>> isinstance(fitted, Invertible)
    True
    >>> np.round(fitted.cells(fitted.tensor([np.array([2.0, 4.0])]))[0], 3).tolist()
    [2.0, 4.0]
    """

    def cells(self, x: Float[Tensor, "n *shape"]) -> list[Any]:
        """Raw cells that `read` and `tensor` would make `x` of, as near as cells can be."""
        ...


@runtime_checkable
class Categorical(Protocol):
    """A fitted modality with categories; not every kind has some."""

    def unknown(self, values: Sequence[Any]) -> dict[str, str]:
        """The categories of which these values have some and none that training knew, each with one of them."""
        ...


@runtime_checkable
class Modality(Fitted, Protocol):
    """A kind of modality: a frozen dataclass whose fields are all that training learned of the cells.

    `read` and `fit` belong to the class: a raw cell becomes a plain value, and the values of the training rows
    become a fitted dataclass. The rest works on the fitted value, see `Fitted`. Options are keyword-only
    parameters of `fit`.

    >>> from pathlib import Path
    >>> from metamodal.extend import modalities
    >>> series = modalities["series"]
    >>> value = series.read([[0.0, 1.0], [1.0, 3.0], [2.0, 5.0]], Path("."))
    >>> fitted = series.fit([value])
    >>> fitted.tensor([value]).shape[0]
    1

    A class attribute `capabilities` declares what its cells are like, see `Capabilities`. Raise `CellError` for a
    cell that is no cell of this kind; never return a substitute.
    """

    @classmethod
    def read(cls, cell: Any, base: Path) -> Any:
        """One raw cell as a plain value (arrays, strings, dicts), or `CellError`."""
        ...

    @classmethod
    def fit(cls, values: Sequence[Any]) -> Modality:
        """What has to be known of the training cells: sizes, scales, categories."""
        ...


if TYPE_CHECKING:
    Kind = type[Modality]
else:  # a protocol with properties cannot be asked about at run time
    Kind = type

modalities: Registry[Kind] = Registry("modality")
"""The kinds of modality that can be read, by name: from a raw cell to a tensor."""
