"""Raw cells through an encoder: opened beside the network's work, computed once, kept by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metamodal.data.cache import FeatureStore
from metamodal.data.digests import DIGEST, digest
from metamodal.data.extractors.protocol import Extractor
from metamodal.data.modalities import Modality, modalities
from metamodal.data.modalities.files import file_bytes
from metamodal.data.modalities.protocol import CellError

__all__ = ["Features", "Generic"]

_VERSION = 1  # of the features of the kinds themselves: what was kept under another is computed again
_BATCH = 256
_THREADS = 2
_FILES = ("image", "audio", "video", "points")


class Generic:
    """The training-free features of a fitted kind, as an encoder."""

    spec = None

    def __init__(self, kind: str, modality: Modality) -> None:
        self.kind, self.modality = kind, modality
        record = json.dumps([_VERSION, kind, asdict(modality)])  # type: ignore[call-overload]
        self.identity = f"{kind}-{hashlib.blake2b(record.encode(), digest_size=12).hexdigest()}"

    def open(self, cell: Any, base: Path) -> Any:
        return modalities[self.kind].read(cell, base)

    def vectors(self, values: Sequence[Any]) -> np.ndarray:
        with torch.no_grad():
            return self.modality.features(self.modality.tensor(values)).numpy()


class Features:
    """Vectors of raw cells by one encoder.

    What the encoder has an identity for is kept in the cache folder, by what the cell holds: a file
    that moved, a row in another table, a second run find it there.
    """

    def __init__(self, encoder: Extractor) -> None:
        self.encoder = encoder
        self.store = FeatureStore(encoder.identity) if encoder.identity else None
        self.computed = self.found = 0

    def __call__(
        self, cells: Sequence[Any], base: Path, failed: Callable[[int, CellError], None]
    ) -> list[np.ndarray | None]:
        """One vector a cell, `None` for an empty cell and for one that `failed` was told of."""
        result: list[np.ndarray | None] = [None] * len(cells)
        with ThreadPoolExecutor(_THREADS) as pool:
            jobs = (cells[at : at + _BATCH] for at in range(0, len(cells), _BATCH))
            ahead = _ahead(pool, lambda part: self._opened(part, base), jobs)
            for at, (places, values, digests) in zip(range(0, len(cells), _BATCH), ahead):
                self._fill(result, at, places, values, digests, failed)
        return result

    def _opened(self, cells: Sequence[Any], base: Path) -> tuple[np.ndarray, list[Any], np.ndarray]:
        """Of each cell its place in the store, its value if it has none there (or why not), its digest."""
        digests = np.zeros(len(cells), DIGEST)
        values: list[Any] = [None] * len(cells)
        for i, cell in enumerate(cells):
            try:
                if cell is not None:
                    values[i] = self._content(cell, base)
                    digests[i] = digest(values[i])
            except CellError as error:
                values[i] = error
        places = self.store.find(digests) if self.store is not None else np.full(len(cells), -1)
        for i, value in enumerate(values):
            if value is None or isinstance(value, CellError) or places[i] >= 0:
                continue
            try:
                values[i] = self.encoder.open(value, base)
            except CellError as error:
                values[i] = error
        return places, values, digests

    def _content(self, cell: Any, base: Path) -> Any:
        named = isinstance(cell, (str, dict)) and self.encoder.kind in _FILES
        if named and not (isinstance(cell, dict) and "array" in cell):
            return file_bytes(cell, base, self.encoder.kind)
        return cell

    def _fill(
        self,
        result: list[np.ndarray | None],
        at: int,
        places: np.ndarray,
        values: list[Any],
        digests: np.ndarray,
        failed: Callable[[int, CellError], None],
    ) -> None:
        there = [i for i, v in enumerate(values) if v is not None and not isinstance(v, CellError)]
        for i, value in enumerate(values):
            if isinstance(value, CellError):
                failed(at + i, value)
        held = [i for i in there if places[i] >= 0]
        if held and self.store is not None:
            for i, vector in zip(held, self.store.take(places[held])):
                result[at + i] = vector
        new = [i for i in there if places[i] < 0]
        if new:
            vectors = self.encoder.vectors([values[i] for i in new])
            for i, vector in zip(new, vectors):
                result[at + i] = vector
            if self.store is not None:
                self.store.add(digests[new], vectors)
        self.found += len(held)
        self.computed += len(new)


def _ahead(pool: ThreadPoolExecutor, work: Callable[[Any], Any], jobs: Iterator[Any]) -> Iterator[Any]:
    """Results in order, with one job more than threads under way."""
    waiting = []
    for job in jobs:
        waiting.append(pool.submit(work, job))
        if len(waiting) > _THREADS:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()
