"""A knowledge graph: triples of head, relation and tail, and the neighbourhood of an entity."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from metamodal.data.cells import is_absent
from metamodal.data.modalities.graph import Network, hashed
from metamodal.data.modalities.protocol import CellError
from metamodal.data.source import open_source
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
        self.outgoing: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.incoming: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for head, relation, tail in rows:
            self.outgoing[head].append((relation, tail))
            self.incoming[tail].append((relation, head))
        self.entities = self.outgoing.keys() | self.incoming.keys()

    def around(self, entity: str, avoid: frozenset[str]) -> Network:
        """The neighbourhood of an entity: itself first, then up to 15 entities one or two steps off.

        Those with the most edges to the entity come first, then the best connected, then by name. A
        node's features are 1 for the entity itself, and how many relations of each type go out of it
        and come into it, hashed to 16 places each, as logarithms: relations never met have a place.
        Edges between the entity and one in `avoid` are left out everywhere: they are the answer.

        Raises:
            CellError: no triple names the entity.
        """
        if entity not in self.entities:
            near = suggestion(
                entity, sorted(self.entities, key=lambda e: abs(len(e) - len(entity)))[:_NEAREST]
            )
            hint = near.rstrip(".") if near.startswith("Did") else "Add its triples, or leave the cell empty"
            raise CellError(f"{entity!r} is no entity of {self.name}. {hint}")
        hidden = avoid - {entity}
        first = self._neighbours(entity, entity, hidden)
        nodes = [entity, *first[: _NODES - 1]]
        for neighbour in first:
            if len(nodes) >= _NODES:
                break
            second = self._neighbours(neighbour, entity, hidden)
            nodes += [n for n in second if n not in nodes][: _NODES - len(nodes)]
        place = {node: i for i, node in enumerate(nodes)}
        edges = [
            (place[node], place[tail])
            for node in nodes
            for _, tail in self.outgoing.get(node, ())
            if tail in place and not self._is_hidden(node, tail, entity, hidden)
        ]
        features = np.stack([self._features(node, entity, hidden) for node in nodes])
        ends = np.array(edges, dtype=np.int64).reshape(-1, 2)
        return Network(len(nodes), features, None, ends, np.ones(len(ends)), None, centre=0)

    def _neighbours(self, node: str, entity: str, hidden: frozenset[str]) -> list[str]:
        counts: dict[str, int] = defaultdict(int)
        for side in (self.outgoing, self.incoming):
            for _, other in side.get(node, ()):
                if other != node and not self._is_hidden(node, other, entity, hidden):
                    counts[other] += 1
        return sorted(counts, key=lambda other: (-counts[other], -self._degree(other), other))

    def _degree(self, node: str) -> int:
        return len(self.outgoing.get(node, ())) + len(self.incoming.get(node, ()))

    def _features(self, node: str, entity: str, hidden: frozenset[str]) -> np.ndarray:
        counts = np.zeros(2 * _RELATIONS, dtype=np.float32)
        for start, side in ((0, self.outgoing), (_RELATIONS, self.incoming)):
            for relation, other in side.get(node, ()):
                if not self._is_hidden(node, other, entity, hidden):
                    counts[start + hashed(relation, _RELATIONS)] += 1
        return np.concatenate([[float(node == entity)], np.log1p(counts)]).astype(np.float32)

    @staticmethod
    def _is_hidden(one: str, other: str, entity: str, hidden: frozenset[str]) -> bool:
        return (one == entity and other in hidden) or (other == entity and one in hidden)


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
