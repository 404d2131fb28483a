"""Files of every kind of media, made in memory."""

from __future__ import annotations

import io

import av
import numpy as np
import PIL.Image
import soundfile


def encoded(picture: PIL.Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def sound(samples: np.ndarray, rate: int = 8000, form: str = "WAV", subtype: str | None = None) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=form, subtype=subtype)
    return stream.getvalue()


def tone(hertz: float, seconds: float = 0.4, rate: int = 8000) -> np.ndarray:
    t = np.arange(int(seconds * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * hertz * t) * np.hanning(len(t))


def clip(frames: np.ndarray, form: str = "mp4", codec: str = "mpeg4", rate: int = 10) -> bytes:
    """A video file of `t × h × w × 3` frames; the sides must be even."""
    stream = io.BytesIO()
    with av.open(stream, "w", format=form) as container:
        track = container.add_stream(codec, rate=rate)
        track.height, track.width = frames.shape[1:3]
        track.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(track.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(track.encode())
    return stream.getvalue()


def gif(frames: np.ndarray) -> bytes:
    first, *rest = (PIL.Image.fromarray(frame) for frame in frames)
    return encoded(first, "GIF", save_all=True, append_images=rest, duration=100)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def ply(points: np.ndarray, binary: bool = True) -> bytes:
    kind = "binary_little_endian" if binary else "ascii"
    head = f"ply\nformat {kind} 1.0\nelement vertex {len(points)}\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
    if binary:
        return head.encode() + points.astype("<f4").tobytes()
    return (head + "\n".join(" ".join(f"{v:.5f}" for v in p) for p in points) + "\n").encode()


def ball_of_frames(t: int = 8, side: int = 16, across: float = 1.0, down: float = 0.0) -> np.ndarray:
    """A bright ball that moves over a dark ground, `t × side × side × 3`."""
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    frames = []
    for i in range(t):
        cx, cy = (side / 2 + d * (i - t / 2) * side / (2 * t) for d in (across, down))
        ball = 230 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 6)
        frames.append(np.repeat(ball[..., None], 3, 2).astype(np.uint8))
    return np.stack(frames)


def wheel(spokes: int, weight: float = 1.0) -> dict:
    """A graph: a hub with spokes."""
    return {
        "nodes": [[float(i == 0), float(i)] for i in range(spokes + 1)],
        "edges": [[0, i, weight] for i in range(1, spokes + 1)],
        "types": ["spoke" if i % 2 else "rim" for i in range(spokes)],
    }
