"""Curves and clouds of points, as drawings in the colours of the page around them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

__all__ = ["curve", "lines", "scatter"]

# Matplotlib draws in these colours; the page turns them into its own, light or dark.
_INKS = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--own)",
    "#050505": "var(--bad)",
    "#060606": "var(--good)",
    "#070707": "var(--warn)",
    "#080808": "var(--baseline)",
}
_INK, _MUTED, _FAINT, _OWN, *_OTHERS = _INKS


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

    def fill(axes: Any) -> None:
        colour = _INK if band is None else _OWN
        if band is not None:
            low, high = np.subtract(y, band), np.add(y, band)
            axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(x, y, color=colour, linewidth=1.8, marker="o", markersize=3)
        if ring is not None:
            axes.plot(x[ring], y[ring], color=colour, marker="o", markersize=9, fillstyle="none")

    return _drawn(fill, names)


def lines(x: Sequence[float], each: Mapping[str, Sequence[float]], names: tuple[str, str]) -> Markup:
    """Several lines over the same places as inline SVG, each with its name in a legend.

    Colours come round again after five lines, and then strokes differ.

    Args:
        each: the lines by name.
        names: of the two axes, plain words.

    >>> lines([1.0, 2.0], {"joint": [0.7, 0.6], "alone": [0.3, 0.4]}, ("time (s)", "share"))[:4]
    Markup('<svg')
    """
    inks, strokes = (_OWN, *_OTHERS), ("-", "--", ":")

    def fill(axes: Any) -> None:
        for i, (name, y) in enumerate(each.items()):
            said = name.replace("$", r"\$")  # a dollar would begin a formula
            stroke = strokes[i // len(inks) % len(strokes)]
            axes.plot(
                x, y, stroke, color=inks[i % len(inks)], label=said, linewidth=1.8, marker="o", markersize=3
            )
        axes.set_ylim(bottom=0)
        axes.legend(
            frameon=False, labelcolor=_MUTED, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5)
        )

    return _drawn(fill, names)


def scatter(x: np.ndarray, y: np.ndarray, names: tuple[str, str]) -> Markup:
    """Points as inline SVG, with the line on which both coordinates are equal.

    Args:
        names: of the two axes, plain words.

    >>> scatter(np.array([1.0, 2.0]), np.array([1.1, 1.8]), ("true", "predicted"))[:4]
    Markup('<svg')
    """

    def fill(axes: Any) -> None:
        ends = [min(x.min(), y.min()), max(x.max(), y.max())]
        axes.plot(ends, ends, color=_MUTED, linewidth=1, linestyle="--")
        axes.plot(x, y, color=_OWN, linestyle="none", marker="o", markersize=3, alpha=0.5, markeredgewidth=0)

    return _drawn(fill, names)


def _drawn(fill: Callable[[Any], None], names: tuple[str, str]) -> Markup:
    """Axes with these names, filled."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": names[1], "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(4.8, 2.7), layout="constrained")
        axes = figure.add_subplot()
        fill(axes)
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
