"""Images: every format and pixel mode, turned as they should be, and nothing too large."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL.EpsImagePlugin
import PIL.Image
import pytest

from conftest import png
from media import encoded, gif, npy
from metamodal.data.modalities import Image, modalities
from metamodal.data.modalities.protocol import CellError
from metamodal.data.tables.media_types import PICTURES

BASE = Path(__file__).parent
RNG = np.random.default_rng(0)
PNG = png(RNG.integers(0, 255, (20, 16), dtype=np.uint8))


def test_a_truncated_image_is_refused():
    whole = encoded(PIL.Image.fromarray(RNG.integers(0, 255, (64, 64), dtype=np.uint8)), "PNG")
    with pytest.raises(CellError, match="not a readable image"):
        Image.read(whole[: len(whole) // 2], BASE)


def test_exif_rotation_is_applied():
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:, :4] = 255
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    turned = Image.read(encoded(PIL.Image.fromarray(pixels), "PNG", exif=exif), BASE)
    assert turned.shape == (16, 8)
    assert turned[:3].mean() > 250
    assert turned[8:].mean() < 5


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_pixel_mode_reads_to_its_grey_levels(mode: str):
    grey = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)
    picture = PIL.Image.fromarray(grey)
    if mode == "I;16":
        picture = PIL.Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        picture = picture.convert(mode)
    read = Image.read(encoded(picture, "TIFF" if mode in ("CMYK", "I;16") else "PNG"), BASE)
    expected = np.where(grey > 127, 255, 0) if mode == "1" else grey
    tolerance = 130 if mode == "1" else 2  # black and white is dithered
    assert read.shape == (8, 8)
    assert np.abs(read.astype(int) - expected).mean() <= tolerance


def test_what_is_transparent_is_white():
    clear = PIL.Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert (Image.read(encoded(clear, "PNG"), BASE) == 255).all()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_format_reads_to_its_pixels(form: str, mode: str):
    across = np.linspace(0, 255, 64).astype(np.uint8)[None].repeat(48, 0)
    picture = PIL.Image.fromarray(across).convert(mode)
    read = Image.read(encoded(picture, form, **{"lossless": True} if form == "WEBP" else {}), BASE)
    assert read.shape == (48, 64)
    assert np.abs(read.astype(int) - across).mean() < 2


def test_the_first_frame_of_an_animation_is_the_image():
    frames = np.stack([np.full((8, 8, 3), v, np.uint8) for v in (10, 200)])
    assert (Image.read(gif(frames), BASE) == 10).all()


def test_a_jpeg_is_turned_as_its_exif_says():
    pixels = np.zeros((32, 64), np.uint8)
    pixels[:, :16] = 255
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    turned = Image.read(encoded(PIL.Image.fromarray(pixels), "JPEG", exif=exif), BASE)
    assert turned.shape == (64, 32)
    assert turned[:14].mean() > 240
    assert turned[20:].mean() < 15


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bits_are_scaled_by_their_range_whatever_the_brightest_value(form: str):
    dark = np.full((4, 4), 200, np.uint16)
    bright = np.full((4, 4), 51_400, np.uint16)
    assert (Image.read(encoded(PIL.Image.fromarray(dark), form), BASE) == 1).all()
    assert (Image.read(encoded(PIL.Image.fromarray(bright), form), BASE) == 200).all()
    assert (Image.read(bright, BASE) == 200).all()


def test_an_npy_file_is_read_as_its_array(tmp_path: Path):
    pixels = RNG.integers(0, 255, (6, 5, 3), dtype=np.uint8)
    (tmp_path / "a.npy").write_bytes(npy(pixels))
    for cell in (npy(pixels), "a.npy", npy(np.asfortranarray(pixels))):
        assert np.array_equal(Image.read(cell, tmp_path), pixels)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (npy(np.zeros((4, 4), np.uint8))[:-3], "holds 13 of 16 bytes"),
        (npy(np.array([{}], dtype=object)), "Python objects is not opened"),
        (b"\x93NUMPY\x01\x00\x05\x00abcde", "no readable .npy file"),
    ],
)
def test_an_npy_file_that_is_cut_short_or_unsafe_is_refused(data: bytes, message: str):
    with pytest.raises(CellError, match=message):
        Image.read(data, BASE)


def test_an_image_that_claims_too_many_pixels_is_refused_before_it_is_decoded():
    head = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)
    chunks = [head, b"IDAT" + zlib.compress(b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks
    )
    with pytest.raises(CellError, match="above the cap of 64000000 pixels. Shrink it"):
        Image.read(data, BASE)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (np.full((4, 4), -1.0), "0..255, or 0..1 as floats"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\) is no image"),
        (np.array([["a"]]), "Give numbers"),
        (3.5, "float is no image. Give bytes, a path or an array"),
    ],
)
def test_what_is_no_image_says_why(cell, message: str):
    with pytest.raises(CellError, match=message):
        Image.read(cell, BASE)


def test_no_file_of_a_picture_s_name_starts_another_program(monkeypatch: pytest.MonkeyPatch):
    def started(*given, **options):
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(PIL.EpsImagePlugin, "Ghostscript", started)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) run\n%%EOF\n"
    for kind in ("image", "video"):
        with pytest.raises(CellError):
            modalities[kind].read(eps, Path())
    for form in ("PSD", "FITS", "EPS", "WMF"):
        assert form not in PICTURES


PIL.Image.init()


@pytest.mark.parametrize("form", [f for f in PICTURES if f in PIL.Image.SAVE and f != "MPO"])
def test_every_format_that_is_promised_is_read(form: str):
    file = io.BytesIO()
    PIL.Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(file, form)
    assert abs(int(Image.read(file.getvalue(), Path()).mean()) - 200) <= 3


def test_the_library_leaves_pillow_s_warnings_to_the_user():
    code = """
import warnings
before = list(warnings.filters)
import metamodal
from metamodal.data.features.opening import opener
ours = [f for f in warnings.filters if f not in before and f[3] is not None and "PIL" in str(f[3])]
assert not ours, ours
"""
    subprocess.run([sys.executable, "-c", code], check=True)
