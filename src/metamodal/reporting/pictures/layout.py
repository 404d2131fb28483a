"""Where the nodes of a small graph are drawn: as far apart on paper as along the edges."""

from __future__ import annotations

import numpy as np

__all__ = ["laid_out"]

_ROUNDS = 60


def laid_out(size: int, edges: np.ndarray, centre: int | None = None) -> np.ndarray:
    """A place `(size, 2)` for each node, the same in every process.

    Stress is brought down by majorisation (Gansner et al., 2004), from nodes on a circle in the order
    of a walk over the graph, nearest first.

    Args:
        edges: pairs of nodes, `(e, 2)`, either way round.
        centre: the node from which the walk starts; else the one with most edges.
    """
    if size == 1:
        return np.zeros((1, 2))
    apart = _distances(size, edges)
    if centre is None:
        centre = int(np.argmax((apart == 1).sum(1)))
    turn = 2 * np.pi * np.argsort(_walk(apart, centre)) / size
    places = np.stack([np.cos(turn), np.sin(turn)], 1) * apart.max() / 2
    weight = 1 / np.square(np.where(apart > 0, apart, np.inf))
    laplacian = np.diag(weight.sum(1)) - weight
    solved = np.linalg.inv(laplacian + 1 / size)
    for _ in range(_ROUNDS):
        between = np.sqrt(np.square(places[:, None] - places).sum(2)) + np.eye(size)
        pull = weight * apart / np.maximum(between, 1e-6)
        places = solved @ (np.diag(pull.sum(1)) - pull) @ places
    return places


def _distances(size: int, edges: np.ndarray) -> np.ndarray:
    """Steps between all nodes; between parts of the graph one more than the longest way."""
    apart = np.full((size, size), np.inf)
    apart[edges[:, 0], edges[:, 1]] = apart[edges[:, 1], edges[:, 0]] = 1.0
    np.fill_diagonal(apart, 0.0)
    for via in range(size):
        apart = np.minimum(apart, apart[:, via, None] + apart[via])
    longest = apart[np.isfinite(apart)].max()
    return np.where(np.isfinite(apart), apart, max(2.0, longest + 1))


def _walk(apart: np.ndarray, start: int) -> np.ndarray:
    """All nodes, each next to a near one: the nearest not yet met comes next."""
    order, there = [start], np.zeros(len(apart), dtype=bool)
    there[start] = True
    while len(order) < len(apart):
        order.append(int(np.where(there, np.inf, apart[order[-1]]).argmin()))
        there[order[-1]] = True
    return np.array(order)
