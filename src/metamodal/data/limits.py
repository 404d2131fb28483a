"""How much a single cell may claim of memory: caps that a small file cannot get round."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from pydantic import Field

from metamodal.options import Options

__all__ = ["Limits", "alone", "limits", "within"]


class Limits(Options):
    """Caps on what one cell decodes to. A cell above one of them is unreadable, with the cap in its message.

    Caps multiply what a header claims (rate × seconds × channels, pixels × frames) and are checked before
    anything is decoded.
    """

    bytes: int = Field(256 << 20, gt=0, description="of a file, or of a cell once its table is decompressed")
    pixels: int = Field(64_000_000, gt=0, description="of a picture")
    frame_pixels: int = Field(16_777_216, gt=0, description="of one frame of a clip or an animation")
    clip_pixels: int = Field(1 << 36, gt=0, description="of all frames of a clip or an animation together")
    frames: int = Field(36_000, gt=0, description="of a clip or an animation")
    seconds: int = Field(600, gt=0, description="of a sound or a clip")
    samples: int = Field(32_000_000, gt=0, description="of one channel of a sound")
    channel_samples: int = Field(256_000_000, gt=0, description="of all channels of a sound together")
    characters: int = Field(10_000_000, gt=0, description="of a text")
    json_characters: int = Field(32_000_000, gt=0, description="of a list or record written as JSON")
    point_numbers: int = Field(16_000_000, gt=0, description="points × columns of a cloud")
    mesh_bytes: int = Field(32 << 20, gt=0, description="of a PLY, OFF, OBJ or STL file")
    step_numbers: int = Field(16_000_000, gt=0, description="steps × channels of a series")
    nodes: int = Field(100_000, gt=0, description="of a graph")
    edges: int = Field(2_000_000, gt=0, description="of a graph")
    rows: int = Field(10_000_000, gt=0, description="of a table that is held in memory")


_DEFAULT = Limits()
_CURRENT: ContextVar[Limits] = ContextVar("limits", default=_DEFAULT)
_LARGE = 32 << 20
_ONE_AT_A_TIME = threading.RLock()


def limits() -> Limits:
    """The caps that hold here.

    >>> limits().seconds
    600
    """
    return _CURRENT.get()


@contextmanager
def within(caps: Limits | None) -> Iterator[None]:
    """Other caps inside the block, in this thread and in those that read cells for it; `None` changes none.

    >>> with within(Limits(seconds=3600)):
    ...     limits().seconds
    3600
    """
    token = _CURRENT.set(caps or limits())
    try:
        yield
    finally:
        _CURRENT.reset(token)


def alone(size: int) -> AbstractContextManager[object]:
    """Holds a lock while a cell of `size` decoded bytes is read, if that is large.

    Cells are read in several threads; of large ones no two are in memory half-read at once.
    """
    return _ONE_AT_A_TIME if size > _LARGE else nullcontext()
