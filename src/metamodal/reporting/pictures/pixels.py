"""Pictures within the page: pixels, and numbers as shades of grey, as data URIs."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import PIL.Image
from markupsafe import Markup

__all__ = ["embedded", "shaded", "shrunk"]

_HEAVY = 2500  # bytes of a PNG above which a JPEG is tried
_GREYS = 15  # with the gap's colour 16: four bits a pixel
_GAP = (156, 195, 234)


def embedded(picture: PIL.Image.Image, look: str, title: str = "") -> Markup:
    """A picture as PNG or JPEG, whichever is smaller; `look` is a class of the page."""
    form, data = "png", _encoded(picture, "PNG", optimize=True)
    if len(data) > _HEAVY and picture.mode != "P":
        other = _encoded(picture, "JPEG", quality=82)
        form, data = ("jpeg", other) if len(other) < len(data) else (form, data)
    shown = Markup(' title="{}"').format(title) if title else Markup()
    return Markup('<img class="{}" src="data:image/{};base64,{}" alt=""{}>').format(
        look, form, base64.b64encode(data).decode(), shown
    )


def shaded(shares: np.ndarray, title: str = "") -> Markup:
    """A matrix as pixels, 0 white and 1 black; NaN is a gap, in blue."""
    gap = np.isnan(shares)
    grey = np.rint((_GREYS - 1) * (1 - np.where(gap, 0, shares).clip(0, 1)))
    picture = PIL.Image.fromarray(np.where(gap, _GREYS, grey).astype(np.uint8))
    greys = [round(255 * i / (_GREYS - 1)) for i in range(_GREYS) for _ in range(3)]
    picture.putpalette([*greys, *_GAP])
    return embedded(picture, "coarse wide", title)


def shrunk(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """A matrix of at most so many rows and columns, neighbours averaged; NaN only where all of them are."""
    for axis, most in enumerate((height, width)):
        size = values.shape[axis]
        if size > most:
            starts = np.linspace(0, size, most, endpoint=False).astype(int)
            there = ~np.isnan(values)
            sums = np.add.reduceat(np.where(there, values, 0.0), starts, axis)
            counts = np.add.reduceat(there.astype(float), starts, axis)
            values = sums / np.where(counts > 0, counts, np.nan)
    return values


def _encoded(picture: PIL.Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()
