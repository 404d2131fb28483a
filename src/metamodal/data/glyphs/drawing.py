"""How a letter's outline becomes a drawing of its own: jittered, traced, filled and measured.

Everything works on many drawings at once, end to end in one array.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

__all__ = ["METRICS", "Glyph", "samples"]

METRICS = ("width", "height", "advance", "ink")
_SIDE = 32  # pixels of an image
_FINE = 4  # subpixels of a pixel
_POINTS = 64  # of an outline, over all its contours
_FEWEST_POINTS = 4  # of one contour

_MOVE, _LINE, _CURVE, CLOSE = 1, 2, 3, 79  # as in matplotlib.path.Path
_ALONG = np.arange(4)[:, None] / 4  # a segment; its end starts the next one

# The frame has side 1. One scale and one baseline for all, or "o" and "O" would look the same.
_EM = 0.8
_BASELINE = 0.76
_MARGIN = 0.02


class Glyph(NamedTuple):
    """An outline as the font has it, in ems with y upward, and as matplotlib's path codes."""

    vertices: np.ndarray
    codes: np.ndarray
    advance: float


class _Lines(NamedTuple):
    """The closed contours of several drawings, end to end: numpy takes them in one go."""

    points: np.ndarray  # (p, 2)
    contours: np.ndarray  # where each begins in `points`; its last point leads back there
    drawings: np.ndarray  # where each begins in `contours`


def samples(glyphs: list[Glyph], rngs: list[np.random.Generator]) -> Iterator[dict[str, Any]]:
    lines, advances = _jittered(glyphs, rngs)
    low, high = _corners(lines)
    coverages = _coverages(lines)
    measures = np.column_stack([high - low, advances, coverages.mean(axis=(1, 2))])
    columns = (_noisy(coverages, rngs), _outlines(lines), np.round(measures, 4).tolist())
    for pixels, outline, row in zip(*columns, strict=True):
        metrics = dict(zip(METRICS, row, strict=True))
        yield {"image": _png(pixels), "outline": outline, "metrics": metrics}


def _jittered(glyphs: list[Glyph], rngs: list[np.random.Generator]) -> tuple[_Lines, np.ndarray]:
    """Contours and advances in the frame, moved as a hand and a printer would."""
    draws = np.stack([rng.uniform(-1, 1, 8) for rng in rngs], axis=1)
    stroke, turn, slant, wide, high, room = draws[:6]
    wide, high = 1 + 0.14 * wide, 1 + 0.12 * high
    lines = _thickened(_traced(glyphs), 0.006 + 0.012 * stroke)
    lines = _moved(lines, _rotation(0.14 * turn) @ _slanted_scale(0.2 * slant, wide, high))
    lines, shrunk = _placed(lines, 0.05 * draws[6:].T, 0.88 + 0.08 * room)
    return lines, np.array([g.advance for g in glyphs]) * _EM * wide * shrunk


def _traced(glyphs: list[Glyph]) -> _Lines:
    """Points along the lines and the quadratic Bézier curves, `(1-t)²a + 2t(1-t)b + t²c`.

    A line counts as a curve whose middle point lies half-way.
    """
    points = np.concatenate([g.vertices for g in glyphs])
    codes = np.concatenate([g.codes for g in glyphs])
    # A line to where the pen is has no direction; a few glyphs hold contours of nothing else.
    moves = (points != np.roll(points, 1, axis=0)).any(axis=1)
    bends = codes == _CURVE
    middles = bends & (np.cumsum(bends) % 2 == 1)  # a curve is a pair, its middle and its end
    at = np.flatnonzero(middles | ((codes == _LINE) & moves))
    a, c = points[at - 1, None], points[at + middles[at], None]
    b = np.where(middles[at, None, None], points[at, None], (a + c) / 2)
    drawn = (1 - _ALONG) ** 2 * a + 2 * _ALONG * (1 - _ALONG) * b + _ALONG**2 * c
    contours = _starts(np.cumsum(codes == _MOVE)[at])
    glyph = np.repeat(np.arange(len(glyphs)), [len(g.codes) for g in glyphs])
    drawings = _starts(glyph[at[contours]])
    return _Lines(drawn.reshape(-1, 2), contours * len(_ALONG), drawings)


def _starts(labels: np.ndarray) -> np.ndarray:
    """Where each run of equal labels begins."""
    return np.flatnonzero(np.diff(labels, prepend=-1))


def _thickened(lines: _Lines, by: np.ndarray) -> _Lines:
    """Every edge of drawing i moved outward by `by[i]`, inward where that is negative."""
    side = np.sign(np.add.reduceat(_areas(lines), lines.drawings))  # fonts differ in it
    return lines._replace(points=lines.points + _for_points(lines, side * by)[:, None] * _normals(lines))


def _areas(lines: _Lines) -> np.ndarray:
    """Of each contour; positive where the pen goes round against the clock (y upward)."""
    (x, y), (dx, dy) = lines.points.T, _steps(lines).T
    return np.add.reduceat(x * dy - y * dx, lines.contours) / 2


def _normals(lines: _Lines) -> np.ndarray:
    """To the right of the pen, halving each corner."""
    along = _unit(_steps(lines))
    before = np.arange(-1, len(along) - 1)
    before[lines.contours] = _ends(lines) - 1
    return _unit(along + along[before])[:, ::-1] * [1, -1]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.hypot(*vectors.T), 1e-9)[:, None]


def _steps(lines: _Lines) -> np.ndarray:
    """From each point to the next of its contour."""
    after = np.arange(1, len(lines.points) + 1)
    after[_ends(lines) - 1] = lines.contours
    return lines.points[after] - lines.points


def _ends(lines: _Lines) -> np.ndarray:
    return np.append(lines.contours[1:], len(lines.points))


def _for_points(lines: _Lines, values: np.ndarray) -> np.ndarray:
    """One value a drawing as one value a point."""
    starts = lines.contours[lines.drawings]
    return np.repeat(values, np.diff(starts, append=len(lines.points)), axis=0)


def _rotation(angle: np.ndarray) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos, -sin, sin, cos], axis=1).reshape(-1, 2, 2)


def _slanted_scale(slant: np.ndarray, wide: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.stack([wide, slant * high, 0 * high, high], axis=1).reshape(-1, 2, 2)


def _moved(lines: _Lines, matrices: np.ndarray) -> _Lines:
    """From ems with y upward to the frame, by one matrix a drawing."""
    matrices = _EM * matrices * [[1], [-1]]
    points = (_for_points(lines, matrices) @ lines.points[:, :, None])[:, :, 0]
    return lines._replace(points=points)


def _placed(lines: _Lines, shift: np.ndarray, room: np.ndarray) -> tuple[_Lines, np.ndarray]:
    """Centred, on the baseline, then shifted; what is larger than its room shrinks to fit."""
    low, high = _corners(lines)
    shrunk = np.minimum(1, room / (high - low).max(axis=1))[:, None]
    low, high = low * shrunk, high * shrunk
    centred = np.stack([0.5 - (low + high)[:, 0] / 2, np.full(len(low), _BASELINE)], axis=1)
    origin = np.clip(centred + shift, _MARGIN - low, 1 - _MARGIN - high)
    points = lines.points * _for_points(lines, shrunk) + _for_points(lines, origin)
    return lines._replace(points=points), shrunk[:, 0]


def _corners(lines: _Lines) -> tuple[np.ndarray, np.ndarray]:
    starts = lines.contours[lines.drawings]
    return np.minimum.reduceat(lines.points, starts), np.maximum.reduceat(lines.points, starts)


def _outlines(lines: _Lines) -> list[np.ndarray]:
    """Points at even distances along each contour, shared out by length in a drawing."""
    steps = _steps(lines)
    length = np.hypot(*steps.T)
    travelled = np.append(0, np.cumsum(length)[:-1])
    around = np.add.reduceat(length, lines.contours)
    counts, pens = _shares(around, lines.drawings)
    contour = np.repeat(np.arange(len(counts)), counts)
    nth = np.arange(len(contour)) - np.repeat(np.cumsum(counts) - counts, counts)
    where = travelled[lines.contours[contour]] + nth * (around / counts)[contour]
    edge = np.searchsorted(travelled, where, side="right") - 1
    part = (where - travelled[edge]) / np.maximum(length[edge], 1e-9)
    points = lines.points[edge] + part[:, None] * steps[edge]
    cells = np.round(np.column_stack([points, pens[contour]]), 3)
    ends = np.cumsum(np.add.reduceat(counts, lines.drawings))
    return np.split(cells, ends[:-1])


def _shares(around: np.ndarray, drawings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many points each contour gets, and its number in its drawing."""
    sizes = np.diff(drawings, append=len(around))
    spare = np.repeat(_POINTS - _FEWEST_POINTS * sizes, sizes)
    share = around / np.repeat(np.add.reduceat(around, drawings), sizes)
    counts = _FEWEST_POINTS + (spare * share).astype(int)
    return counts, np.arange(len(around)) - np.repeat(drawings, sizes)


def _coverages(lines: _Lines) -> np.ndarray:
    """The inked fraction of each pixel, by the nonzero rule that fonts are made for.

    Contours overlap (the horn of Ơ), so that filling by parity would leave holes.
    """
    from PIL import Image

    ways = np.sign(_areas(lines)).astype(np.int8)
    turns = np.split(_insides(lines) * ways[:, None, None], lines.drawings[1:])
    winding = np.stack([t.sum(axis=0, dtype=np.int8) for t in turns])
    ink = (winding != 0).reshape(-1, _SIDE * _FINE).view(np.uint8) * np.uint8(255)
    fractions = np.asarray(Image.fromarray(ink).reduce(_FINE)) / 255
    return fractions.reshape(-1, _SIDE, _SIDE)


def _insides(lines: _Lines) -> np.ndarray:
    """1 inside each contour, 0 outside, `(contours, 128, 128)`; one tall picture is quickest."""
    from PIL import Image, ImageDraw

    side, count = _SIDE * _FINE, len(lines.contours)
    picture = Image.new("L", (side, side * count))
    draw = ImageDraw.Draw(picture)
    corners = lines.points * side - 0.5  # a pixel's middle is a whole number to Pillow
    corners[:, 1] += side * np.repeat(np.arange(count), _ends(lines) - lines.contours)
    for polygon in np.split(corners, lines.contours[1:]):
        draw.polygon(polygon.ravel().tolist(), fill=1)
    return np.asarray(picture).view(np.int8).reshape(count, side, side)


def _noisy(coverages: np.ndarray, rngs: list[np.random.Generator]) -> np.ndarray:
    """Bytes, 255 where the paper is bare.

    Sixteen greys: finer than the grain, and half the file.
    """
    grain = [rng.uniform(0, 0.1) * rng.standard_normal((_SIDE, _SIDE)) for rng in rngs]
    grey = np.clip(1 - coverages + grain, 0, 1)
    return np.round(grey * 15).astype(np.uint8) * np.uint8(17)


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
