"""Graphs as dots and lines, clouds of points as dots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from markupsafe import Markup

from metamodal.data.modalities.graph import Network
from metamodal.reporting.pictures.layout import laid_out
from metamodal.reporting.pictures.svg import dots, path, svg, thinned

__all__ = ["cloud", "graph_brush"]

_SIDE = 96  # whole numbers up to this are fine enough at the size shown
_MARGIN = 7
_NODES = 32
_EDGES = 128
_COLOURS = 5  # of the most common labels; all others share one
_DOTS = 150
_SLANT = np.array([0.45, 0.35])  # of the axis that leads away, in an oblique projection


def graph_brush(values: Iterator[Network]) -> Callable[[Network], Markup]:
    """What draws the graphs of a column of which `values` are some: a colour a common label."""
    counted = Counter(label for v in values for label in v.labels or ())
    common = sorted(counted, key=lambda label: (-counted[label], label))[:_COLOURS]
    return partial(_graph, {label: i for i, label in enumerate(common)})


def _graph(colours: dict[str, int], value: Network) -> Markup:
    kept = _kept(value)
    place = np.full(value.size, -1)
    place[kept] = np.arange(len(kept))
    ends = np.sort(place[value.edges], axis=1)
    heavy = np.argsort(-np.abs(value.weights), kind="stable")
    ends = ends[heavy][(ends[heavy, 0] >= 0) & (ends[heavy, 0] != ends[heavy, 1])]
    edges = np.array(list(dict.fromkeys(map(tuple, ends.tolist())))[:_EDGES], dtype=int).reshape(-1, 2)
    at = _fitted(laid_out(len(kept), edges, int(place[value.centre]) if value.centre >= 0 else None))
    centre = kept == value.centre
    own = centre[edges].any(1) | (value.centre < 0)
    lines = Markup().join(
        Markup('<path class="{}" d="{}"/>').format(name, "".join(path(at[edge]) for edge in edges[part]))
        for name, part in (("distant", ~own), ("edges", own))
        if part.any()
    )
    labels = [value.labels[i] if value.labels else "" for i in kept]
    look = np.array([colours.get(label, _COLOURS) for label in labels])
    nodes = Markup().join(
        Markup('<path class="nodes line{}" d="{}"/>').format(c, dots(at[(look == c) & ~centre]))
        for c in np.unique(look[~centre]).tolist()
    )
    marked = Markup('<path class="centre" d="{}"/>').format(dots(at[centre])) if centre.any() else Markup()
    return svg(_SIDE, _SIDE, lines + nodes + marked, _told(value))


def _kept(value: Network) -> np.ndarray:
    """The nodes that are drawn: the centre, then those with most edges, then the first."""
    degree = np.bincount(value.edges.ravel(), minlength=value.size).astype(float)
    if value.centre >= 0:
        degree[value.centre] = np.inf
    return np.sort(np.argsort(-degree, kind="stable")[:_NODES])


def _told(value: Network) -> str:
    counted = Counter(value.labels or ()).most_common(_COLOURS + 1)
    return ", ".join([str(value), *(f"{label[:24]} {count}" for label, count in counted)])


def cloud(value: np.ndarray) -> Markup:
    """Points by their first two or three coordinates, z upwards, y leading away and fainter."""
    value = thinned(value, _DOTS).astype(np.float64)
    value = value[:, :3] - value[:, :3].mean(0)
    flat = value[:, :2] if value.shape[1] == 2 else value[:, [0, 2]] + value[:, 1:2] * _SLANT
    at = _fitted(flat * [1, -1])
    far = value[:, 1] > 0 if value.shape[1] == 3 else np.zeros(len(at), dtype=bool)
    return svg(
        _SIDE,
        _SIDE,
        Markup().join(
            Markup('<path class="{}" d="{}"/>').format(name, dots(np.unique(at[part], axis=0)))
            for name, part in (("far", far), ("near", ~far))
            if part.any()
        ),
    )


def _fitted(places: np.ndarray) -> np.ndarray:
    """Places in the middle of the drawing, as large as fit, in whole numbers."""
    low, high = places.min(0), places.max(0)
    scale = (_SIDE - 2 * _MARGIN) / max(float((high - low).max()), 1e-9)
    return np.rint((places - (low + high) / 2) * scale + _SIDE / 2) + 0.0
