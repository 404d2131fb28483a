"""What a map between two feature spaces is, how one is fitted, and what it says of a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from metamodal.errors import DataError, OptionError
from metamodal.registry import Registry
from metamodal.types import Params

__all__ = ["AdaptingMap", "FittedMap", "Guess", "Map", "Pairs", "fit_map", "maps"]

_FEWEST = 3  # pairs: a slope, an intercept, and something left over to judge them by


class Guess(NamedTuple):
    """What a map takes `y` to be: its mean and the standard deviation about it, both `(n, g)`."""

    mean: Float[Tensor, "n g"]
    std: Float[Tensor, "n g"]


class Pairs(NamedTuple):
    """Rows of two spaces that belong together.

    `tasks` `(n)` says which task a pair is of. `loose_x` `(p, f)` and `loose_y` `(q, g)` are rows of one
    side without the other. What a map has no use for it does not look at.
    """

    x: Float[Tensor, "n f"]
    y: Float[Tensor, "n g"]
    tasks: Tensor | None = None
    loose_x: Tensor | None = None
    loose_y: Tensor | None = None


@runtime_checkable
class Map(Protocol):
    """A map between two vector spaces, `f(x) ≈ y` with its uncertainty, as two pure functions.

    Translation and retrieval use such maps beside the shared space. Ridge regression is one, `maps["linear"]`. Rows
    come standardised. A map that also has `adapt(state, x, y) -> state` corrects itself by a task's support pairs.

    >>> import torch
    >>> from metamodal.extend import Map, maps
    >>> line = maps["linear"]()
    >>> isinstance(line, Map)
    True
    >>> x = torch.linspace(-1, 1, 10)[:, None]
    >>> pairs = Pairs(x, 2 * x)
    >>> round(line.guess(line.fit(pairs, torch.Generator()), x).mean[-1].item(), 2)
    2.0

    A map is a frozen dataclass; its fields are its options.
    """

    def fit(self, pairs: Pairs, generator: Generator) -> Params:
        """Everything learned, as tensors by name."""
        ...

    def guess(self, state: Params, x: Float[Tensor, "n f"]) -> Guess:
        """What `y` is at each row."""
        ...


@runtime_checkable
class AdaptingMap(Map, Protocol):
    """A map that corrects itself by a task's support pairs."""

    def adapt(self, state: Params, x: Float[Tensor, "n f"], y: Float[Tensor, "n g"]) -> Params:
        """The state of one task."""
        ...


maps: Registry[Callable[..., Any]] = Registry("map")
"""Maps between two vector spaces by name: frozen dataclasses with `fit` and `guess`."""


@dataclass(frozen=True)
class FittedMap:
    """A map with what it learned: `FittedMap(map, state)` is the same map again.

    `state` is tensors alone, `x.…` and `y.…` the scales of the two sides.
    """

    map: Map
    state: Params

    def __call__(self, x: Float[Tensor, "n f"]) -> Guess:
        """`y` at each row, in its own unit.

        Raises:
            DataError: a value that is not finite.
        """
        _check_finite("x", x)
        mean, std = self.map.guess(self.state, self._scaled("x", x))
        scale = self.state["y.scale"]
        return Guess(mean * scale + self.state["y.mean"], std * scale)

    def adapt(self, x: Float[Tensor, "n f"], y: Float[Tensor, "n g"]) -> FittedMap:
        """The map of one task, from its support pairs; of none, the map itself.

        Raises:
            OptionError: a map that does not adapt.
        """
        if not isinstance(self.map, AdaptingMap):
            raise OptionError(f"map: {type(self.map).__name__} does not adapt to a task. Take 'adaptive'.")
        if not len(x):
            return self
        _check_pairs(x, y)
        return replace(self, state=self.map.adapt(self.state, self._scaled("x", x), self._scaled("y", y)))

    def _scaled(self, side: str, rows: Tensor) -> Tensor:
        return (rows - self.state[f"{side}.mean"]) / self.state[f"{side}.scale"]


def fit_map(map: Map, pairs: Pairs, generator: Generator) -> FittedMap:
    """A map fitted to pairs, each side standardised by all of its rows.

    >>> from metamodal.mappings.maps import maps
    >>> x = torch.arange(10.0)[:, None]
    >>> line = fit_map(maps["linear"](), Pairs(x, 3 * x + 1), torch.Generator())
    >>> [round(value, 2) for value in line(torch.tensor([[20.0]])).mean[0].tolist()]
    [61.0]

    Raises:
        DataError: a value that is not finite, sides of different lengths, fewer than three pairs.
    """
    _check_pairs(pairs.x, pairs.y)
    if len(pairs.x) < _FEWEST:
        raise DataError(f"{len(pairs.x)} pairs are too few to fit a map. Give {_FEWEST} or more.")
    state: Params = {}
    sides = {"x": (pairs.x, pairs.loose_x), "y": (pairs.y, pairs.loose_y)}
    for side, (rows, loose) in sides.items():
        if loose is not None:
            _check_finite(f"loose_{side}", loose)
            rows = torch.cat([rows, loose])
        state[f"{side}.mean"] = rows.double().mean(0).to(rows.dtype)
        scale = rows.double().std(0, correction=0)
        state[f"{side}.scale"] = torch.where(scale > 1e-12, scale, 1.0).to(rows.dtype)
    empty = FittedMap(map, state)
    scaled = pairs._replace(
        x=empty._scaled("x", pairs.x),
        y=empty._scaled("y", pairs.y),
        loose_x=None if pairs.loose_x is None else empty._scaled("x", pairs.loose_x),
        loose_y=None if pairs.loose_y is None else empty._scaled("y", pairs.loose_y),
    )
    return FittedMap(map, state | map.fit(scaled, generator))


def _check_pairs(x: Tensor, y: Tensor) -> None:
    if len(x) != len(y):
        raise DataError(f"x has {len(x)} rows and y {len(y)}: a pair is a row of both. Leave out the others.")
    _check_finite("x", x)
    _check_finite("y", y)


def _check_finite(side: str, rows: Tensor) -> None:
    bad = ~rows.isfinite()
    if bad.any():
        row, column = map(int, bad.nonzero()[0])
        value = float(rows[row, column])
        raise DataError(
            f"{side} row {row}, column {column} is {value}. Leave the row out, or fill the value."
        )
