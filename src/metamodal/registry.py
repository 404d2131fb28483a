"""Names for components: one decorator, one lookup, the same door for third parties.

A package adds a component by an entry point in the group `metamodal.<room>`; it is loaded the
first time a name of that room is asked for. Components that work and beat no default by their own measurements are in
`metamodal.contrib` and come through the same door.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from metamodal.errors import MetamodalWarning, OptionError, suggestion

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """A mapping from names to the components of one room: one decorator to enter, one lookup to find.

    Learners, fusions, encoders, kinds and losses each have a registry in `metamodal.extend`. A package enters
    components by entry points in the group `metamodal.<room>`, which are loaded at the first lookup of an unknown
    name. Iteration gives the names in alphabetic order.

    Args:
        contrib: the module of `metamodal.contrib` that has more components of this room.

    >>> shapes = Registry[type]("shape")
    >>> @shapes.register("square")
    ... class Square: ...
    >>> shapes["square"] is Square, list(shapes)
    (True, ['square'])

    Attributes:
        room: what it holds, in the singular, as messages and entry points name it.
        named: settings of components by a name of their own, such as `anil`.
        packages: package and version of each component that came by an entry point.

    Raises:
        OptionError: a name that is not there, with the nearest one; a name that is registered twice.
    """

    def __init__(self, room: str, contrib: str | None = None) -> None:
        self.room, self._contrib = room, contrib
        self._items: dict[str, T] = {}
        self.named: dict[str, dict[str, Any]] = {}
        self.packages: dict[str, str] = {}
        self._plugins_loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that enters a component under `name`; a taken name is an error."""

        def enter(item: T) -> T:
            if self._items.get(name, item) is not item:
                raise OptionError(f"{self.room} {name!r} is registered twice. Rename one of the two.")
            self._items[name] = item
            return item

        return enter

    def name(self, name: str, **record: Any) -> None:
        """Enter a setting of a component, a record with `kind`, under a name of its own."""
        self.named[name] = record

    def __getitem__(self, name: str) -> T:
        if name not in self._items:
            self._load_plugins()
        if name not in self._items:
            raise OptionError(
                f"{self.room}: there is no {name!r}. {suggestion(name, [*self._items, *self.named])}"
            )
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        self._load_plugins()
        return iter(sorted(self._items))

    def __contains__(self, name: object) -> bool:
        self._load_plugins()
        return name in self._items

    def _load_plugins(self) -> None:
        if self._plugins_loaded:
            return
        self._plugins_loaded = True
        if self._contrib:
            import_module(f"metamodal.contrib.{self._contrib}")
        for entry in entry_points(group=f"metamodal.{self.room}"):
            package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
            try:
                self.register(entry.name)(entry.load())
            except Exception as error:  # whatever another package does must not stop this one
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                message = f"{self.room} {entry.name!r} of {package} cannot be loaded ({reason}). Fix or uninstall it."
                warnings.warn(message, MetamodalWarning, stacklevel=3)
            else:
                self.packages[entry.name] = package
