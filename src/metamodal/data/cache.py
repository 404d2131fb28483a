"""Where computed things are kept between runs: a folder, and vectors in it by the content they are of."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import numpy as np

from metamodal.data.digests import DIGEST

__all__ = ["FeatureStore", "cache_folder"]


def cache_folder() -> Path:
    """METAMODAL_CACHE, else `metamodal` under XDG_CACHE_HOME or ~/.cache. May be deleted at any time."""
    if own := os.environ.get("METAMODAL_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    # A user without a home leaves "~" as it is. Nothing can be kept under devnull, and nothing is.
    return Path(shared if os.path.isabs(shared) else os.devnull, "metamodal")


class FeatureStore:
    """Vectors of one width on disk, found by the digest of the cell they were computed from.

    A store is a folder of segments, each a pair of `.npy` files: digests in order, and the vectors
    beside them, which are memory-mapped, so that a store larger than memory serves as well. A segment
    appears whole or not at all and is never changed: several processes may read and write at once, at
    worst computing a vector twice. Where nothing can be written, nothing is kept. What is added is
    found by the next object of the same identity.
    """

    def __init__(self, identity: str, folder: Path | None = None) -> None:
        """`identity` names what computes the vectors: another identity, another store."""
        self.folder = (folder or cache_folder()) / "features" / identity
        self._segments: list[Path] = []
        digests, places = [np.zeros(0, DIGEST)], [np.zeros((0, 2), np.int64)]
        for path in sorted(self.folder.glob("*.digests.npy")) if self.folder.is_dir() else []:
            vectors = path.with_name(path.name.replace(".digests.", ".vectors."))
            try:
                held = np.load(path)
                if held.dtype != DIGEST or len(held) != len(np.load(vectors, mmap_mode="r")):
                    continue
            except (OSError, ValueError):  # damaged: its vectors are computed again
                continue
            digests.append(held)
            places.append(np.stack([np.full(len(held), len(self._segments)), np.arange(len(held))], 1))
            self._segments.append(vectors)
        self._digests, first = np.unique(np.concatenate(digests), return_index=True)
        self._places = np.concatenate(places)[first]

    def __len__(self) -> int:
        return len(self._digests)

    def find(self, digests: np.ndarray) -> np.ndarray:
        """The place of each digest in the store, -1 where it is not."""
        if not len(self._digests):
            return np.full(len(digests), -1)
        at = np.searchsorted(self._digests, digests).clip(max=len(self._digests) - 1)
        return np.where(self._digests[at] == digests, at, -1)

    def take(self, places: np.ndarray) -> np.ndarray:
        """The vectors at one or more places that `find` gave, as `(n, width)`."""
        at = self._places[places]
        vectors: np.ndarray | None = None
        for number in np.unique(at[:, 0]):
            segment = np.load(self._segments[number], mmap_mode="r")
            if vectors is None:
                vectors = np.empty((len(at), segment.shape[1]), np.float32)
            chosen = at[:, 0] == number
            vectors[chosen] = segment[at[chosen, 1]]
        assert vectors is not None
        return vectors

    def add(self, digests: np.ndarray, vectors: np.ndarray) -> None:
        """Keep these vectors `(n, width)` on disk."""
        _, order = np.unique(digests, return_index=True)
        name = uuid.uuid4().hex[:16]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self.folder / f"{name}.vectors.npy", vectors[order].astype(np.float32))
            _write(self.folder / f"{name}.digests.npy", digests[order])  # last: it makes the segment
        except OSError:
            return


def _write(path: Path, array: np.ndarray) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as stream:
        np.save(stream, array)
    part.replace(path)
