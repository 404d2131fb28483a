"""Points: clouds of any size, in any order, as one number of points with a mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from metamodal.data.modalities.capabilities import Capabilities, OptionalReader
from metamodal.data.modalities.cloud import check_cloud, cloud_of_file
from metamodal.data.modalities.files import file_bytes
from metamodal.data.modalities.protocol import CellError, check_scales, modalities, most_common

__all__ = ["Points"]

_KEPT = 4096
_CELLS = 4
_RINGS = 8
_CLIP = 4.0


@modalities.register("points")
@dataclass(frozen=True)
class Points:
    """`count` points: coordinates, further features, the cloud's size, and 1 where there is a point.

    The first `axes` (at most 3) columns are coordinates: each cloud is moved to its own centre and
    scaled by its root mean square radius, whose standardised logarithm stands beside every point.
    Further columns are standardised by the training points. Of a larger cloud, points far apart are
    kept, chosen one after the other (Eldar et al., 1997); a smaller one is followed by zeros.
    """

    count: int
    axes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    log_radius: tuple[float, float]

    capabilities: ClassVar[Capabilities] = Capabilities(
        threaded=True,
        files=True,
        reader=OptionalReader(
            "trimesh", "points", "PLY, OFF, OBJ and STL files", "arrays and XYZ files are read"
        ),
    )

    def __post_init__(self) -> None:
        check_scales("points", self.mean, self.std, self.count, self.axes, self.log_radius[1])

    @classmethod
    def read(cls, cell: Any, base: Path) -> np.ndarray:
        """A cloud as `(points, columns)` floats, at most 4096 of its points, sorted."""
        if isinstance(cell, (list, tuple, np.ndarray)):
            try:
                value = np.stack([np.asarray(p) for p in cell]) if len(cell) else np.zeros((0, 3))
            except (TypeError, ValueError):
                raise CellError("the points of a cloud must have one length. Fix the cell") from None
        else:
            value = cloud_of_file(file_bytes(cell, base, "point cloud"))
        if value.ndim != 2 or value.shape[0] == 0 or value.shape[1] < 2 or value.dtype.kind not in "fiu":
            raise CellError(
                f"an array of shape {value.shape} and type {value.dtype} is no point cloud. Give points × 2 or more numbers"
            )
        check_cloud(*value.shape)
        with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
            value = value.astype(np.float32)
        if not np.isfinite(value).all():
            point, column = map(int, np.argwhere(~np.isfinite(value))[0])
            raise CellError(f"point {point}, column {column} is {value[point, column]}. Give a finite number")
        value = value[np.lexsort(value.T[::-1])]  # the order in the file says nothing
        return value[:: -(-len(value) // _KEPT)]

    @classmethod
    def fit(
        cls, values: Sequence[np.ndarray], *, count: Annotated[int, Field(ge=8, le=4096)] = 256
    ) -> Points:
        columns = most_common(values, lambda v: v.shape[1])
        alike = [v for v in values if v.shape[1] == columns]
        axes = min(3, columns)
        extra = np.concatenate([v[:: max(1, len(v) // 256), axes:] for v in alike]).astype(np.float64)
        std = extra.std(0)
        logs = np.array([math.log(_radius(_centred(v[:, :axes]))) for v in alike])
        return cls(
            count=int(min(count, max(8, max(len(v) for v in alike)))),
            axes=axes,
            mean=tuple(extra.mean(0).tolist()),
            std=tuple(np.where(std > 1e-8, std, 0.0).tolist()),
            log_radius=(float(logs.mean()), float(logs.std()) or 1.0),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.count, self.axes + len(self.mean) + 2)

    def tensor(self, values: Sequence[np.ndarray]) -> Float[Tensor, "n p f"]:
        return torch.from_numpy(np.stack([self._row(v) for v in values]))

    def features(self, x: Float[Tensor, "n p f"]) -> Float[Tensor, "n g"]:
        """How full each cell of space and each ring about the centre is; distances between points."""
        return torch.cat([self._features(part) for part in x.split(16)])

    def augment(self, x: Float[Tensor, "n p f"], generator: Generator) -> Float[Tensor, "n p f"]:
        """A small turn about the last axis, another scale a direction, jitter, some points dropped."""
        n, count, _ = x.shape
        normal = torch.randn(n, 5, generator=generator)
        turn = torch.eye(self.axes).repeat(n, 1, 1)
        c, s = (0.2 * normal[:, 0]).cos(), (0.2 * normal[:, 0]).sin()
        turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1] = c, -s, s, c
        turn = turn * (1 + 0.1 * normal[:, None, 1 : 1 + self.axes])
        jitter = torch.randn(n, count, self.axes, generator=generator)
        places = x[..., : self.axes] @ turn.mT + 0.02 * jitter
        dropped = torch.rand(n, count, generator=generator) < 0.15
        dropped[:, 0] = False  # the first point is always there
        size = x[..., -2:-1] + 0.2 * normal[:, None, 4:]
        y = torch.cat([places, x[..., self.axes : -2], size, x[..., -1:]], 2)
        return y * (x[..., -1:] * ~dropped[..., None])

    @property
    def variants(self) -> int:
        return 4

    def variant(self, x: Float[Tensor, "n p f"], number: int) -> Float[Tensor, "n p f"]:
        """Mirrored along the first axis (1), along the last one (2), along both (3)."""
        signs = torch.ones(x.shape[2])
        signs[0] = -1.0 if number & 1 else 1.0
        signs[self.axes - 1] = -1.0 if number & 2 else 1.0
        return x * signs

    def _row(self, value: np.ndarray) -> np.ndarray:
        columns = self.axes + len(self.mean)
        if value.shape[1] != columns:
            raise CellError(
                f"points of {value.shape[1]} numbers where the others have {columns}. Fix the cell"
            )
        places = _centred(value[:, : self.axes])
        radius = _radius(places)
        places = places / radius
        mean, std = self.log_radius
        if len(places) > self.count:
            kept = _far_apart(places, self.count)
            places, value = places[kept], value[kept]
        row = np.zeros(self.shape, dtype=np.float32)
        there = row[: len(places)]
        there[:, : self.axes] = places.clip(-_CLIP, _CLIP)
        scale = np.array(self.std)
        extra = (value[:, self.axes :] - np.array(self.mean)) / np.where(scale > 0, scale, 1.0)
        there[:, self.axes : -2] = np.where(scale > 0, extra, 0.0).clip(-_CLIP, _CLIP)
        there[:, -2] = np.clip((math.log(radius) - mean) / std, -_CLIP, _CLIP)
        there[:, -1] = 1.0
        return row

    def _features(self, x: Float[Tensor, "n p f"]) -> Float[Tensor, "n g"]:
        places, there = x[..., : self.axes], x[..., -1:]
        count = there.sum(1).clamp(min=1)
        middles = torch.linspace(-1.5, 1.5, _CELLS)
        near = (1 - (places[..., None] - middles).abs() * ((_CELLS - 1) / 3)).clamp(min=0)
        cells = near[..., 0, :]
        for axis in range(1, self.axes):
            cells = (cells[..., :, None] * near[..., axis, None, :]).flatten(2)
        full = (cells * there).sum(1) / count
        sides = (near.flatten(2) * there).sum(1) / count
        rings = _rings(places.norm(dim=2), there[..., 0], 2.5)
        pairs = there * there.mT
        apart = (places[:, :, None] - places[:, None]).square().sum(3).clamp(min=1e-12).sqrt()
        between = _rings(apart.flatten(1), pairs.flatten(1), 4.0)
        extra = (x[..., self.axes : -1] * there).sum(1) / count
        shares = [(full, 1.0), (sides, 0.7), (rings, 0.7), (between, 0.7)]
        parts = [F.normalize(p - p.mean(1, keepdim=True), dim=1) * w for p, w in shares]
        return F.normalize(torch.cat([*parts, 0.5 * F.normalize(extra, dim=1)], 1), dim=1)


def _rings(distance: Float[Tensor, "n p"], weight: Float[Tensor, "n p"], far: float) -> Float[Tensor, "n r"]:
    """The share of distances in each of a few overlapping rings up to `far`."""
    middles = torch.linspace(0, far, _RINGS)
    near = (1 - (distance[..., None] - middles).abs() * ((_RINGS - 1) / far)).clamp(min=0)
    return (near * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp(min=1)


def _centred(places: np.ndarray) -> np.ndarray:
    wide = places.astype(np.float64)
    return wide - wide.mean(0)


def _radius(centred: np.ndarray) -> float:
    return float(np.sqrt(np.square(centred).sum(1).mean())) or 1.0


def _far_apart(places: np.ndarray, count: int) -> np.ndarray:
    """Indices of points of which each is the farthest from those before it; the first from the centre."""
    chosen = np.empty(count, dtype=np.int64)
    distance = np.square(places).sum(1)
    at = int(distance.argmax())
    distance = np.full(len(places), np.inf)
    for i in range(count):
        chosen[i] = at
        distance = np.minimum(distance, np.square(places - places[at]).sum(1))
        at = int(distance.argmax())
    return chosen
