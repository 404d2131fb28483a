"""The embedded data set: letters of five scripts, drawn from the fonts that matplotlib ships.

A class is a character, a task is a script, a sample is one character in one face, seen three ways:
as a small picture, as the path of a pen and as a few measures. Nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metamodal.data.features.cache import cache_folder
from metamodal.data.glyphs.drawing import CLOSE, METRICS, Glyph, samples
from metamodal.data.tables.table import frame_of
from metamodal.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["GLYPHS_ROLES", "read_glyphs"]

GLYPHS_ROLES: dict[str, Any] = {
    "target": "character",
    "task": "script",
    "split": "split",
    "describe": "name",
    "use": ("image", "outline", "metrics"),
}
"""What each column is for, as `read_table` takes it; `face` is left as a plain fact."""

_VERSION = 1  # of the drawings: raise it with any change below, so that old caches are left alone

_SPLITS = {
    "LATIN": "train",
    "GREEK": "train",
    "CYRILLIC": "valid",
    "GEORGIAN": "test",
    "ARMENIAN": "test",
}

# The position of a face seeds its jitter: append, never insert. The fonts left out draw no letter
# that enough others have.
_FACES = {
    "DejaVuSans": "DejaVu Sans",
    "DejaVuSans-Bold": "DejaVu Sans Bold",
    "DejaVuSans-Oblique": "DejaVu Sans Oblique",
    "DejaVuSans-BoldOblique": "DejaVu Sans Bold Oblique",
    "DejaVuSansMono": "DejaVu Sans Mono",
    "DejaVuSansMono-Bold": "DejaVu Sans Mono Bold",
    "DejaVuSansMono-Oblique": "DejaVu Sans Mono Oblique",
    "DejaVuSansMono-BoldOblique": "DejaVu Sans Mono Bold Oblique",
    "DejaVuSerif": "DejaVu Serif",
    "DejaVuSerif-Bold": "DejaVu Serif Bold",
    "DejaVuSerif-Italic": "DejaVu Serif Italic",
    "DejaVuSerif-BoldItalic": "DejaVu Serif Bold Italic",
    "STIXGeneral": "STIX General",
    "STIXGeneralBol": "STIX General Bold",
    "STIXGeneralItalic": "STIX General Italic",
    "STIXGeneralBolIta": "STIX General Bold Italic",
}

_FEWEST_FACES = 8  # of a character: enough for five shots and a few queries


def read_glyphs(seed: int = 0, cache: Path | None = None) -> pd.DataFrame:
    """One row for each character in each face that has it, by code point, jittered by `seed`.

    * `image`: bytes of a PNG, 32 × 32 grey, dark ink on white.
    * `outline`: the same drawing as at most 64 points `[x, y, contour]`, evenly along each closed
      contour, in a frame of side 1 with y downward.
    * `metrics`: its `width`, `height` and `advance` in that frame, and `ink`, the covered fraction.
    * `name`, `character`, `script`: as Unicode has them. `face`: the font.
    * `split`: train for Latin and Greek, valid for Cyrillic, test for Georgian and Armenian.

    A character has at least 8 rows, and no face draws two characters of one script alike; across
    scripts some do (A, Α, А). A row depends on its seed, character and face alone.

    The first call draws for some seconds and keeps the table in `cache`: by default the folder
    METAMODAL_CACHE, else metamodal under XDG_CACHE_HOME or ~/.cache. Where nothing can be written,
    every call draws.

    >>> glyphs = read_glyphs()
    >>> sorted(glyphs.loc[glyphs.split == "test", "script"].unique())
    ['Armenian', 'Georgian']
    """
    path = _cache_path(seed, cache)
    table = _cached(path)
    if table is None:
        table = _drawn(seed)
        _store(table, path)
    return frame_of(table)


def _cache_path(seed: int, cache: Path | None) -> Path:
    import matplotlib

    key = f"{_VERSION} {seed} {matplotlib.__version__}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return (cache or cache_folder()) / f"glyphs-{digest}.parquet"


def _cached(path: Path) -> pa.Table | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
    except (OSError, pa.ArrowException):
        return None
    return table if table.schema.equals(_schema()) else None


def _store(table: pa.Table, path: Path) -> None:
    import pyarrow.parquet as pq

    # A cache that cannot be written costs time, nothing else.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            whole = Path(folder) / path.name
            pq.write_table(table, whole, compression="zstd", write_page_checksum=True)
            os.replace(whole, path)


def _schema() -> pa.Schema:
    import pyarrow as pa

    words = ("name", "character", "script", "face", "split")
    return pa.schema(
        [
            ("image", pa.binary()),
            ("outline", pa.list_(pa.list_(pa.float64()))),
            ("metrics", pa.struct([(n, pa.float64()) for n in METRICS])),
            *((w, pa.string()) for w in words),
        ]
    )


def _drawn(seed: int) -> pa.Table:
    import pyarrow as pa

    rows = list(_rows(seed))
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in _schema().names}
    columns["outline"] = _outline_column(columns["outline"])
    return pa.table(columns, schema=_schema())


def _outline_column(outlines: list[np.ndarray]) -> pa.Array:
    """Lists of lists without a million Python lists on the way."""
    import pyarrow as pa

    points = np.concatenate(outlines)
    inner = pa.ListArray.from_arrays(np.arange(len(points) + 1, dtype=np.int32) * 3, points.ravel())
    ends = np.cumsum([0, *map(len, outlines)], dtype=np.int32)
    return pa.ListArray.from_arrays(ends, inner)


def _rows(seed: int) -> Iterator[dict[str, Any]]:
    faces = list(_FACES.values())
    for character, glyphs in _told_apart(_glyphs()).items():
        script = _script(character)
        rngs = [np.random.default_rng([seed, ord(character), face]) for face in glyphs]
        drawn = samples(list(glyphs.values()), rngs)
        for face, sample in zip(glyphs, drawn, strict=True):
            yield {
                **sample,
                "name": unicodedata.name(character),
                "character": character,
                "script": script.capitalize(),
                "face": faces[face],
                "split": _SPLITS[script],
            }


def _script(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0]


def _is_wanted(character: str) -> bool:
    """Whether it is a letter of its own in one of the scripts.

    Modifier letters (Lm) are marks beside one. Subscripts, ligatures such as "fi" and signs kept
    for old encodings are others in other dress: NFKC, which text tools apply unasked, would merge
    their labels.
    """
    return (
        unicodedata.category(character) in {"Lu", "Ll", "Lt", "Lo"}
        and _script(character) in _SPLITS
        and unicodedata.normalize("NFKC", character) == character
    )


def _glyphs() -> dict[str, dict[int, Glyph]]:
    """Wanted characters by code point, with the faces that draw them by position."""
    found: dict[str, dict[int, Glyph]] = {}
    for face, stem in enumerate(_FACES):
        for character, glyph in _face_glyphs(stem):
            found.setdefault(character, {})[face] = glyph
    return dict(sorted(found.items()))


def _face_glyphs(stem: str) -> Iterator[tuple[str, Glyph]]:
    import matplotlib
    from matplotlib.ft2font import FT2Font, LoadFlags

    path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{stem}.ttf")
    if not path.is_file():
        raise DataError(f"{path}: does not exist (install matplotlib from PyPI, which brings it)")
    font = FT2Font(str(path))
    # The outline as designed: matplotlib before 3.11 squeezes x eightfold where not told otherwise.
    flags = LoadFlags.NO_SCALE | LoadFlags.IGNORE_TRANSFORM
    for code, index in font.get_charmap().items():
        if index == 0 or not _is_wanted(chr(code)):  # 0 is .notdef, the box for what is lacking
            continue
        loaded = font.load_glyph(index, flags=flags)
        vertices, codes = font.get_path()
        vertices, codes = vertices[codes != CLOSE], codes[codes != CLOSE]  # lines lead back
        if (vertices != vertices[:1]).any():
            # get_path takes font units for 64ths of a pixel.
            em = font.units_per_EM
            yield chr(code), Glyph(vertices * 64 / em, codes, loaded.horiAdvance / em)


def _told_apart(found: dict[str, dict[int, Glyph]]) -> dict[str, dict[int, Glyph]]:
    """The same without faces that draw a character as an earlier one of its script (Ð, Đ)."""
    kept: dict[str, dict[int, Glyph]] = {}
    seen: set[tuple[str, int, bytes]] = set()
    for character, glyphs in found.items():
        keys = {face: (_script(character), face, _ink_key(g)) for face, g in glyphs.items()}
        fresh = {face: glyphs[face] for face, key in keys.items() if key not in seen}
        if len(fresh) >= _FEWEST_FACES:
            kept[character] = fresh
            seen.update(keys.values())
    return kept


def _ink_key(glyph: Glyph) -> bytes:
    """Equal for drawings that differ in place along the line, or in where the pen starts."""
    x, y = np.round(glyph.vertices.T * 1000).astype(np.int64)
    x -= x.min()
    return np.unique(x << 32 | y & 0xFFFFFFFF).tobytes()
