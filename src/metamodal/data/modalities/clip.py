"""Clips decoded to a few small frames, whatever holds them: a video file, an animation, a list."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageSequence

from metamodal.data.cells import media_kind
from metamodal.data.modalities.image import MAX_PIXELS, opened_picture, pixels_of, refusing
from metamodal.data.modalities.protocol import CellError
from metamodal.errors import OptionError

__all__ = ["KEPT_FRAMES", "MAX_FRAMES", "MAX_SECONDS", "decoded_clip", "thinned"]

MAX_SECONDS = 600
MAX_FRAMES = 36_000
"""Clips that claim more, of either, are refused before they are decoded."""
KEPT_FRAMES = 32
_KEPT_SIDE = 64
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg"
_REMEDY = "Replace the cell or leave it empty"


def decoded_clip(data: bytes) -> list[np.ndarray]:
    """At most 64 evenly spaced frames of a video file or an animated picture, 64 pixels a side at most.

    Raises:
        CellError: no clip; cut short; above the caps.
        OptionError: a video file, and PyAV is not installed.
    """
    kind = media_kind(data[:16])
    if kind == "image":
        return thinned(_animation(data))
    if kind != "video":
        raise CellError(f"not a readable clip ({len(data)} bytes): no known format. {_REMEDY}")
    _check_whole(data)
    av = _pyav()
    try:
        with av.open(
            io.BytesIO(data), container_options={"format_whitelist": _FORMATS, "protocol_whitelist": "none"}
        ) as container:
            return thinned(_frames(container))
    except CellError:
        raise
    except Exception as error:  # damaged files make the decoders raise almost anything
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
        raise CellError(f"not a readable clip ({len(data)} bytes): {reason}. {_REMEDY}") from None


def thinned(frames: Iterable[PIL.Image.Image | np.ndarray]) -> list[np.ndarray]:
    """Evenly spaced ones of the frames, 32 to 64 of a long clip, small; one after the other in memory."""
    kept: list[np.ndarray] = []
    stride = 1
    for i, frame in enumerate(frames):
        if i % stride:
            continue
        kept.append(pixels_of(frame, _KEPT_SIDE))
        if len(kept) == 2 * KEPT_FRAMES:
            kept, stride = kept[::2], 2 * stride
    if not kept:
        raise CellError(f"the clip has no frames. {_REMEDY}")
    return kept


def _animation(data: bytes) -> Iterator[PIL.Image.Image]:
    with refusing(f"{len(data)} bytes"), opened_picture(data) as picture:
        if getattr(picture, "n_frames", 1) > MAX_FRAMES:
            raise CellError(f"a clip of more than {MAX_FRAMES} frames. Cut it into parts")
        for frame in PIL.ImageSequence.Iterator(picture):
            yield frame.convert("RGB")


def _frames(container: Any) -> Iterator[PIL.Image.Image]:
    """The frames of the first video stream, of which none that the file promises may be missing."""
    if not container.streams.video:
        raise CellError(f"the file has no pictures in it. {_REMEDY}")
    stream = container.streams.video[0]
    seconds = (container.duration or 0) / 1_000_000
    width, height = stream.codec_context.width, stream.codec_context.height
    if seconds > MAX_SECONDS or stream.frames > MAX_FRAMES:
        raise CellError(
            f"a clip of {seconds:.0f} s and {stream.frames} frames is above the cap of {MAX_SECONDS} s or {MAX_FRAMES} frames. Cut it into parts"
        )
    if width * height > MAX_PIXELS:
        raise CellError(
            f"frames of {width}×{height} pixels are above the cap of {MAX_PIXELS} pixels. Shrink them"
        )
    shrink = min(1.0, _KEPT_SIDE / max(width, height, 1))
    size = {"width": max(1, round(width * shrink)), "height": max(1, round(height * shrink))}
    count, last = 0, 0.0
    for frame in container.decode(stream):
        count, last = count + 1, float(frame.time or 0.0)
        if count > MAX_FRAMES:
            raise CellError(f"a clip of more than {MAX_FRAMES} frames. Cut it into parts")
        picture = frame.reformat(**size, format="rgb24").to_ndarray()
        yield PIL.Image.fromarray(np.rot90(picture, getattr(frame, "rotation", 0) // 90))
    if count < stream.frames - max(2, stream.frames // 20):
        raise CellError(f"the clip is cut short: {count} of {stream.frames} frames are there. {_REMEDY}")
    alone = len(container.streams) == 1  # else the sound may rightly last longer
    if alone and not stream.frames and last < seconds - max(0.25, 3 / float(stream.average_rate or 25)):
        raise CellError(f"the clip is cut short: {last:.2f} of {seconds:.2f} s are there. {_REMEDY}")


def _check_whole(data: bytes) -> None:
    """Refuse a file that ends before the parts that it says it has."""
    if data[:4] == b"RIFF":
        claimed = 8 + int.from_bytes(data[4:8], "little")
    elif data[4:8] in (b"ftyp", b"moov", b"wide", b"mdat"):
        claimed = _end_of_boxes(data)
    else:
        return
    if claimed > len(data):
        raise CellError(f"the clip is cut short: {len(data)} of {claimed} bytes are there. {_REMEDY}")


def _end_of_boxes(data: bytes) -> int:
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:  # 0: up to the end of the file
            break
        at += size
    return at


def _pyav() -> ModuleType:
    try:
        import av
    except ImportError:
        raise OptionError(
            "video files are decoded by PyAV, which is not installed. Run pip install 'metamodal[video]'."
        ) from None
    return av


def picture_frames(cell: Sequence[Any] | np.ndarray, read: Any) -> list[np.ndarray]:
    """The frames of a list of pictures or of a `t × h × w [× c]` array; `read` reads one."""
    if len(cell) > MAX_FRAMES:
        raise CellError(f"a clip of {len(cell)} frames is above the cap of {MAX_FRAMES}. Cut it into parts")
    return thinned(read(frame) for frame in cell)
