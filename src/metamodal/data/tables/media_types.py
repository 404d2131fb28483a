"""The kind of a medium, by its first bytes or the ending of its path."""

from __future__ import annotations

from functools import cache

__all__ = ["PICTURES", "media_kind", "unread_ending"]

PICTURES = (
    *("PNG", "JPEG", "MPO", "WEBP", "GIF", "TIFF", "BMP", "DIB"),
    *("ICO", "JPEG2000", "AVIF", "HEIF", "PPM", "TGA", "PCX", "QOI"),
)
"""The formats of pictures, as Pillow names them: pixels that it decodes itself. Of an EPS it would start Ghostscript."""
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"GIF8", "image"),
    (b"BM", "image"),
    (b"II*\x00", "image"),
    (b"MM\x00*", "image"),
    (b"fLaC", "audio"),
    (b"OggS", "audio"),
    (b"ID3", "audio"),
    (b"\xff\xfb", "audio"),
    (b"\xff\xf3", "audio"),
    (b"\xff\xf2", "audio"),
    (b"\xff\xe3", "audio"),
    (b"\x1aE\xdf\xa3", "video"),
    (b"\x00\x00\x01\xba", "video"),
    (b"ply", "points"),
    (b"OFF", "points"),
    (b"\x93NUMPY", "array file"),
)
_SUFFIXES = {
    "audio": "wav flac ogg oga mp3 aif aiff opus m4a aac",
    "video": "mp4 m4v avi mov mkv webm mpg mpeg 3gp",
    "points": "ply off obj stl xyz",
    "array file": "npy",
}
_KIND_OF_SUFFIX = {suffix: kind for kind, known in _SUFFIXES.items() for suffix in known.split()}
_UNREAD = frozenset(
    [
        "heic",
        "heif",
        "hif",
        "dcm",
        "dicom",
        "svg",
        "svgz",
        "pdf",
        "eps",
        "ai",
        "wma",
        "amr",
        "ac3",
        "mid",
        "midi",
        "ra",
        "caf",
        "wmv",
        "flv",
        "ts",
        "m2ts",
        "vob",
        "ogv",
        "rm",
        "raw",
        "dng",
        "cr2",
        "cr3",
        "nef",
        "arw",
        "orf",
        "rw2",
        "psd",
        "xcf",
        "nii",
        "doc",
        "docx",
        "odt",
        "rtf",
        "ppt",
        "pptx",
        "las",
        "laz",
        "e57",
        "pcd",
        "fbx",
        "glb",
        "gltf",
        "usdz",
        "step",
        "stp",
    ]
)
"""Endings of media and documents that no kind reads, nor Pillow as it is installed."""
_STILL_BRANDS = (b"avif", b"avis", b"heic", b"mif1")


def media_kind(cell: str | bytes) -> str | None:
    """`image`, `audio`, `video` or `points` by the first bytes or the ending of a path; else `None`.

    A `.npy` file may hold any of them, and is an `array file`.
    """
    if isinstance(cell, str):
        suffix = _suffix(cell)
        return _KIND_OF_SUFFIX.get(suffix) or ("image" if suffix in _picture_suffixes() else None)
    if cell[:4] == b"RIFF":
        return {b"WAVE": "audio", b"WEBP": "image", b"AVI ": "video"}.get(cell[8:12])
    if cell[:4] == b"FORM" and cell[8:11] == b"AIF":
        return "audio"
    if cell[4:8] in (b"moov", b"wide", b"mdat"):
        return "video"
    if cell[:2] in (b"\xff\xf1", b"\xff\xf9") or cell[4:11] == b"ftypM4A":
        return "audio"
    if cell[4:8] == b"ftyp":
        return "image" if cell[8:12] in _STILL_BRANDS else "video"
    return next((kind for magic, kind in _MAGIC if cell.startswith(magic)), None)


def unread_ending(cell: str) -> str | None:
    """The ending of a path to a medium that no kind reads, such as `.heic`; else `None`."""
    suffix = _suffix(cell)
    return f".{suffix}" if suffix in _UNREAD and not media_kind(cell) else None


def _suffix(path: str) -> str:
    return path[-8:].rpartition(".")[2].lower() if "." in path[-8:] else ""


@cache
def _picture_suffixes() -> frozenset[str]:
    """The endings of pictures that Pillow, with the plugins that are installed, opens."""
    import PIL.Image

    known = PIL.Image.registered_extensions().items()
    return frozenset(
        e[1:] for e, form in known if form in PICTURES and (form in PIL.Image.OPEN or form == "MPO")
    )
