"""Clips decoded to a few small frames, whatever holds them: a video file, an animation, a list."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageSequence

from metamodal.data.limits import alone, limits
from metamodal.data.modalities.image import opened_picture, pixels_of, refusing
from metamodal.data.modalities.protocol import CellError
from metamodal.data.tables.media_types import media_kind
from metamodal.errors import OptionError

__all__ = ["KEPT_FRAMES", "decoded_clip", "thinned"]

KEPT_FRAMES = 32
_KEPT_SIDE = 64
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg"
_REMEDY = "Replace the cell or leave it empty"


def decoded_clip(data: bytes) -> list[np.ndarray]:
    """At most 64 frames, evenly spaced in time, of a video file or an animated picture, 64 pixels a side at most.

    Raises:
        CellError: no clip; cut short; above the caps.
        OptionError: a video file, and PyAV is not installed.
    """
    kind = media_kind(data[:16])
    if kind == "image":
        return _in_time(_animation(data))
    if kind != "video":
        raise CellError(f"not a readable clip ({len(data)} bytes): no known format. {_REMEDY}")
    _check_whole(data)
    av = _pyav()
    try:
        with av.open(
            io.BytesIO(data), container_options={"format_whitelist": _FORMATS, "protocol_whitelist": "none"}
        ) as container:
            return _in_time(_frames(container), _seconds(container))
    except CellError:
        raise
    except Exception as error:  # damaged files make the decoders raise almost anything
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
        raise CellError(f"not a readable clip ({len(data)} bytes): {reason}. {_REMEDY}") from None


class Shown(NamedTuple):
    """A frame and the seconds from and until which it is shown, as far as the file says."""

    start: float
    end: float
    picture: PIL.Image.Image | np.ndarray


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


def _in_time(frames: Iterable[Shown], seconds: float = 0.0) -> list[np.ndarray]:
    """The frames on show at evenly spaced moments of a clip that lasts `seconds`; of an even one, 64 at most.

    Where frames come at an even pace they are thinned as `thinned` does; else one that is shown for long
    stands for each of its moments. Small frames are held, and never more than 64.
    """
    kept: list[np.ndarray] = []
    starts: list[float] = []
    step, last, end = 0.0, -math.inf, 0.0
    for start, until, picture in frames:
        last = max(start, last + 1e-6)  # times that do not advance are damaged, and the order is right
        end = max(end, until, last)
        if starts and last - starts[-1] < step:
            continue
        kept.append(pixels_of(picture, _KEPT_SIDE))
        starts.append(last)
        if len(kept) == 2 * KEPT_FRAMES:
            step = 1.75 * (last - starts[0]) / len(kept)  # less than two frames' time of an even clip
            chosen = _apart(starts, step)
            kept, starts = [kept[i] for i in chosen], [starts[i] for i in chosen]
    if not kept:
        raise CellError(f"the clip has no frames. {_REMEDY}")
    gaps = np.diff([*starts, max(end, starts[0] + seconds)])
    usual = float(np.median(gaps))
    if gaps[:-1].max(initial=usual) <= 1.6 * usual and gaps[-1] <= 2.6 * usual:
        return kept
    moments = starts[0] + gaps.sum() * np.arange(2 * KEPT_FRAMES) / (2 * KEPT_FRAMES)
    return [kept[i] for i in (np.searchsorted(starts, moments + 1e-6, side="right") - 1)]


def _apart(starts: list[float], step: float) -> list[int]:
    """The first frame, and each that starts a step or more after the one before."""
    chosen = [0]
    for i, start in enumerate(starts):
        if start - starts[chosen[-1]] >= step:
            chosen.append(i)
    return chosen


def _animation(data: bytes) -> Iterator[Shown]:
    with refusing(f"{len(data)} bytes"), opened_picture(data) as picture:
        check_frames(picture.width, picture.height, getattr(picture, "n_frames", 1))
        start = 0.0
        with alone(4 * picture.width * picture.height):
            for frame in PIL.ImageSequence.Iterator(picture):
                end = start + float(frame.info.get("duration") or 100) / 1000
                yield Shown(start, end, frame.convert("RGB"))
                start = end


def check_frames(width: int, height: int, frames: int) -> None:
    """CellError if the frames of a clip are too many, too large, or too large together."""
    caps = limits()
    if frames > caps.frames:
        raise CellError(f"a clip of {frames} frames is above the cap of {caps.frames}. Cut it into parts")
    if width * height > caps.frame_pixels:
        raise CellError(
            f"frames of {width}×{height} pixels are above the cap of {caps.frame_pixels} pixels. Shrink them"
        )
    if width * height * frames > caps.clip_pixels:
        raise CellError(
            f"{frames} frames of {width}×{height} pixels are above the cap of {caps.clip_pixels} pixels in all. "
            "Shrink them, or cut the clip into parts"
        )


def _frames(container: Any) -> Iterator[Shown]:
    """The frames of the first video stream, of which none that the file promises may be missing."""
    if not container.streams.video:
        raise CellError(f"the file has no pictures in it. {_REMEDY}")
    stream = container.streams.video[0]
    seconds, cap = (container.duration or 0) / 1_000_000, limits().seconds
    width, height = stream.codec_context.width, stream.codec_context.height
    if seconds > cap:
        raise CellError(f"a clip of {seconds:.0f} s is above the cap of {cap} s. Cut it into parts")
    check_frames(width, height, stream.frames)
    shrink = min(1.0, _KEPT_SIDE / max(width, height, 1))
    size = {"width": max(1, round(width * shrink)), "height": max(1, round(height * shrink))}
    count, last = 0, 0.0
    for frame in container.decode(stream):
        count += 1
        last = float(frame.time) if frame.time is not None else last + 1 / float(stream.average_rate or 25)
        if last - float(stream.start_time or 0) * float(stream.time_base or 0) > cap:
            raise CellError(f"a clip of more than {cap} s. Cut it into parts")
        check_frames(frame.width, frame.height, count)  # the size may change on the way
        picture = frame.reformat(**size, format="rgb24").to_ndarray()
        yield Shown(last, last, PIL.Image.fromarray(np.rot90(picture, getattr(frame, "rotation", 0) // 90)))
    if count < stream.frames - max(2, stream.frames // 20):
        raise CellError(f"the clip is cut short: {count} of {stream.frames} frames are there. {_REMEDY}")
    alone = len(container.streams) == 1  # else the sound may rightly last longer
    if alone and not stream.frames and last < seconds - max(0.25, 3 / float(stream.average_rate or 25)):
        raise CellError(f"the clip is cut short: {last:.2f} of {seconds:.2f} s are there. {_REMEDY}")


def _seconds(container: Any) -> float:
    """How long the pictures last, as far as the file says; 0 where it does not."""
    for stream in container.streams.video:
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
    return 0.0


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
    caps = limits()
    if len(cell) > caps.frames:
        raise CellError(f"a clip of {len(cell)} frames is above the cap of {caps.frames}. Cut it into parts")
    return thinned(read(frame) for frame in cell)
