"""The cells of a row, each drawn as its kind and its column ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

from markupsafe import Markup

from metamodal.data.dataset import Dataset
from metamodal.data.features.opening import opener
from metamodal.data.features.reading import raw_cells
from metamodal.data.modalities import modalities
from metamodal.data.modalities.capabilities import capabilities_of
from metamodal.errors import DataError, MetamodalError
from metamodal.registry import Registry
from metamodal.reporting.pictures.bars import embedding_brush
from metamodal.reporting.pictures.media import clip_brush, image, sound
from metamodal.reporting.pictures.series import series_brush
from metamodal.reporting.pictures.shapes import cloud, graph_brush
from metamodal.reporting.pictures.words import captioned, pairs, words

__all__ = ["Picture", "painter", "pictures"]

_SAMPLE = 64  # cells that decide a column's scale and look

_Brush = Callable[[Any], Markup]

pictures: Registry[Callable[[Iterator[Any]], _Brush]] = Registry("picture")
"""How the cells of a kind are drawn, by the kind's name: a function of some cells of a column, which may decide its scale
and look, gives the function that draws one cell as HTML. Cells of a kind without a picture are written as text."""

pictures.register("series")(series_brush)
pictures.register("video")(clip_brush)
pictures.register("graph")(graph_brush)
pictures.register("embedding")(embedding_brush)


@pictures.register("image")
def _images(values: Iterator[Any]) -> _Brush:
    """What draws images, each as it is."""
    return image


@pictures.register("audio")
def _sounds(values: Iterator[Any]) -> _Brush:
    """What draws sounds, each as its mel spectrogram."""
    return sound


@pictures.register("points")
def _clouds(values: Iterator[Any]) -> _Brush:
    """What draws clouds of points, from the front."""
    return cloud


@pictures.register("tabular")
def _records(values: Iterator[Any]) -> _Brush:
    """What writes rows of scalars, a name and a value a line."""
    return pairs


@pictures.register("text")
def _texts(values: Iterator[Any]) -> _Brush:
    """What writes texts."""
    return words


@dataclass(frozen=True)
class Picture:
    """One cell as HTML, escaped; `state` is `present`, `absent` or `unreadable`."""

    modality: str
    kind: str
    state: str
    html: Markup


def painter(dataset: Dataset) -> Callable[[int], tuple[Picture, ...]]:
    """What draws a row, by its position: one picture for each modality of the table's schema.

    A cell that cannot be read, or whose kind this version cannot, gives a picture that says so. What
    is drawn is the cell of the table, whatever encoder a model puts it through.

    >>> import pandas as pd
    >>> from metamodal.data.dataset import read_table
    >>> pets = pd.DataFrame({"says": ["meow <3", None], "pet": ["cat", "dog"]})
    >>> draw = painter(read_table(pets, target="pet", use=["says"], kinds={"says": "text"}))
    >>> draw(0)[0].html
    Markup('<span class="words" title="meow &lt;3">meow &lt;3</span>')
    >>> draw(1)[0].state
    'absent'
    """
    columns = [_Column(dataset, name, *found) for name, found in dataset.schema.modalities.items()]
    brushes = [_brush(column) for column in columns]

    @cache
    def drawn(row: int) -> tuple[Picture, ...]:
        return tuple(_picture(column, brush, row) for column, brush in zip(columns, brushes))

    return drawn


class _Column:
    """The cells of a modality, read when they are asked for."""

    def __init__(self, dataset: Dataset, name: str, kind: str, columns: tuple[str, ...]) -> None:
        self.name, self.kind = name, kind
        self._base = dataset.base
        self._cells = raw_cells(dataset, kind, columns)
        self._read = opener(kind, dataset.schema.limits) if kind in modalities else None
        self._names = dataset.frame[columns[0]] if capabilities_of(kind).entities else None

    def __len__(self) -> int:
        return len(self._cells)

    def value(self, row: int) -> Any:
        """The read cell, `None` where it is absent; `MetamodalError` where it cannot be read."""
        if self._cells[row] is None:
            return None
        if self._read is None:
            raise DataError(f"{self.kind} cannot be read by this version")
        return self._read(self._cells[row], self._base)

    def entity(self, row: int) -> str | None:
        """What the cell names, where its value is the neighbourhood of that in a knowledge graph."""
        name = None if self._names is None else self._names.iat[row]
        return name if isinstance(name, str) else None

    def some(self) -> Iterator[Any]:
        """Readable values, spread over the table."""
        for row in range(0, len(self), max(1, len(self) // (2 * _SAMPLE))):
            try:
                value = self.value(row)
            except MetamodalError:
                continue
            if value is not None:
                yield value


def _brush(column: _Column) -> _Brush:
    """How the cells of a modality are drawn; the scale is that of the column, not of a cell."""
    kind = column.kind if column.kind in pictures else "text"
    return pictures[kind](islice(column.some(), _SAMPLE))


def _picture(column: _Column, brush: _Brush, row: int) -> Picture:
    try:
        value = column.value(row)
    except MetamodalError as error:  # also of a decoder that is not installed
        html = Markup('<span title="{}">unreadable</span>').format(error)
        return Picture(column.name, column.kind, "unreadable", html)
    if value is None:
        return Picture(column.name, column.kind, "absent", Markup())
    html, entity = brush(value), column.entity(row)
    return Picture(column.name, column.kind, "present", captioned(html, entity) if entity else html)
