"""Where computed things are kept between runs: a folder, and vectors in it by the content they are of."""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from metamodal.data.features.digests import DIGEST

__all__ = ["FeatureStore", "cache_folder", "feature_store"]

_ENTRY = np.dtype([("digest", DIGEST), ("check", "<u8")])
_SMALL = 4096  # vectors; segments of fewer are merged when there are many
_MOST_SMALL = 16
_TRIES = 8  # to read what another is merging


def cache_folder() -> Path:
    """METAMODAL_CACHE, else `metamodal` under XDG_CACHE_HOME or ~/.cache. May be deleted at any time."""
    if own := os.environ.get("METAMODAL_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    # A user without a home leaves "~" as it is. Nothing can be kept under devnull, and nothing is.
    return Path(shared if os.path.isabs(shared) else os.devnull, "metamodal")


class FeatureStore:
    """Vectors of one width on disk, found by the digest of the cell they were computed from.

    A store is a folder of segments, each a pair of `.npy` files: digests in order, each with a checksum of
    its vector, and the vectors beside them, which are memory-mapped, so that a store larger than memory serves
    as well. A vector whose checksum differs, or that is not finite, is not there: it is computed again. A segment
    appears whole or not at all and is never changed; small ones are merged into one. Several threads and
    processes may read and write at once, at worst computing a vector twice. Where nothing can be
    written, nothing is kept.
    """

    def __init__(self, identity: str, folder: Path | None = None) -> None:
        """`identity` names what computes the vectors: another identity, another store."""
        self.folder = (folder or cache_folder()) / "features" / identity
        self._lock = threading.RLock()
        self._index: dict[Path, np.ndarray] = {}
        self._places: dict[bytes, tuple[Path, int]] = {}

    def get(self, digests: Sequence[bytes]) -> list[np.ndarray | None]:
        """The vector kept for each digest, `None` where there is none that can be trusted."""
        found: list[np.ndarray | None] = [None] * len(digests)
        rest = list(range(len(digests)))
        for _ in range(_TRIES):
            rest = self._read(digests, rest, found)
            if not rest:
                break
        return found

    def _read(self, digests: Sequence[bytes], rest: list[int], found: list[np.ndarray | None]) -> list[int]:
        """Fill in what is `found`; where a segment was merged away before it was opened: ask again."""
        with self._lock:
            self._refresh()
            places = {i: self._places.get(_key(digests[i])) for i in rest}
            index = dict(self._index)
        opened: dict[Path, np.ndarray | None] = {}
        again = []
        for i, place in places.items():
            if place is None:
                continue
            path, row = place
            if path not in opened:
                opened[path] = _loaded(_vectors_of(path), mapped=True)
            held = opened[path]
            if held is not None and _is_sound(held, row, index[path][row]):
                found[i] = np.array(held[row])
            elif not path.exists():
                again.append(i)
            else:
                with self._lock:
                    self._places.pop(_key(digests[i]), None)
        return again

    def add(self, digests: Sequence[bytes], vectors: np.ndarray) -> None:
        """Keep these vectors `(n, width)` on disk."""
        order = list({_key(digest): i for i, digest in enumerate(digests)}.values())
        try:
            with self._lock:
                self.folder.mkdir(parents=True, exist_ok=True)
                _write_segment(
                    self.folder, [_key(digests[i]) for i in order], vectors[order].astype(np.float32)
                )
                self._refresh()
                small = [path for path, index in self._index.items() if len(index) < _SMALL]
                if len(small) > _MOST_SMALL:
                    self._merge(small)
        except OSError:
            return

    def _refresh(self) -> None:
        """Segments that appeared or went since, by whatever process."""
        paths = set(self.folder.glob("*.digests.npy")) if self.folder.is_dir() else set()
        if paths == self._index.keys():
            return
        for path in self._index.keys() - paths:
            del self._index[path]
        for path in paths - self._index.keys():
            index = _loaded(path, mapped=False)
            self._index[path] = np.zeros(0, _ENTRY) if index is None or index.dtype != _ENTRY else index
        self._places = {
            digest: (path, row)
            for path, index in self._index.items()
            for row, digest in enumerate(index["digest"].tolist())
        }

    def _merge(self, paths: list[Path]) -> None:
        """One segment in place of several; the old ones go when the new one is there."""
        known = list(dict.fromkeys(d for path in paths for d in self._index[path]["digest"].tolist()))
        kept = [(digest, vector) for digest, vector in zip(known, self.get(known)) if vector is not None]
        widths = {len(vector) for _, vector in kept}
        if kept and len(widths) == 1:
            _write_segment(self.folder, [digest for digest, _ in kept], np.stack([v for _, v in kept]))
        for path in paths:
            path.unlink(missing_ok=True)
            _vectors_of(path).unlink(missing_ok=True)
        self._refresh()


@lru_cache(maxsize=256)
def _opened(identity: str, folder: Path) -> FeatureStore:
    return FeatureStore(identity, folder)


def feature_store(identity: str) -> FeatureStore:
    """The store of an identity in the cache folder, one object a process."""
    return _opened(identity, cache_folder())


def _key(digest: bytes) -> bytes:
    """A digest as numpy gives it back, without the zeros at its end."""
    return bytes(digest).rstrip(b"\0")


def _vectors_of(path: Path) -> Path:
    return path.with_name(path.name.replace(".digests.", ".vectors."))


def _loaded(path: Path, *, mapped: bool) -> np.ndarray | None:
    """An array, or `None` where the file is gone or damaged."""
    try:
        return np.load(path, mmap_mode="r" if mapped else None)
    except Exception:  # a damaged header is parsed as Python, so anything may be raised
        return None


def _is_sound(held: np.ndarray, row: int, entry: np.void) -> bool:
    if held.ndim != 2 or held.dtype != np.float32 or row >= len(held):
        return False
    vector = np.ascontiguousarray(held[row])
    return bool(np.isfinite(vector).all()) and _checksum(bytes(entry["digest"]), vector) == int(
        entry["check"]
    )


def _checksum(digest: bytes, vector: np.ndarray) -> int:
    """Of a vector's bytes, its width and what it is the vector of."""
    of = hashlib.blake2b(digest + len(vector).to_bytes(8, "little") + vector.tobytes(), digest_size=8)
    return int.from_bytes(of.digest(), "little")


def _write_segment(folder: Path, digests: Sequence[bytes], vectors: np.ndarray) -> None:
    index = np.array([(d, _checksum(d, v)) for d, v in zip(digests, vectors)], _ENTRY)
    name = uuid.uuid4().hex[:16]
    _write(folder / f"{name}.vectors.npy", vectors)
    _write(folder / f"{name}.digests.npy", index)  # last: it makes the segment


def _write(path: Path, array: np.ndarray) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as stream:
        np.save(stream, array)
    part.replace(path)
