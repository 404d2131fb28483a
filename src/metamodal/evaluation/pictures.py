"""What the report draws, as HTML that needs no other file: the cells of a row, and curves."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import PIL.Image
from markupsafe import Markup

from metamodal.data.cells import is_absent
from metamodal.data.dataset import Dataset
from metamodal.data.modalities import modalities
from metamodal.errors import DataError

__all__ = ["Picture", "curve", "painter"]

_SIDE = 64  # pixels of an image, shown at two thirds of that so that it is sharp on dense screens
_HEAVY = 2500  # bytes of a PNG above which a JPEG is tried
_WORDS, _MORE_WORDS = 90, 400  # characters of a text on the page, and when pointed at
_PAIRS = 6  # named values of a record
_LINES = 6  # channels of a series as lines; more are rows of a heat map
_STEPS = 48  # points of a line
_STROKE_POINTS = 24  # points of a stroke
_BARS = 32  # bars of an embedding
_JUDGED = 64  # cells from which a column's scale and look are told


@dataclass(frozen=True)
class Picture:
    """One cell as HTML, escaped; `state` is `present`, `absent` or `unreadable`."""

    modality: str
    kind: str
    state: str
    html: Markup


_Brush = Callable[[Any], Markup]


def painter(dataset: Dataset) -> Callable[[int], tuple[Picture, ...]]:
    """What draws a row, by its position: one picture for each modality of the table's schema.

    A cell that cannot be read, or whose kind this version cannot, gives a picture that says so.

    >>> import pandas as pd
    >>> from metamodal.data.dataset import read_table
    >>> pets = pd.DataFrame({"says": ["meow <3", None], "pet": ["cat", "dog"]})
    >>> draw = painter(read_table(pets, target="pet", use=["says"], kinds={"says": "text"}))
    >>> draw(0)[0].html
    Markup('<span class="words" title="meow &lt;3">meow &lt;3</span>')
    >>> draw(1)[0].state
    'absent'
    """
    found = dataset.schema.modalities
    brushes = {name: _brush(dataset, kind, columns) for name, (kind, columns) in found.items()}

    @cache
    def drawn(row: int) -> tuple[Picture, ...]:
        return tuple(
            _picture(dataset, name, kind, columns, brushes[name], row)
            for name, (kind, columns) in found.items()
        )

    return drawn


# Matplotlib draws in these colours; the page turns them into its own, light or dark.
_INKS = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--own)",
}
_INK, _MUTED, _FAINT, _OWN = _INKS


def curve(
    x: Sequence[float],
    y: Sequence[float],
    names: tuple[str, str],
    *,
    band: Sequence[float] | None = None,
    ring: int | None = None,
) -> Markup:
    """A line through points as inline SVG, in the colours and letters of the page around it.

    Args:
        names: of the two axes, plain words.
        band: half-widths of an interval about each point.
        ring: the point to mark.

    >>> curve([1.0, 2.0, 3.0], [0.9, 0.5, 0.4], ("time (s)", "loss"))[:4]
    Markup('<svg')
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": names[1], "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(4.8, 2.7), layout="constrained")
        axes = figure.add_subplot()
        colour = _INK if band is None else _OWN
        if band is not None:
            low, high = np.subtract(y, band), np.add(y, band)
            axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(x, y, color=colour, linewidth=1.8, marker="o", markersize=3)
        if ring is not None:
            axes.plot(x[ring], y[ring], color=colour, marker="o", markersize=9, fillstyle="none")
        axes.set_xlabel(names[0], color=_MUTED)
        axes.set_title(names[1], color=_INK, loc="left", fontsize=10)
        axes.tick_params(colors=_MUTED, length=0)
        axes.grid(color=_FAINT, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Markup(_tidied(stream.getvalue().decode()))


def _tidied(svg: str) -> str:
    """An SVG file as a part of a page: no prolog, no fixed size, no names that other parts may have."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'^<svg[^>]*?(viewBox="[^"]*")[^>]*>', r"<svg \1>", svg)
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: m.group() if m.group(1) in used else "", svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r"font-family:[^;\"]*;? ?", "", svg)
    for ink, name in _INKS.items():
        svg = svg.replace(ink, name)
    return svg


def _picture(
    dataset: Dataset, name: str, kind: str, columns: tuple[str, ...], brush: _Brush, row: int
) -> Picture:
    try:
        value = _value(dataset, kind, columns, row)
    except DataError as error:
        return Picture(name, kind, "unreadable", Markup('<span title="{}">unreadable</span>').format(error))
    if value is None:
        return Picture(name, kind, "absent", Markup())
    return Picture(name, kind, "present", brush(value))


def _value(dataset: Dataset, kind: str, columns: tuple[str, ...], row: int) -> Any:
    """The read cell, `None` where it is absent."""
    cells = {c: dataset.frame[c].iat[row] for c in columns}
    if all(is_absent(c) for c in cells.values()):
        return None
    if kind not in modalities:
        raise DataError(f"{kind} cannot be read by this version")
    only = next(iter(cells.values()))
    record = kind == "tabular" and not (len(cells) == 1 and isinstance(only, dict))
    return modalities[kind].read(cells if record else only, dataset.base)


def _brush(dataset: Dataset, kind: str, columns: tuple[str, ...]) -> _Brush:
    """How the cells of a modality are drawn; the scale is that of the column, not of a cell."""
    if kind not in ("series", "embedding"):
        plain: dict[str, _Brush] = {"image": _image, "tabular": _pairs}
        return plain.get(kind, _words)
    values = _some_values(dataset, kind, columns)
    if not values:
        return _words
    if kind == "embedding":
        return partial(_bars, np.mean(values, axis=0), np.std(values, axis=0))
    if _is_drawing(values):
        return _strokes
    steps = np.concatenate(values)
    low, high = np.quantile(steps, [0.01, 0.99], axis=0)
    return partial(_lines if len(low) <= _LINES else _heat, low, np.where(high > low, high, low + 1))


def _some_values(dataset: Dataset, kind: str, columns: tuple[str, ...]) -> list[np.ndarray]:
    """Some readable cells of the column, spread over the table, all of as many dimensions or channels."""
    values: list[np.ndarray] = []
    step = max(1, len(dataset) // (2 * _JUDGED))
    for row in range(0, len(dataset), step):
        try:
            value = _value(dataset, kind, columns, row)
        except DataError:
            continue
        if value is not None and (not values or value.shape[-1] == values[0].shape[-1]):
            values.append(value)
        if len(values) == _JUDGED:
            break
    return values


def _is_drawing(values: Sequence[np.ndarray]) -> bool:
    """Whether the channels are x, y, perhaps the time, and the number of the stroke.

    Only the last one tells: nothing else sets two coordinates apart from two sensors.
    """
    channels = values[0].shape[1]
    if channels not in (3, 4):
        return False
    numbers = [v[:, -1] for v in values]
    if not all((n == np.round(n)).all() and (np.diff(n) >= 0).all() and n[0] >= 0 for n in numbers):
        return False
    if all(len(np.unique(n)) > len(n) / 2 for n in numbers):
        return False
    spans = np.median([np.ptp(v[:, :2], axis=0) for v in values], axis=0)
    return bool(0 < spans.max() < 8 * spans.min())


def _image(value: np.ndarray) -> Markup:
    picture = PIL.Image.fromarray(value)
    grain = "coarse" if max(picture.size) < _SIDE / 2 else "fine"
    picture.thumbnail((_SIDE, _SIDE))
    return _embedded(picture, grain)


def _embedded(picture: PIL.Image.Image, grain: str) -> Markup:
    form, data = "png", _encoded(picture, "PNG", optimize=True)
    if len(data) > _HEAVY:
        other = _encoded(picture, "JPEG", quality=82)
        form, data = ("jpeg", other) if len(other) < len(data) else (form, data)
    return Markup('<img class="{}" src="data:image/{};base64,{}" alt="">').format(
        grain, form, base64.b64encode(data).decode()
    )


def _encoded(picture: PIL.Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def _words(value: Any) -> Markup:
    text = " ".join(str(value).split())
    return Markup('<span class="words" title="{}">{}</span>').format(
        _cut(text, _MORE_WORDS), _cut(text, _WORDS)
    )


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _pairs(value: dict[str, float | str | None]) -> Markup:
    there = [(name, _scalar(v)) for name, v in value.items() if v is not None]
    rows = Markup().join(
        Markup("<span>{}</span> <b>{}</b>").format(_cut(name, 24), _cut(word, 24))
        for name, word in there[:_PAIRS]
    )
    rest = f"+{len(there) - _PAIRS}" if len(there) > _PAIRS else ""
    every = ", ".join(f"{name} {word}" for name, word in there)
    more = Markup("<span>{}</span> <b></b>").format(rest) if rest else Markup()
    return Markup('<span class="pairs" title="{}">{}{}</span>').format(_cut(every, _MORE_WORDS), rows, more)


def _scalar(value: float | str | None) -> str:
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else _plain(value)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _bars(mean: np.ndarray, std: np.ndarray, value: np.ndarray) -> Markup:
    """How far dimensions are from the column's mean, neighbours as one bar, up or down from the middle."""
    if value.shape == mean.shape:
        value = np.divide(value - mean, std, out=np.zeros_like(value), where=std > 0)
    parts = np.array([part.mean() for part in np.array_split(value, min(_BARS, len(value)))])
    heights = parts / max(float(np.abs(parts).max()), 1e-9) * 22
    width = 72 / len(heights)
    path = "".join(f"M{_at((i + 0.5) * width)} 24v{_at(-h)}" for i, h in enumerate(heights.tolist()))
    drawing = Markup('<path class="bars" stroke-width="{}" d="{}"/>').format(_at(0.7 * width), path)
    return _svg(72, 48, drawing)


def _strokes(value: np.ndarray) -> Markup:
    """The way of a pen, y downwards, lifted where the number of the stroke changes."""
    if value.shape[1] < 3:
        return _words(f"{len(value)} steps")
    xy = value[:, :2] - value[:, :2].min(0)
    scale = 40 / max(float(xy.max()), 1e-9)
    xy = (xy - xy.max(0) / 2) * scale + 24
    ends = np.flatnonzero(np.diff(value[:, -1])) + 1
    strokes = [_path(_thinned(s, _STROKE_POINTS)) for s in np.split(xy, ends)]
    return _svg(48, 48, Markup('<path class="pen" d="{}"/>').format("".join(strokes)))


def _lines(low: np.ndarray, high: np.ndarray, value: np.ndarray) -> Markup:
    """One line a channel, each between the column's usual extremes."""
    y = 45 - 42 * _scaled(low, high, value)
    x = np.linspace(1, 71, len(value))
    lines = Markup().join(
        Markup('<path class="line{}" d="{}"/>').format(
            c % _LINES, _path(_thinned(np.stack([x, channel], 1), _STEPS))
        )
        for c, channel in enumerate(y.T[:_LINES])
    )
    return _svg(72, 48, lines)


def _heat(low: np.ndarray, high: np.ndarray, value: np.ndarray) -> Markup:
    """Steps from left to right, a row of pixels for each channel, dark where high."""
    shade = (255 * (1 - _scaled(low, high, value))).astype(np.uint8).T
    picture = PIL.Image.fromarray(np.ascontiguousarray(shade))
    size = (min(picture.width, 72), min(picture.height, 48))
    return _embedded(picture.resize(size, PIL.Image.Resampling.BOX), "coarse wide")


def _scaled(low: np.ndarray, high: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Values between 0 and 1; a cell with other channels than its column goes by its own extremes."""
    if value.shape[1] != len(low):
        low, high = value.min(0), value.max(0)
    return np.clip((value - low) / np.maximum(high - low, 1e-9), 0, 1)


def _thinned(points: np.ndarray, most: int) -> np.ndarray:
    """At most so many points, evenly chosen, both ends among them."""
    if len(points) <= most:
        return points
    return points[np.linspace(0, len(points) - 1, most).round().astype(int)]


def _path(points: np.ndarray) -> str:
    """Points as a polyline; a lone one as a dot."""
    head, *rest = [f"{_at(x)} {_at(y)}" for x, y in points.tolist()]
    return f"M{head}L{' '.join(rest)}" if rest else f"M{head}h.1"


def _at(number: float) -> str:
    """A coordinate in as few characters as do."""
    return f"{number:.1f}".removesuffix(".0")


def _svg(width: int, height: int, content: Markup) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" width="{}" height="{}" aria-hidden="true">{}</svg>').format(
        width, height, width, height, content
    )
