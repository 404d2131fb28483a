"""A knowledge graph: triples of head, relation and tail, and the neighbourhood of an entity."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

import numpy as np

from metamodal.data.modalities.graph import Network, hashed
from metamodal.data.modalities.protocol import CellError
from metamodal.data.tables.cells import is_absent
from metamodal.data.tables.source import open_source
from metamodal.errors import DataError, suggestion

__all__ = ["Triples", "read_triples"]

_COLUMNS = ("head", "relation", "tail")
_NODES = 16
_RELATIONS = 16
_NEAREST = 200


class Triples:
    """The edges of a knowledge graph by entity.

    >>> triples = Triples([("wing", "part_of", "bird"), ("beak", "part_of", "bird")])
    >>> triples.around("wing", frozenset()).edges.tolist()
    [[0, 1], [2, 1]]
    """

    def __init__(self, rows: list[tuple[str, str, str]], name: str = "triples") -> None:
        self.name = name
        self._links: dict[str, dict[str, list[int]]] = {}
        for head, relation, tail in rows:
            place = hashed(relation, _RELATIONS)
            self._links.setdefault(head, {}).setdefault(tail, []).append(place)
            self._links.setdefault(tail, {}).setdefault(head, []).append(_RELATIONS + place)
        self._degree = {node: sum(map(len, links.values())) for node, links in self._links.items()}
        self._order: dict[str, list[str]] = {}

    @property
    def entities(self) -> Set[str]:
        return self._links.keys()

    def around(self, entity: str, avoid: frozenset[str]) -> Network:
        """The neighbourhood of an entity: itself first, then up to 15 entities one or two steps off.

        Those with the most edges to the entity come first, then the best connected, then by name. A
        node's features are 1 for the entity itself, and how many relations of each type go out of it
        and come into it, hashed to 16 places each, as logarithms: relations never met have a place.
        Edges between the entity and one in `avoid` are left out everywhere: they are the answer.

        Raises:
            CellError: no triple names the entity.
        """
        if entity not in self._links:
            near = suggestion(entity, sorted(self._links, key=lambda e: abs(len(e) - len(entity)))[:_NEAREST])
            hint = near.rstrip(".") if near.startswith("Did") else "Add its triples, or leave the cell empty"
            raise CellError(f"{entity!r} is no entity of {self.name}. {hint}")
        hidden = avoid - {entity}
        first = [n for n in self._neighbours(entity) if n not in hidden]
        nodes = dict.fromkeys([entity, *first[: _NODES - 1]])
        for neighbour in first:
            if len(nodes) >= _NODES:
                break
            second = [n for n in self._neighbours(neighbour) if n not in nodes]
            nodes |= dict.fromkeys(second[: _NODES - len(nodes)])
        edges = [
            (i, j)
            for i, node in enumerate(nodes)
            for j, other in enumerate(nodes)
            if not (entity in (node, other) and (node in hidden or other in hidden))
            for place in self._links[node].get(other, ())
            if place < _RELATIONS
        ]
        features = np.stack([self._features(node, entity, hidden) for node in nodes])
        ends = np.array(edges, dtype=np.int64).reshape(-1, 2)
        return Network(len(nodes), features, None, ends, np.ones(len(ends)), None, centre=0)

    def _neighbours(self, node: str) -> list[str]:
        if node not in self._order:
            links = self._links[node]
            keys = ((-len(links[other]), -self._degree[other], other) for other in links if other != node)
            self._order[node] = [other for _, _, other in sorted(keys)]
        return self._order[node]

    def _features(self, node: str, entity: str, hidden: frozenset[str]) -> np.ndarray:
        links = self._links[node]
        out = hidden if node == entity else frozenset([entity]) if node in hidden else frozenset()
        places = [place for other, found in links.items() if other not in out for place in found]
        counts = np.bincount(places, minlength=2 * _RELATIONS)
        return np.concatenate([[float(node == entity)], np.log1p(counts)]).astype(np.float32)


def read_triples(source: str | Path, base: Path) -> Triples:
    """The triples of a table with columns head, relation and tail; of its train rows, if it has a split.

    A path that is not found from the working folder is looked for beside the table, in `base`.

    Raises:
        DataError: no such file, a column or a cell is missing, no train rows.
    """
    path = Path(source)
    opened = open_source(path if path.exists() or not (base / path).exists() else base / path)
    frame, name = opened.whole().frame, opened.name
    for column in _COLUMNS:
        if column not in frame.columns:
            raise DataError(f"{name}: triples need a column {column!r}. {suggestion(column, frame.columns)}")
    if "split" in frame.columns:
        frame = frame[frame["split"] == "train"]
        if not len(frame):
            raise DataError(f"{name}: no row of the split is 'train'. Mark the triples that may be known so.")
    for column in _COLUMNS:
        empty = [i for i, cell in zip(frame.index, frame[column]) if is_absent(cell)]
        if empty:
            raise DataError(
                f"{name} row {empty[0] + 1}, column {column}: the cell is empty. Fill it or drop the row."
            )
    rows = zip(*(map(str, frame[column]) for column in _COLUMNS))
    return Triples(list(rows), name)
