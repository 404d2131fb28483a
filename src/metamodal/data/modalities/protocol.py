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
    """A cell that is there but cannot be read; the caller adds file, row and column.

    `column` names the one of a record's scalars that it is about.
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
    """What was learned of a modality's training cells. Tensors of absent cells never come here."""

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
    """A fitted modality whose tensors can be turned back into cells; not every kind's can."""

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
    """A kind: a frozen dataclass whose fields are all that training learned of the cells.

    `read` and `fit` are class-level; the rest works on a fitted value. A class attribute `capabilities`
    declares what its cells are like (`metamodal.data.modalities.capabilities.Capabilities`).
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
"""The kinds that can be read, by name."""
