"""Pictures and sounds that look alike: a perceptual hash to find them, a second look to be sure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from metamodal.data.audit.cells import PRESENT, ColumnCells
from metamodal.data.audit.signatures import grid
from metamodal.data.dataset import Dataset
from metamodal.data.features.opening import opener

__all__ = ["alike_pairs"]

_BANDS, _BITS = 4, 16
_FAR = 0.02  # distance (1 − correlation) above which two thumbnails are not looked at again
_CLOSE = 0.01  # at which they may be the same, if that is …
_RARE = 0.02  # … this small a part of how far a cell's nearest neighbour usually is
_BUCKET = 2048  # thumbnails compared with each other at a time
_SAMPLE = 500
_MOST = 2000  # pairs looked at again
_FINE = 32
_LEVELS, _MEAN = 16, 8  # of 255, by which a picture saved anew may differ at one point, and in the mean
_SPREAD = 20  # times the mean: more at one point is another drawing, not a loss spread all over


def alike_pairs(dataset: Dataset, cells: ColumnCells, left_out: set[int]) -> list[tuple[int, ...]]:
    """Pairs of positions whose contents are nearly the same, the nearest first.

    Two cells are compared if they share one of four quarters of their perceptual hash, and are alike
    if their thumbnails correlate, far more than near neighbours of this column usually do, and no part
    of them stands out when both are opened again at a larger size, in colour. So the many ones of a
    table of digits, alike by nature, are no duplicates, nor is a face that smiles one that frowns; a
    picture saved anew is.
    """
    assert cells.looks is not None
    keep = (cells.states == PRESENT) & ~cells.blank & (cells.hashes > 0)
    keep[list(left_out)] = False
    at = np.flatnonzero(keep)
    looks = _centred(cells.looks[at].astype(np.float32))
    if len(at) < 2:
        return []
    limit = min(_CLOSE, _RARE * _usual(looks))
    found: dict[tuple[int, int], float] = {}
    for bucket in _buckets(cells.hashes[at]):
        distance = 1 - looks[bucket] @ looks[bucket].T
        for i, j in np.argwhere(np.triu(distance < min(limit, _FAR), 1)):
            pair = (int(bucket[i]), int(bucket[j]))
            found[min(pair), max(pair)] = float(distance[i, j])
    nearest = sorted(found, key=lambda pair: (found[pair], pair))[:_MOST]
    pairs = [(int(at[i]), int(at[j])) for i, j in nearest]
    return [pair for pair in pairs if _still_alike(dataset, cells, pair)]


def _centred(looks: np.ndarray) -> np.ndarray:
    looks = looks - looks.mean(1, keepdims=True)
    return looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-6)


def _usual(looks: np.ndarray) -> float:
    """The median distance of a thumbnail to its nearest neighbour."""
    sample = np.linspace(0, len(looks) - 1, min(_SAMPLE, len(looks))).astype(int)
    nearest = np.full(len(sample), 2.0, np.float32)
    for start in range(0, len(looks), _BUCKET):
        distance = 1 - looks[sample] @ looks[start : start + _BUCKET].T
        own = (sample >= start) & (sample < start + _BUCKET)
        distance[own, sample[own] - start] = 2.0
        nearest = np.minimum(nearest, distance.min(1))
    return float(np.median(nearest))


def _buckets(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """Positions that share a quarter of their hash; large sets are cut, neighbours by hash together."""
    for band in range(_BANDS):
        keys = (hashes >> np.uint64(band * _BITS)) & np.uint64(2**_BITS - 1)
        order = np.lexsort((hashes, keys))
        cuts = np.flatnonzero(np.diff(keys[order])) + 1
        for bucket in np.split(order, cuts):
            for start in range(0, len(bucket), _BUCKET):
                if len(bucket) - start > 1:
                    yield bucket[start : start + _BUCKET]


def _still_alike(dataset: Dataset, cells: ColumnCells, pair: tuple[int, int]) -> bool:
    kind = str(cells.kind)
    column = dataset.frame[cells.column.name]
    squares = []
    for position in pair:
        value = opener(kind)(column.iat[position], dataset.base)
        square = grid(kind, value, _FINE, colour=True)
        if square is None:
            return False
        squares.append(square)
    difference = np.abs(squares[0] - squares[1])
    mean, most = float(difference.mean()), float(difference.max())
    return mean < _MEAN and most < max(_LEVELS, _SPREAD * mean)
