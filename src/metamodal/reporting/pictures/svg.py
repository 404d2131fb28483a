"""The strokes of small drawings: paths in as few characters as do."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

__all__ = ["coordinate", "dots", "path", "svg", "thinned"]


def thinned(points: np.ndarray, most: int) -> np.ndarray:
    """At most so many points, evenly chosen, both ends among them."""
    if len(points) <= most:
        return points
    return points[np.linspace(0, len(points) - 1, most).round().astype(int)]


def path(points: np.ndarray) -> str:
    """Points as a polyline; a lone one as a dot."""
    head, *rest = [f"{coordinate(x)} {coordinate(y)}" for x, y in points.tolist()]
    return f"M{head}L{' '.join(rest)}" if rest else f"M{head}h.1"


def dots(points: np.ndarray) -> str:
    """Points as dots of the pen's width."""
    return "".join(f"M{coordinate(x)} {coordinate(y)}h0" for x, y in points.tolist())


def coordinate(number: float) -> str:
    """A coordinate in as few characters as do."""
    return f"{number:.1f}".removesuffix(".0")


def svg(width: int, height: int, content: Markup, title: str = "") -> Markup:
    """A drawing; the title is what pointing at it tells."""
    shown = Markup("<title>{}</title>").format(title) if title else Markup()
    return Markup('<svg viewBox="0 0 {} {}" width="{}" height="{}" aria-hidden="true">{}{}</svg>').format(
        width, height, width, height, shown, content
    )
