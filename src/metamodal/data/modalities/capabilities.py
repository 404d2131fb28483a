"""What a kind's cells are capable of, for all that treats kinds differently: each kind declares its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import PIL.Image

from metamodal.data.modalities.protocol import modalities

__all__ = ["Capabilities", "OptionalReader", "capabilities_of"]


class OptionalReader(NamedTuple):
    """A package that reads some of a kind's files: the extra that brings it, which files, what is read without."""

    package: str
    extra: str
    files: str
    without: str


@dataclass(frozen=True)
class Capabilities:
    """What the cells of a kind are like: a class attribute `capabilities` of the kind, with these defaults.

    The reader, the audit and the encoders ask it and never the kind's name, so a kind from another package is
    treated like a built-in one. A kind whose cells name files, as pictures do, declares `files=True`; its cells
    are then resolved against the table's folder.

    >>> from metamodal.extend import Capabilities, modalities
    >>> modalities["image"].capabilities.files, modalities["text"].capabilities.describes
    (True, True)
    >>> Capabilities(files=True, threaded=True).strings
    False

    Attributes:
        threaded: `read` spends its time in decoders that let other threads run.
        files: a cell that is a string or a record names a file.
        scalars: a cell is a record of scalars, and several columns of them are one modality.
        strings: a string is a value by itself, and may be an id or a word for an empty cell.
        entities: a string names an entity, whose neighbourhood is looked up in triples.
        describes: a cell can describe a class.
        recorded: two equal cells are one recording twice, never equal by chance.
        counted: what every cell of a column has as many of, in words; empty where that may differ.
        key: of a read cell, equal for two that differ in writing alone.
        picture: a read cell as a picture, of mode RGB where colours count, by which cells that look alike are found.
        check: raises `CellError` for a read cell that the column, with the names of numbers that may be infinite, excludes.
        read_large: as `read`, in the size that pretrained networks take.
        reader: a package that some of the files need.
    """

    threaded: bool = False
    files: bool = False
    scalars: bool = False
    strings: bool = False
    entities: bool = False
    describes: bool = False
    recorded: bool = False
    counted: str = ""
    key: Callable[[Any], Any] | None = None
    picture: Callable[[Any], PIL.Image.Image | None] | None = None
    check: Callable[[Any, frozenset[str]], None] | None = None
    read_large: Callable[[Any, Path], Any] | None = None
    reader: OptionalReader | None = None

    @property
    def prose(self) -> bool:
        """Whether a cell is a text: a string that is no scalar."""
        return self.strings and not self.scalars


_PLAIN = Capabilities()


def capabilities_of(kind: str | None) -> Capabilities:
    """The capabilities of a kind by its name; the defaults for one that is not registered."""
    return (
        getattr(modalities[kind], "capabilities", _PLAIN)
        if kind is not None and kind in modalities
        else _PLAIN
    )
