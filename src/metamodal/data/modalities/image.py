"""Images: any file Pillow reads, as square tensors of one size, grey where all are grey."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from metamodal.data.limits import alone, limits
from metamodal.data.modalities.capabilities import Capabilities
from metamodal.data.modalities.files import NPY_MAGIC, array_of_npy, file_bytes
from metamodal.data.modalities.protocol import CellError, check_scales, modalities
from metamodal.data.tables.media_types import PICTURES

__all__ = ["Image", "check_pixels", "opened_picture", "pixels_of", "read_image", "refusing"]

_STRIP_PIXELS = 4_000_000  # larger pictures are converted and reduced in strips
_DECODERS = {"JPEG2000": 4, "AVIF": 3, "WEBP": 3}
"""How many times the usual memory a decoder takes; their pictures are capped at as much fewer pixels."""
_TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
"""What undoes each orientation that EXIF knows."""
_KEPT_SIDE = 128
_LARGE_SIDE = 256  # pixels of an image that reach a pretrained network, most of which take 224
_ORIENTATIONS = 8
_ORIENTATION = 0x0112  # in EXIF
_CELLS = 7


@modalities.register("image")
@dataclass(frozen=True)
class Image:
    """Square images of `size` pixels; `border` fills what a narrow picture leaves open.

    Pixel values are standardised by the training images' `mean` and `std` per channel. Pictures of
    16 bits a pixel are scaled by that range, whatever their brightest value: 65535 is white.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        threaded=True,
        files=True,
        recorded=True,
        picture=lambda pixels: PIL.Image.fromarray(pixels).convert("RGB"),
        read_large=lambda cell, base: read_image(cell, base, _LARGE_SIDE),
    )

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    border: float

    def __post_init__(self) -> None:
        check_scales("image", self.mean, self.std, self.size)
        if len(self.mean) not in (1, 3):
            raise ValueError(f"image: {len(self.mean)} channels")

    @classmethod
    def read(cls, cell: Any, base: Path) -> np.ndarray:
        """An image as `(height, width)` grey or `(height, width, 3)` bytes, at most 128 pixels a side."""
        return read_image(cell, base, _KEPT_SIDE)

    @classmethod
    def fit(cls, values: Sequence[np.ndarray], *, size: Annotated[int, Field(ge=8, le=128)] = 32) -> Image:
        channels = 3 if any(v.ndim == 3 for v in values) else 1
        size = min(size, max(max(v.shape[:2]) for v in values))
        border = float(np.median([np.median(_edge(v)) for v in values]))
        unscaled = cls(size, (0.0,) * channels, (1.0,) * channels, border)
        step = max(1, len(values) // 2000)
        x = unscaled.tensor(values[::step])
        mean = x.mean((0, 2, 3)).tolist()
        std = x.std((0, 2, 3)).clamp(min=1e-3).tolist()
        return cls(size, tuple(mean), tuple(std), border)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.mean), self.size, self.size)

    def tensor(self, values: Sequence[np.ndarray]) -> Float[Tensor, "n c h w"]:
        pixels = np.stack([self._square(v) for v in values])
        x = torch.from_numpy(pixels).float().div_(255)
        x = x[:, None] if len(self.mean) == 1 else x.permute(0, 3, 1, 2).contiguous()
        return (x - _channelwise(self.mean)) / _channelwise(self.std)

    def cells(self, x: Float[Tensor, "n c h w"]) -> list[bytes]:
        """The bytes of a PNG each, grey or RGB."""
        shares = x * _channelwise(self.std) + _channelwise(self.mean)
        pixels = (255 * shares.clamp(0, 1)).round().byte().permute(0, 2, 3, 1).numpy()
        return [_png(picture[..., 0] if picture.shape[2] == 1 else picture) for picture in pixels]

    def features(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """Histograms of oriented gradients beside a thumbnail (Dalal and Triggs, 2005)."""
        grey = (x * _channelwise(self.std)).mean(1, keepdim=True)
        kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
        padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
        gradient = F.conv2d(padded, torch.stack([kernel, kernel.T])[:, None])
        strength = torch.hypot(gradient[:, 0], gradient[:, 1])
        angle = torch.atan2(gradient[:, 1], gradient[:, 0]) % math.pi
        turn = angle * (_ORIENTATIONS / math.pi)
        bins = torch.arange(_ORIENTATIONS)[:, None, None]
        distance = (turn[:, None] - bins + _ORIENTATIONS / 2) % _ORIENTATIONS - _ORIENTATIONS / 2
        votes = strength[:, None] * (1 - distance.abs()).clamp(min=0)
        cells = F.adaptive_avg_pool2d(votes, _CELLS)
        cells = F.normalize(cells + 1e-4, dim=1) * cells.sum(1, keepdim=True).clamp(max=0.05).sqrt()
        histogram = F.normalize(cells.flatten(1), dim=1)
        thumbnail = F.adaptive_avg_pool2d(x, _CELLS).flatten(1)
        thumbnail = F.normalize(thumbnail - thumbnail.mean(1, keepdim=True), dim=1)
        colour = F.normalize(x.mean((2, 3)), dim=1) if x.shape[1] == 3 else x.new_zeros(len(x), 0)
        return F.normalize(torch.cat([histogram, 0.5 * thumbnail, 0.3 * colour], 1), dim=1)

    def augment(self, x: Float[Tensor, "n c h w"], generator: Generator) -> Float[Tensor, "n c h w"]:
        """Small turns, stretches, shears and shifts, one affine map a picture."""

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator) * 2 - 1

        n = len(x)
        angle, shear = 0.25 * uniform(n), 0.25 * uniform(n)
        scale, shift = 1 + 0.2 * uniform(n, 2), 0.12 * uniform(n, 2)
        rows = [
            torch.stack([angle.cos() * scale[:, 0], shear - angle.sin(), shift[:, 0]], 1),
            torch.stack([angle.sin(), angle.cos() * scale[:, 1], shift[:, 1]], 1),
        ]
        grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)

    @property
    def variants(self) -> int:
        return 8

    def variant(self, x: Float[Tensor, "n c h w"], number: int) -> Float[Tensor, "n c h w"]:
        """Quarter turns and their mirror images."""
        x = x.flip(3) if number & 4 else x
        return torch.rot90(x, number & 3, (2, 3))

    def _square(self, value: np.ndarray) -> np.ndarray:
        colour = len(self.mean) == 3
        if colour and value.ndim == 2:
            value = np.repeat(value[..., None], 3, axis=2)
        picture = PIL.Image.fromarray(value)
        if not colour and picture.mode != "L":
            picture = picture.convert("L")
        width, height = picture.size
        if width != height:
            side = max(width, height)
            fill = round(self.border)
            square = PIL.Image.new(picture.mode, (side, side), (fill,) * 3 if colour else fill)
            square.paste(picture, ((side - width) // 2, (side - height) // 2))
            picture = square
        if picture.width != self.size:
            shrink = picture.width > self.size
            method = PIL.Image.Resampling.BOX if shrink else PIL.Image.Resampling.BILINEAR
            picture = picture.resize((self.size, self.size), method)
        return np.asarray(picture)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _channelwise(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values)[:, None, None]


def read_image(cell: Any, base: Path, side: int) -> np.ndarray:
    """A cell as grey `(h, w)` or RGB `(h, w, 3)` bytes on white, of at most `side` pixels a side.

    Raises:
        CellError: no image, a damaged one, or one above the cap.
    """
    if isinstance(cell, np.ndarray):
        return _reduced(_of_array(cell), side)
    if isinstance(cell, PIL.Image.Image):
        with refusing("picture"):
            return _reduced(cell, side)
    data = file_bytes(cell, base, "image")
    if data.startswith(NPY_MAGIC):
        return _reduced(_of_array(array_of_npy(data)), side)
    return _decoded(data, side)


def _decoded(data: bytes, side: int) -> np.ndarray:
    """A picture's pixels, turned as its EXIF says; of an animation the first frame."""
    with refusing(f"{len(data)} bytes"), opened_picture(data) as picture:
        share = side / max(picture.size)  # a JPEG is decoded at the size that is kept, or the next larger
        size = (math.ceil(picture.width * share), math.ceil(picture.height * share))
        picture.draft(None, size)
        with alone(4 * picture.width * picture.height):
            picture.load()
            if not _is_large(picture):
                PIL.ImageOps.exif_transpose(picture, in_place=True)
                return _reduced(picture, side)
            turn = _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
            pixels = _reduced(picture, side)
        return pixels if turn is None else np.asarray(PIL.Image.fromarray(pixels).transpose(turn))


def pixels_of(picture: PIL.Image.Image | np.ndarray, side: int) -> np.ndarray:
    """A picture, or the pixels of one, as grey or RGB bytes of at most `side` pixels a side."""
    return _reduced(PIL.Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture, side)


def opened_picture(data: bytes) -> PIL.Image.Image:
    """A picture whose header is read and whose pixels are not, within the cap."""
    try:
        PIL.Image.init()
        known = [form for form in PICTURES if form in PIL.Image.OPEN]
        picture = PIL.Image.open(io.BytesIO(data), formats=known)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
        raise CellError(f"an image above the cap of {limits().pixels} pixels. Shrink it") from None
    check_pixels(picture.width, picture.height, picture.format)
    return picture


def check_pixels(width: int, height: int, format: str | None = None) -> None:
    """CellError if a picture of this size is above the cap, which is lower for formats that take more."""
    cap = limits().pixels // _DECODERS.get(format or "", 1)
    if width * height > cap:
        what = f"{format} " if format in _DECODERS else ""
        raise CellError(f"an {what}image of {width}×{height} pixels is above the cap of {cap}. Shrink it")


def _is_large(picture: PIL.Image.Image) -> bool:
    return picture.width * picture.height > _STRIP_PIXELS


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Whatever a decoder raises as a `CellError`; `what` was to be decoded is for the message."""
    try:
        yield
    except CellError:
        raise
    except Exception as error:  # damaged files make Pillow's decoders raise almost anything
        reason = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
        if "cannot identify" in reason:
            reason = "the bytes are no PNG, JPEG, WebP, GIF, TIFF or other picture that is read"
        raise CellError(
            f"not a readable image ({what}): {reason}. Replace the cell or leave it empty"
        ) from None


def _of_array(cell: np.ndarray) -> PIL.Image.Image:
    if cell.ndim == 3 and cell.shape[2] == 1:
        cell = cell[..., 0]
    if cell.ndim not in (2, 3) or 0 in cell.shape or (cell.ndim == 3 and cell.shape[2] not in (3, 4)):
        raise CellError(f"an array of shape {cell.shape} is no image. Give height × width [× 1, 3 or 4]")
    if cell.dtype.kind not in "fiub":
        raise CellError(f"an array of {cell.dtype} is no image. Give numbers")
    check_pixels(cell.shape[1], cell.shape[0])
    if cell.dtype == np.uint8:
        return PIL.Image.fromarray(cell)
    if cell.dtype == np.bool_:
        return PIL.Image.fromarray(cell.astype(np.uint8) * 255)
    if cell.dtype == np.uint16:
        return PIL.Image.fromarray(_in_strips(cell, _of_16_bits))
    low, high = cell.min(), cell.max()  # a NaN anywhere is both
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0 or high > 255:
        raise CellError("image values must lie in 0..255, or 0..1 as floats. Rescale the array")
    unit = np.issubdtype(cell.dtype, np.floating) and high <= 1
    return PIL.Image.fromarray(_in_strips(cell, lambda strip: np.round(strip * 255 if unit else strip)))


def _in_strips(values: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Values as bytes, some rows after the others."""
    changed = np.empty(values.shape, np.uint8)
    rows = max(1, _STRIP_PIXELS // math.prod(values.shape[1:]))
    for start in range(0, len(values), rows):
        changed[start : start + rows] = change(values[start : start + rows])
    return changed


def _of_16_bits(values: np.ndarray) -> np.ndarray:
    """16-bit grey levels as 8-bit ones by their range, not by the brightest value: 65535 is white."""
    return np.round(np.clip(values, 0, 65535) / 257)


def _reduced(picture: PIL.Image.Image, side: int) -> np.ndarray:
    """Grey or RGB bytes on white, no larger than is kept."""
    check_pixels(*picture.size)
    if picture.mode == "F":
        picture = _of_array(np.asarray(picture))
    size = picture.size
    if max(size) > side:
        factor = side / max(size)
        size = (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
    if _is_large(picture) and size != picture.size:
        pixels = _reduced_in_strips(picture, size)
    else:
        plain = _on_white(picture)
        pixels = np.array(plain if size == plain.size else plain.resize(size, PIL.Image.Resampling.BOX))
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    return pixels


def _reduced_in_strips(picture: PIL.Image.Image, size: tuple[int, int]) -> np.ndarray:
    """As reducing it whole, with no copy of the whole: each strip of rows ends where a row of the result does."""
    (width, height), ratio = picture.size, picture.height / size[1]
    rows = max(1, int(_STRIP_PIXELS / (width * ratio)))
    parts = []
    for top in range(0, size[1], rows):
        bottom = min(top + rows, size[1])
        first, last = int(top * ratio), min(height, math.ceil(bottom * ratio))
        strip = _on_white(picture.crop((0, first, width, last)))
        box = (0, top * ratio - first, width, min(bottom * ratio, height) - first)
        parts.append(np.asarray(strip.resize((size[0], bottom - top), PIL.Image.Resampling.BOX, box=box)))
    return np.concatenate(parts)


def _on_white(picture: PIL.Image.Image) -> PIL.Image.Image:
    """A picture as grey or RGB bytes, what is transparent on white."""
    if picture.mode.startswith("I"):
        picture = PIL.Image.fromarray(_of_16_bits(np.asarray(picture)).astype(np.uint8))
    if "A" in picture.mode or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        picture = PIL.Image.new("RGBA", layer.size, "white")
        picture.alpha_composite(layer)
        picture = picture.convert("RGB")
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    return picture


def _edge(value: np.ndarray) -> np.ndarray:
    grey = value if value.ndim == 2 else value.mean(2)
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
