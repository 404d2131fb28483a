"""Video: clips of pictures, or of a vector a frame, as a few frames evenly spaced in time."""

from __future__ import annotations

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
from metamodal.data.modalities.clip import decoded_clip, picture_frames
from metamodal.data.modalities.files import NPY_MAGIC, array_of_npy, file_bytes
from metamodal.data.modalities.image import Image
from metamodal.data.modalities.protocol import CellError, check_scales, modalities, most_common

__all__ = ["Video"]

_CLIP = 5.0
_GRID = 5


@modalities.register("video")
@dataclass(frozen=True)
class Video:
    """`frames` frames of square pictures of `size` pixels; of vectors where `size` is 0.

    Pictures are standardised as those of `Image` are, vectors per dimension, cut at ±5. A clip with
    fewer frames repeats the nearest ones.
    """

    frames: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    border: float = 0.0

    capabilities: ClassVar[Capabilities] = Capabilities(
        threaded=True,
        files=True,
        recorded=True,
        reader=OptionalReader("av", "video", "video files", "lists of pictures are read"),
    )

    def __post_init__(self) -> None:
        check_scales("video", self.mean, self.std, self.frames, len(self.mean))

    @classmethod
    def read(cls, cell: Any, base: Path) -> list[np.ndarray] | np.ndarray:
        """Pictures as `Image.read` gives them, or vectors as one `(frames, width)` array."""
        if isinstance(cell, np.ndarray):
            return _of_array(cell, base) if cell.dtype != object else cls.read(cell.tolist(), base)
        if isinstance(cell, (list, tuple)):
            if not cell:
                raise CellError("an empty list is no clip. Give at least one frame")
            if any(isinstance(frame, (str, bytes, bytearray, dict)) for frame in cell):
                return picture_frames(cell, lambda frame: Image.read(frame, base))
            if hasattr(cell[0], "getbands") or getattr(cell[0], "dtype", None) == np.uint8:
                return picture_frames(cell, lambda frame: Image.read(frame, base))
            try:
                return _of_array(np.stack([np.asarray(frame) for frame in cell]), base)
            except (TypeError, ValueError):
                raise CellError("the frames of a clip must have one shape. Fix the cell") from None
        data = file_bytes(cell, base, "clip")
        return _of_array(array_of_npy(data), base) if data.startswith(NPY_MAGIC) else decoded_clip(data)

    @classmethod
    def fit(
        cls,
        values: Sequence[Any],
        *,
        frames: Annotated[int, Field(ge=2, le=32)] = 8,
        size: Annotated[int, Field(ge=8, le=64)] = 32,
    ) -> Video:
        width = most_common(values, lambda v: v.shape[1] if isinstance(v, np.ndarray) else 0)
        if width:
            steps = np.concatenate([v for v in values if isinstance(v, np.ndarray) and v.shape[1] == width])
            std = steps.std(0) if len(steps) > 1 else np.ones(width)
            scale = np.where(std > 1e-8, std, 0.0)
            return cls(frames, 0, tuple(steps.mean(0).tolist()), tuple(scale.tolist()))
        chosen = [values[i] for i in range(0, len(values), max(1, len(values) // 500))]
        image = Image.fit(
            [f for v in chosen if isinstance(v, list) for f in v[:: max(1, len(v) // 4)]], size=size
        )
        return cls(frames, image.size, image.mean, image.std, image.border)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.frames, *(self._image.shape if self.size else (len(self.mean),)))

    def tensor(self, values: Sequence[Any]) -> Float[Tensor, "n t *frame"]:
        for value in values:
            self._check(value)
        chosen = [[v[i] for i in _spaced(len(v), self.frames)] for v in values]
        if self.size:
            flat = self._image.tensor([frame for clip in chosen for frame in clip])
            return flat.unflatten(0, (-1, self.frames))
        x = torch.from_numpy(np.stack([np.stack(clip) for clip in chosen])) - torch.tensor(self.mean)
        std = torch.tensor(self.std)
        return torch.where(std > 0, x / std.clamp(min=1e-8), 0.0).clamp(-_CLIP, _CLIP)

    def features(self, x: Float[Tensor, "n t *frame"]) -> Float[Tensor, "n f"]:
        """The mean and spread of the frames' features, the change from early to late, and the motion."""
        if self.size:
            of_frames = self._image.features(x.flatten(0, 1)).unflatten(0, (len(x), -1))
            moving = x.diff(dim=1).flatten(0, 1).mean(1)
            signed = torch.stack([moving.clamp(min=0), (-moving).clamp(min=0)], 1)
            motion = F.adaptive_avg_pool2d(signed, _GRID).flatten(1).unflatten(0, (len(x), -1)).mean(1)
        else:
            of_frames, motion = x, x.diff(dim=1).abs().mean(1)
        half = max(1, self.frames // 2)
        change = of_frames[:, -half:].mean(1) - of_frames[:, :half].mean(1)
        spread = (of_frames - of_frames.mean(1, keepdim=True)).square().mean(1).add(1e-12).sqrt()
        parts = [(of_frames.mean(1), 1.0), (change, 0.5), (spread, 0.5), (motion, 0.5)]
        return F.normalize(torch.cat([F.normalize(p, dim=1) * w for p, w in parts], 1), dim=1)

    def augment(self, x: Float[Tensor, "n t *frame"], generator: Generator) -> Float[Tensor, "n t *frame"]:
        """Another start and pace; pictures under one affine map a clip, vectors with a little noise."""
        n = len(x)
        pace, start = torch.rand(2, n, 1, generator=generator)
        at = torch.arange(self.frames) * (0.8 + 0.2 * pace) + 0.2 * start * (self.frames - 1)
        at = at.round().long().clamp(0, self.frames - 1)
        x = x[torch.arange(n)[:, None], at]
        if not self.size:
            return x + 0.2 * torch.randn(x.shape, generator=generator)
        return self._image.augment(x.flatten(1, 2), generator).unflatten(1, x.shape[1:3])

    @property
    def variants(self) -> int:
        return 4 if self.size else 2

    def variant(self, x: Float[Tensor, "n t *frame"], number: int) -> Float[Tensor, "n t *frame"]:
        """Time reversed (1), mirrored (2), both (3)."""
        x = x.flip(1) if number & 1 else x
        return x.flip(x.dim() - 1) if number & 2 else x

    @property
    def _image(self) -> Image:
        return Image(self.size, self.mean, self.std, self.border)

    def _check(self, value: Any) -> None:
        pictures = isinstance(value, list)
        if pictures != bool(self.size):
            found, wanted = ("pictures", "vectors") if pictures else ("vectors", "pictures")
            raise CellError(f"the frames are {found} where the others have {wanted}. Fix the cell")
        if not pictures and value.shape[1] != len(self.mean):
            raise CellError(
                f"frames of {value.shape[1]} values where the others have {len(self.mean)}. Fix the cell"
            )


def _spaced(there: int, wanted: int) -> list[int]:
    """Indices of `wanted` frames, evenly spaced, the ends included."""
    return np.linspace(0, there - 1, wanted).round().astype(int).tolist()


def _of_array(cell: np.ndarray, base: Path) -> list[np.ndarray] | np.ndarray:
    """`t × h × w [× c]` pictures, or `t × width` numbers."""
    if cell.ndim in (3, 4) and 0 not in cell.shape and cell.dtype.kind in "fiub":
        unit = cell.dtype.kind == "f" and np.isfinite(cell).all() and cell.min() >= 0 and cell.max() <= 1
        whole = (cell * 255).round().astype(np.uint8) if unit else cell  # one scale for all frames
        return picture_frames(whole, lambda frame: Image.read(frame, base))
    if cell.ndim != 2 or 0 in cell.shape or cell.dtype.kind not in "fiu":
        raise CellError(
            f"an array of shape {cell.shape} is no clip. Give frames × height × width [× 1, 3 or 4], or frames × values"
        )
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
        value = cell.astype(np.float32)
    if not np.isfinite(value).all():
        frame, at = map(int, np.argwhere(~np.isfinite(value))[0])
        raise CellError(f"frame {frame}, value {at} is {value[frame, at]}. Give a finite number")
    return value
