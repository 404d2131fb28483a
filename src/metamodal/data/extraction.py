"""Raw cells through an encoder: opened beside the network's work, computed once, kept by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metamodal.data.cache import FeatureStore
from metamodal.data.digests import DIGEST, digest
from metamodal.data.extractors.protocol import Extractor
from metamodal.data.modalities import Modality
from metamodal.data.modalities.files import file_bytes
from metamodal.data.modalities.protocol import CellError
from metamodal.data.opening import opener, quiet_decoders

__all__ = ["Features", "Generic", "content_of"]

_VERSION = 1  # of the features of the kinds themselves: what was kept under another is computed again
_BATCH = 32  # cells that a thread takes at a time
_KEPT = 2048  # vectors that are kept at a time
_THREADS = 2
_FILES = ("image", "audio", "video", "points")


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


@dataclass
class _Part:
    """A batch of cells on its way to vectors: those found or computed, and what is still to do."""

    vectors: list[np.ndarray | None]
    errors: list[tuple[int, CellError]] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    new: np.ndarray | None = None


class Features:
    """Vectors of raw cells by one encoder.

    What the encoder has an identity for is kept in the cache folder, by what the cell holds: a file
    that moved, a row in another table, a second run find it there.
    """

    def __init__(self, encoder: Extractor) -> None:
        self.encoder = encoder
        self.store = FeatureStore(encoder.identity) if encoder.identity else None
        self.computed = self.found = 0
        self._new: list[tuple[list[bytes], np.ndarray]] = []

    def __call__(
        self, cells: Sequence[Any], base: Path, failed: Callable[[int, CellError], None]
    ) -> list[np.ndarray | None]:
        """One vector a cell, `None` for an empty cell and for one that `failed` was told of."""
        result: list[np.ndarray | None] = []
        parts = (cells[at : at + _BATCH] for at in range(0, len(cells), _BATCH))
        with quiet_decoders(), _one_torch_thread(), ThreadPoolExecutor(_THREADS) as pool:
            for part in _ahead(pool, lambda part: self._worked(part, base), parts):
                self._finish(part)
                for i, error in part.errors:
                    failed(len(result) + i, error)
                result += part.vectors
            self._keep(0)
        return result

    def _worked(self, cells: Sequence[Any], base: Path) -> _Part:
        """A batch as far as a thread of its own may go: opened, and encoded if the encoder allows it."""
        part = _Part([None] * len(cells))
        contents: list[tuple[int, Any]] = []
        for i, cell in enumerate(cells):
            try:
                if cell is not None:
                    contents.append((i, content_of(cell, self.encoder.kind, base)))
            except CellError as error:
                part.errors.append((i, error))
        digests = np.array([digest(content) for _, content in contents], DIGEST)
        places = self.store.find(digests) if self.store is not None else np.full(len(contents), -1)
        if (places >= 0).any() and self.store is not None:
            held = np.flatnonzero(places >= 0)
            for at, vector in zip(held, self.store.take(places[held])):
                part.vectors[contents[at][0]] = vector
        for at in np.flatnonzero(places < 0):
            i, content = contents[at]
            try:
                part.values.append(self.encoder.open(content, base))
                part.places.append(i)
                part.digests.append(digests[at])
            except CellError as error:
                part.errors.append((i, error))
        part.errors.sort(key=lambda found: found[0])
        if isinstance(self.encoder, Generic):
            self._encode(part)
        return part

    def _encode(self, part: _Part) -> None:
        """Vectors of what is opened and not found; it is let go of."""
        if part.values:
            part.new = self.encoder.vectors(part.values)
            part.values = []

    def _finish(self, part: _Part) -> None:
        """What must happen in one thread."""
        self._encode(part)
        self.found += sum(v is not None for v in part.vectors)
        if part.new is None:
            return
        self.computed += len(part.places)
        for i, vector in zip(part.places, part.new):
            part.vectors[i] = vector
        if self.store is not None:
            self._new.append((part.digests, part.new))
        self._keep(_KEPT)

    def _keep(self, least: int) -> None:
        """Store what is new, if it is enough to be worth a file."""
        if self.store is not None and sum(len(digests) for digests, _ in self._new) > least:
            digests = np.array([d for part, _ in self._new for d in part], DIGEST)
            self.store.add(digests, np.concatenate([vectors for _, vectors in self._new]))
            self._new = []


def content_of(cell: Any, kind: str, base: Path) -> Any:
    """What a cell holds, whatever it is named by: a path's bytes, an entity's neighbourhood.

    Raises:
        CellError: no such file, no such entity.
    """
    cell = cell() if callable(cell) else cell
    named = isinstance(cell, (str, dict)) and kind in _FILES
    if named and not (isinstance(cell, dict) and "array" in cell):
        return file_bytes(cell, base, kind)
    return cell


def _ahead(pool: ThreadPoolExecutor, work: Callable[[Any], Any], jobs: Iterator[Any]) -> Iterator[Any]:
    """Results in order, with one job more than threads under way."""
    waiting = []
    for job in jobs:
        waiting.append(pool.submit(work, job))
        if len(waiting) > _THREADS:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """The threads here share the cores; torch's own would get in their way."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
