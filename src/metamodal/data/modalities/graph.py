"""Graphs: nodes and edges of any number, as one number of nodes with an adjacency matrix."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from metamodal.data.limits import limits
from metamodal.data.modalities.capabilities import Capabilities
from metamodal.data.modalities.protocol import CellError, check_scales, modalities

__all__ = ["Graph", "Network", "hashed"]

_LEVELS = 31
_TYPES = 8
_CLIP = 4.0


class Network(NamedTuple):
    """A graph as it was read: `features` `(n, f)`, or `labels`, or neither; edges `(e, 2)`, weights `(e,)`.

    `centre` is the node that the graph is about, which is kept whatever is left out; -1 for none.
    """

    size: int
    features: np.ndarray | None
    labels: tuple[str, ...] | None
    edges: np.ndarray
    weights: np.ndarray
    types: tuple[str, ...] | None
    centre: int = -1

    def __str__(self) -> str:
        return f"{self.size} nodes, {len(self.edges)} edges"


@modalities.register("graph")
@dataclass(frozen=True)
class Graph:
    """`nodes` rows: node features, 1 where there is a node, and the row of the adjacency matrix.

    Features are the nodes' numbers standardised by the training nodes, or their labels one-hot over
    the 31 most common ones and one place for the rest; then, where edges have types, how many of
    each come in and go out, hashed to 8 places each; then the logarithms of the edges that come in
    and go out. Weights are relative to the training edges' mean size, cut at ±4. Of a larger graph
    the nodes with most edges are kept; of equal ones, the first.
    """

    nodes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: tuple[str, ...]
    typed: bool
    weight: float

    capabilities: ClassVar[Capabilities] = Capabilities(entities=True)

    def __post_init__(self) -> None:
        check_scales("graph", self.mean, self.std, self.nodes)

    @classmethod
    def read(cls, cell: Any, base: Path) -> Network:
        """A record `{"nodes": …, "edges": …}`, optionally with one of `types` an edge."""
        if isinstance(cell, Network):
            return cell
        if not isinstance(cell, dict):
            raise CellError(f'{type(cell).__name__} is no graph. Give {{"nodes": …, "edges": [[i, j], …]}}')
        size, features, labels = _nodes(cell.get("nodes"))
        edges, weights = _edges(cell.get("edges"), size)
        types = cell.get("types")
        if types is not None:
            types = tuple(map(str, types)) if isinstance(types, (list, tuple, np.ndarray)) else ()
            if len(types) != len(edges):
                raise CellError(f"{len(types)} types for {len(edges)} edges. Give one an edge")
        return Network(size, features, labels, edges, weights, types)

    @classmethod
    def fit(cls, values: Sequence[Network], *, nodes: Annotated[int, Field(ge=2, le=512)] = 32) -> Graph:
        sizes = [v.size for v in values]
        widths = {v.features.shape[1] for v in values if v.features is not None}
        width = min(widths) if widths else 0
        known = [v.features for v in values if v.features is not None and v.features.shape[1] == width]
        stacked = np.concatenate(known).astype(np.float64) if known else np.zeros((1, 0))
        std = stacked.std(0)
        counted = Counter(label for v in values for label in v.labels or ())
        labels = sorted(counted, key=lambda label: (-counted[label], label))[:_LEVELS]
        weights = np.abs(np.concatenate([v.weights for v in values]))
        return cls(
            nodes=int(min(nodes, max(2, math.ceil(np.quantile(sizes, 0.95))))),
            mean=tuple(stacked.mean(0).tolist()),
            std=tuple(np.where(std > 1e-8, std, 0.0).tolist()),
            labels=tuple(labels),
            typed=any(v.types is not None for v in values),
            weight=float(weights.mean()) or 1.0 if len(weights) else 1.0,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.nodes, self._width + 1 + self.nodes)

    def tensor(self, values: Sequence[Network]) -> Float[Tensor, "n v f"]:
        return torch.from_numpy(np.stack([self._row(v) for v in values]))

    def features(self, x: Float[Tensor, "n v f"]) -> Float[Tensor, "n g"]:
        """Mean, spread and maximum of node features, of their neighbours' and of theirs in turn."""
        h, there, links = self._parts(x)
        h = h * there
        count = there.sum(1).clamp(min=1)
        both = links.abs() + links.abs().mT
        spreading = both / both.sum(2, keepdim=True).clamp(min=1e-6)
        parts = []
        for weight in (1.0, 0.7, 0.5):
            mean = h.sum(1) / count
            spread = (((h - mean[:, None]) * there).square().sum(1) / count + 1e-12).sqrt()
            top = h.masked_fill(there == 0, -_CLIP).amax(1)
            parts += [weight * F.normalize(p, dim=1) for p in (mean, spread, top)]
            h = spreading @ h
        linked = (both > 0).float()
        walks = (linked @ linked * linked).sum((1, 2)) / linked.sum((1, 2)).clamp(min=1)
        density = linked.sum((1, 2)) / count[:, 0].square()
        whole = torch.stack([count[:, 0].log() / 4, density, walks / 4, links.sum((1, 2)) / count[:, 0]], 1)
        return F.normalize(torch.cat([*parts, 0.7 * F.normalize(whole, dim=1)], 1), dim=1)

    def augment(self, x: Float[Tensor, "n v f"], generator: Generator) -> Float[Tensor, "n v f"]:
        """A tenth of the edges left out, others a little heavier or lighter, noise on the features."""
        h, there, links = self._parts(x)
        noise = torch.randn(h.shape, generator=generator)
        kept = torch.rand(links.shape, generator=generator) >= 0.1
        heavier = 1 + 0.1 * torch.randn(links.shape, generator=generator)
        return torch.cat([h + 0.1 * noise * there, there, links * kept * heavier], 2)

    @property
    def variants(self) -> int:
        return 1

    def variant(self, x: Float[Tensor, "n v f"], number: int) -> Float[Tensor, "n v f"]:
        return x

    @property
    def _width(self) -> int:
        labels = len(self.labels) + 1 if self.labels else 0
        return len(self.mean) + labels + (2 * _TYPES if self.typed else 0) + 2

    def _parts(
        self, x: Float[Tensor, "n v f"]
    ) -> tuple[Float[Tensor, "n v w"], Float[Tensor, "n v 1"], Float[Tensor, "n v v"]]:
        h, there, links = x.split([self._width, 1, self.nodes], 2)
        return h, there, links

    def _row(self, value: Network) -> np.ndarray:
        h = np.concatenate([self._own(value), *self._of_types(value), _degrees(value)], 1)
        kept = np.arange(value.size)
        if value.size > self.nodes:
            degree = np.bincount(value.edges.ravel(), minlength=value.size).astype(float)
            if value.centre >= 0:
                degree[value.centre] = np.inf
            kept = np.sort(np.argsort(-degree, kind="stable")[: self.nodes])
        place = np.full(value.size, -1)
        place[kept] = np.arange(len(kept))
        ends = place[value.edges]
        inside = (ends >= 0).all(1)
        row = np.zeros(self.shape, dtype=np.float32)
        row[: len(kept), : self._width] = h[kept].clip(-_CLIP, _CLIP)
        row[: len(kept), self._width] = 1.0
        links = row[:, self._width + 1 :]
        sizes = (value.weights / self.weight)[inside]
        np.add.at(links, tuple(ends[inside].T), sizes.astype(np.float32))
        np.clip(links, -_CLIP, _CLIP, out=links)
        return row

    def _own(self, value: Network) -> np.ndarray:
        """What the nodes bring themselves: numbers, labels, or nothing."""
        width = 0 if value.features is None else value.features.shape[1]
        if width != len(self.mean):
            raise CellError(f"nodes of {width} numbers where the others have {len(self.mean)}. Fix the cell")
        scale = np.array(self.std)
        found = np.zeros((value.size, width))
        if value.features is not None:
            found = np.where(
                scale > 0, (value.features - np.array(self.mean)) / np.where(scale > 0, scale, 1), 0
            )
        if not self.labels:
            return found
        one_hot = np.zeros((value.size, len(self.labels) + 1))
        at = {label: i for i, label in enumerate(self.labels)}
        for i, label in enumerate(value.labels or ()):
            one_hot[i, at.get(label, len(self.labels))] = 1.0
        return np.concatenate([found, one_hot], 1)

    def _of_types(self, value: Network) -> list[np.ndarray]:
        """How many edges of each hashed type come in and go out of each node, as logarithms."""
        if not self.typed:
            return []
        counts = np.zeros((value.size, 2 * _TYPES))
        for (start, end), kind in zip(value.edges, value.types or ()):
            counts[start, hashed(kind, _TYPES)] += 1
            counts[end, _TYPES + hashed(kind, _TYPES)] += 1
        return [np.log1p(counts)]


def hashed(word: str, places: int) -> int:
    """A place for a word, the same in every process."""
    return zlib.crc32(word.encode(errors="replace")) % places


def _degrees(value: Network) -> np.ndarray:
    ends = (np.bincount(value.edges[:, side], minlength=value.size) for side in (0, 1))
    return np.log1p(np.stack(list(ends), 1))


def _nodes(nodes: Any) -> tuple[int, np.ndarray | None, tuple[str, ...] | None]:
    if isinstance(nodes, (int, float, np.number)) and not isinstance(nodes, bool):
        if not 1 <= nodes <= limits().nodes or nodes != int(nodes):
            raise CellError(f"{nodes} nodes. Give a whole number from 1 to {limits().nodes}")
        return int(nodes), None, None
    if not isinstance(nodes, (list, tuple, np.ndarray)) or not len(nodes):
        raise CellError("a graph needs nodes: a count, a list of labels, or a row of numbers each. Add them")
    if len(nodes) > limits().nodes:
        raise CellError(f"{len(nodes)} nodes are above the cap of {limits().nodes}. Thin the graph")
    if all(isinstance(node, str) for node in nodes):
        return len(nodes), None, tuple(map(str, nodes))
    try:
        with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
            features = np.stack([np.asarray(node, dtype=np.float32) for node in nodes])
    except (TypeError, ValueError):
        raise CellError("the nodes of a graph must have as many numbers each. Fix the cell") from None
    features = features[:, None] if features.ndim == 1 else features
    if features.ndim != 2 or not np.isfinite(features).all():
        raise CellError("the nodes of a graph must have finite numbers. Fix the cell")
    return len(features), features, None


def _edges(edges: Any, size: int) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(edges, (list, tuple, np.ndarray)):
        raise CellError("a graph needs edges: a list of [i, j] or [i, j, weight]. Add them, or an empty list")
    if len(edges) > limits().edges:
        raise CellError(f"{len(edges)} edges are above the cap of {limits().edges}. Thin the graph")
    if not len(edges):
        return np.zeros((0, 2), dtype=np.int64), np.zeros(0)
    try:
        with np.errstate(over="ignore"):
            rows = np.stack([np.asarray(edge, dtype=np.float64) for edge in edges])
    except (TypeError, ValueError):
        raise CellError("the edges of a graph must be [i, j] or [i, j, weight] each. Fix the cell") from None
    if rows.ndim != 2 or rows.shape[1] not in (2, 3):
        raise CellError("the edges of a graph must be [i, j] or [i, j, weight] each. Fix the cell")
    ends = rows[:, :2]
    bad = ~((ends >= 0) & (ends < size) & (ends == np.floor(ends))).all(1)
    if bad.any():
        at = int(bad.argmax())
        raise CellError(f"edge {at} is {ends[at].tolist()}, and the nodes are 0 to {size - 1}. Fix the edge")
    weights = rows[:, 2] if rows.shape[1] == 3 else np.ones(len(rows))
    if not (np.abs(weights) < 1e30).all():
        at = int((~(np.abs(weights) < 1e30)).argmax())
        raise CellError(f"the weight of edge {at} is {weights[at]}. Give a finite number")
    return ends.astype(np.int64), weights
