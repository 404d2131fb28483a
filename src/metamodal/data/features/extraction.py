"""Raw cells through an encoder: opened beside the network's work, computed once, kept by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metamodal.data.features.cache import FeatureStore, feature_store
from metamodal.data.features.digests import digest
from metamodal.data.features.extractors.protocol import Extractor
from metamodal.data.features.opening import opener, readable_part
from metamodal.data.modalities import Modality
from metamodal.data.modalities.capabilities import capabilities_of
from metamodal.data.modalities.files import file_bytes
from metamodal.data.modalities.protocol import CellError
from metamodal.data.tables.unreadable import Unreadable

__all__ = ["Features", "Generic", "content_of"]

_VERSION = 1  # of the features of the kinds themselves: what was kept under another is computed again
_BATCH = 32  # cells that a thread takes at a time
_LOOKED_UP = 256
_THREADS = 2


class Generic:
    """The training-free features of a fitted kind, as an encoder."""

    spec = None

    def __init__(self, kind: str, modality: Modality, limits: frozenset[str] = frozenset()) -> None:
        self.kind, self.modality = kind, modality
        self.open = opener(kind, limits)
        record = json.dumps([_VERSION, kind, asdict(modality)])  # type: ignore[call-overload]
        self.identity = f"{kind}-{hashlib.blake2b(record.encode(), digest_size=12).hexdigest()}"

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
        self.store = feature_store(encoder.identity) if encoder.identity else None
        self.computed = self.found = 0

    def __call__(
        self, cells: Sequence[Any], base: Path, failed: Callable[[int, CellError], None]
    ) -> list[np.ndarray | None]:
        """One vector a cell, `None` for an empty cell and for one that `failed` was told of."""
        result: list[np.ndarray | None] = [None] * len(cells)
        with ThreadPoolExecutor(_THREADS) as pool:
            todo = [i for i, cell in enumerate(cells) if cell is not None]
            digests: dict[int, bytes] = {}
            if self.store is not None:
                digests = self._digests(pool, cells, base, todo, failed)
                todo = self._found(self.store, digests, result)
            self._compute(pool, cells, base, todo, digests, result, failed)
        return result

    def _digests(
        self,
        pool: ThreadPoolExecutor,
        cells: Sequence[Any],
        base: Path,
        todo: list[int],
        failed: Callable[[int, CellError], None],
    ) -> dict[int, bytes]:
        """What the cells hold, by position; a file is read here, and again if its vector is not found."""

        def told(rows: list[int]) -> list[bytes | CellError]:
            found: list[bytes | CellError] = []
            for i in rows:
                try:
                    found.append(digest(content_of(cells[i], self.encoder.kind, base)))
                except CellError as error:
                    found.append(error)
            return found

        digests: dict[int, bytes] = {}
        parts = [todo[at : at + _LOOKED_UP] for at in range(0, len(todo), _LOOKED_UP)]
        for rows, found in zip(parts, _ahead(pool, told, parts)):
            for i, each in zip(rows, found):
                if isinstance(each, CellError):
                    failed(i, each)
                else:
                    digests[i] = each
        return digests

    def _found(
        self, store: FeatureStore, digests: dict[int, bytes], result: list[np.ndarray | None]
    ) -> list[int]:
        """The positions whose vectors are not kept yet; those that are go into `result`."""
        rows = list(digests)
        missing = []
        for row, vector in zip(rows, store.get(list(digests.values()))):
            if vector is None:
                missing.append(row)
            result[row] = vector
        self.found += len(rows) - len(missing)
        return missing

    def _compute(
        self,
        pool: ThreadPoolExecutor,
        cells: Sequence[Any],
        base: Path,
        todo: list[int],
        digests: dict[int, bytes],
        result: list[np.ndarray | None],
        failed: Callable[[int, CellError], None],
    ) -> None:
        """Vectors of the cells at `todo`, into `result` and the store.

        Cells are opened in threads of their own; so are the kinds' own features computed, other
        encoders are called in this thread alone.
        """
        encoder = self.encoder
        parallel = isinstance(encoder, Generic)

        def opened(rows: list[int]) -> tuple[list[int], list[Any], list[tuple[int, CellError]]]:
            errors: list[tuple[int, CellError]] = []

            def read(read: Callable[[Any], Any], given: Iterable[tuple[int, Any]]) -> dict[int, Any]:
                found = {i: readable_part(read, c, lambda e: errors.append((i, e))) for i, c in given}  # noqa: B023
                return {i: value for i, value in found.items() if value is not None}

            values = read(lambda cell: encoder.open(cell, base), ((i, cells[i]) for i in rows))
            if not parallel or not values:
                return list(values), list(values.values()), errors
            try:
                vectors = list(encoder.vectors(list(values.values())))
            except CellError:  # one that does not fit what was fitted
                fitting = read(lambda value: encoder.vectors([value])[0], values.items())
                return list(fitting), list(fitting.values()), errors
            return list(values), vectors, errors

        done: list[int] = []
        parts = [todo[at : at + _BATCH] for at in range(0, len(todo), _BATCH)]
        for there, values, errors in _ahead(pool, opened, parts):
            for i, error in errors:
                failed(i, error)
            if there:
                for i, vector in zip(there, values if parallel else encoder.vectors(values)):
                    result[i] = vector
                done += there
        self.computed += len(done)
        if self.store is not None and done:
            vectors = np.stack([v for i in done if (v := result[i]) is not None])
            self.store.add([digests[i] for i in done], vectors)


def content_of(cell: Any, kind: str, base: Path) -> Any:
    """What a cell holds, whatever it is named by: a path's bytes, an entity's neighbourhood.

    Raises:
        CellError: no such file, no such entity.
    """
    if isinstance(cell, Unreadable):
        raise CellError(f"the cell {cell.reason}")
    cell = cell() if callable(cell) else cell
    named = isinstance(cell, (str, dict)) and capabilities_of(kind).files
    if named and not (isinstance(cell, dict) and "array" in cell):
        return file_bytes(cell, base, kind)
    return cell


def _ahead(pool: ThreadPoolExecutor, work: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Any]:
    """Results in order, with one job more than threads under way."""
    waiting = []
    for job in jobs:
        waiting.append(pool.submit(work, job))
        if len(waiting) > _THREADS:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()
