"""What is kept of a cell once it was open: enough to tell its like, far less than the cell."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from metamodal.data.features.digests import digest
from metamodal.data.modalities.capabilities import capabilities_of
from metamodal.data.modalities.spectrogram import samples_of

__all__ = ["LOOK", "Signature", "grid", "signature"]

LOOK = 16
"""Side of the thumbnail by which pictures and sounds are compared."""
_SIDE = 32


class Signature(NamedTuple):
    """A content's digest, and of pictures and sounds a thumbnail and its perceptual hash.

    `width` is the number of channels of a series or values of a vector; `blank` says that the cell
    holds nothing but one value.
    """

    digest: int
    look: np.ndarray | None = None
    hash: int = 0
    width: int = 0
    blank: bool = False


def signature(kind: str, value: Any) -> Signature:
    """The signature of a read cell."""
    capabilities = capabilities_of(kind)
    if capabilities.picture is not None:
        square = grid(kind, value, _SIDE)
        blank = _blank(value)
        if square is None or blank:
            return Signature(_digest(value), blank=blank)
        look = square.reshape(LOOK, _SIDE // LOOK, LOOK, _SIDE // LOOK).mean((1, 3))
        return Signature(_digest(value), look.round().astype(np.uint8), _perceptual_hash(square))
    if isinstance(value, np.ndarray) and value.ndim and value.dtype.kind == "f":
        return Signature(_digest(value), width=value.shape[-1], blank=_blank(value))
    return Signature(_digest(capabilities.key(value) if capabilities.key is not None else value))


def grid(kind: str, value: Any, side: int, *, colour: bool = False) -> np.ndarray | None:
    """A read cell's picture as `side` × `side` grey values (or colours), 0 to 255; `None` of one that has none."""
    pictured = capabilities_of(kind).picture
    picture = None if pictured is None else pictured(value)
    if picture is None:
        return None
    picture = picture if colour else picture.convert("L")
    return np.asarray(picture.resize((side, side), PIL.Image.Resampling.BOX), dtype=np.float32)


def _perceptual_hash(square: np.ndarray) -> int:
    """Which of the 64 lowest frequencies (discrete cosine transform) are above their median."""
    waves = _cosines()
    low = (waves @ square @ waves.T).ravel()
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@cache
def _cosines() -> np.ndarray:
    k, n = np.arange(8)[:, None], np.arange(_SIDE)[None]
    return np.cos(np.pi * k * (2 * n + 1) / (2 * _SIDE)).astype(np.float32)


def _blank(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.size > 1 and bool((value == value.flat[0]).all())
    wave = samples_of(value)
    return wave is not None and bool((wave == wave[:1]).all())


def _digest(value: Any) -> int:
    """64 bits of a content; never 0, which stands for no content."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in fields(value)}
    return int.from_bytes(digest(value)[:8], "big") or 1
