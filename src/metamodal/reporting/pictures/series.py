"""Series as lines, as the strokes of a pen, as a heat map, or as words, by what their column holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from markupsafe import Markup

from metamodal.reporting.pictures.scale import heat, scaled, usual_range
from metamodal.reporting.pictures.svg import path, svg, thinned
from metamodal.reporting.pictures.words import symbols, words

__all__ = ["series_brush"]

_LINES = 6  # channels as lines; more are rows of a heat map
_STEPS = 48  # points of a line
_STROKE_POINTS = 24
_INSTANTS = 288  # at which a heat map looks at steps with times, before it averages them


def series_brush(values: Iterator[np.ndarray]) -> Callable[[np.ndarray], Markup]:
    """What draws the series of a column of which `values` are some."""
    numbers = [v for v in values if v.dtype.kind == "f"]
    usual = usual_range(numbers)
    pen = _is_drawing([np.asarray(v) for v in numbers if v.shape[1] == usual.shape[1]])

    def drawn(value: np.ndarray) -> Markup:
        if value.dtype.kind != "f":
            return symbols(value)
        if pen:
            return _strokes(np.asarray(value))
        return _lines(usual, value) if value.shape[1] <= _LINES else _heat(usual, value)

    return drawn


def _is_drawing(values: Sequence[np.ndarray]) -> bool:
    """Whether the channels are x, y, perhaps the time, and the number of the stroke.

    Only the last one tells: nothing else sets two coordinates apart from two sensors.
    """
    if not values or values[0].shape[1] not in (3, 4):
        return False
    numbers = [v[:, -1] for v in values]
    if not all((n == np.round(n)).all() and (np.diff(n) >= 0).all() and n[0] >= 0 for n in numbers):
        return False
    if all(len(np.unique(n)) > len(n) / 2 for n in numbers):
        return False
    spans = np.median([np.ptp(v[:, :2], axis=0) for v in values], axis=0)
    return bool(0 < spans.max() < 8 * spans.min())


def _strokes(value: np.ndarray) -> Markup:
    """The way of a pen, y downwards, lifted where the number of the stroke changes."""
    value = value[~np.isnan(value).any(1)]
    if not len(value) or value.shape[1] < 3:
        return words(f"{len(value)} steps")
    xy = value[:, :2] - value[:, :2].min(0)
    scale = 40 / max(float(xy.max()), 1e-9)
    xy = (xy - xy.max(0) / 2) * scale + 24
    ends = np.flatnonzero(np.diff(value[:, -1])) + 1
    strokes = [path(thinned(s, _STROKE_POINTS)) for s in np.split(xy, ends)]
    return svg(48, 48, Markup('<path class="pen" d="{}"/>').format("".join(strokes)))


def _lines(usual: np.ndarray, value: np.ndarray) -> Markup:
    """One line a channel, each between the column's usual extremes; steps at their own times."""
    y = 45 - 42 * scaled(usual, value)
    times = _times(value)
    span = times[-1] - times[0]
    x = 1 + 70 * (times - times[0]) / span if span > 0 else np.full(len(times), 36.0)
    lines = Markup().join(
        Markup('<path class="line{}" d="{}"/>').format(
            c, "".join(map(path, _runs(np.stack([x, channel], 1))))
        )
        for c, channel in enumerate(y.T)
    )
    return svg(72, 48, lines, _length(value))


def _runs(points: np.ndarray) -> list[np.ndarray]:
    """The stretches without a gap, thinned so that all together have few points."""
    there = ~np.isnan(points[:, 1])
    ends = np.flatnonzero(there[1:] != there[:-1]) + 1
    runs = [run for run in np.split(points, ends) if not np.isnan(run[0, 1])]
    runs = [runs[i] for i in thinned(np.arange(len(runs)), _STEPS)]
    share = _STEPS / max(1, sum(map(len, runs)))
    return [thinned(run, max(2, round(share * len(run)))) for run in runs]


def _heat(usual: np.ndarray, value: np.ndarray) -> Markup:
    """A heat map in which a step with a time lasts until the next one."""
    steps = np.asarray(value)
    if getattr(value, "times", None) is not None:
        times = _times(value)
        at = np.linspace(times[0], times[-1], _INSTANTS)
        steps = steps[np.searchsorted(times, at, side="right") - 1]
    return heat(usual, steps, _length(value))


def _times(value: np.ndarray) -> np.ndarray:
    times = getattr(value, "times", None)
    return np.arange(len(value), dtype=float) if times is None else times


def _length(value: np.ndarray) -> str:
    times = getattr(value, "times", None)
    length = "1 step" if len(value) == 1 else f"{len(value)} steps"
    return length if times is None else f"{length} over {times[-1] - times[0]:.4g}"
