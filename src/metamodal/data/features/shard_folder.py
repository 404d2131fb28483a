"""The folder of shards: written beside the present ones, then put in their place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metamodal.data.tables.folders import ABOUT, shards_named, signed
from metamodal.storage import PART, locked, made, write_text

__all__ = ["left_shards", "publish", "staged"]

_PENDING = f"{PART}shards.json"  # names the shards that are being put into place


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A hidden folder inside `folder` to write shards to; no other process writes there meanwhile."""
    new = made(folder)
    try:
        with locked(folder.resolve(), wait=False):
            for path in (*left_shards(folder), *folder.glob(f"{PART}*")):  # of an attempt that was killed
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            part = Path(tempfile.mkdtemp(prefix=PART, dir=folder))
            try:
                yield part
                new = []
            finally:
                shutil.rmtree(part, ignore_errors=True)
    finally:
        for path in new:
            path.rmdir()


def left_shards(folder: Path) -> list[Path]:
    """The shards that an attempt put into place before it was killed, and that no record names."""
    named = {path.name for path in shards_named(folder) or []}
    return [path for path in shards_named(folder, _PENDING) or [] if path.name not in named]


def publish(part: Path, folder: Path, about: dict[str, Any]) -> None:
    """The shards under names that the present table does not use, then the record that names them; then the
    old ones go."""
    old = shards_named(folder) or []
    turn = "" if not old or old[0].stem.endswith("-1") else "-1"
    shards = {f"{path.stem}{turn}.parquet": path for path in sorted(part.iterdir())}
    write_text(folder / _PENDING, signed({"shards": list(shards)}))
    for name, path in shards.items():
        os.replace(path, folder / name)
    write_text(folder / ABOUT, signed(about | {"shards": list(shards)}))
    for path in (*(path for path in old if path.name not in shards), folder / _PENDING):
        path.unlink(missing_ok=True)
