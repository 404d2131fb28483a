"""Folders as tables: shards, a data set that the `datasets` library saved, or files sorted by class."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metamodal.data.roles import Roles
from metamodal.data.tables.chunks import Chunk
from metamodal.data.tables.endings import ending_of
from metamodal.data.tables.formats import FORMATS
from metamodal.data.tables.media_types import media_kind
from metamodal.data.tables.problems import Problem, Report
from metamodal.data.tables.text_files import TextFormat
from metamodal.data.tasks.splits import part_of
from metamodal.errors import DataError

__all__ = [
    "ABOUT",
    "class_folders",
    "is_encoded",
    "read_shards",
    "roles_beside",
    "saved_splits",
    "shards_named",
    "shards_of",
    "signed",
]

ABOUT = "metamodal.json"
"""Beside shards that `encode` wrote: what their columns are, and the roles that go without saying."""


def signed(about: dict[str, Any]) -> str:
    """What stands in `ABOUT`, with a digest that tells it from a file of the same name by others."""
    return json.dumps(about | {"digest": _digest(about)}, indent=1, ensure_ascii=False)


def is_encoded(folder: Path, record: str = ABOUT) -> bool:
    """Whether `encode` wrote this folder's record."""
    try:
        about = _json(folder / record)
    except DataError:
        return False
    return about.pop("digest", None) == _digest(about)


def shards_named(folder: Path, record: str = ABOUT) -> list[Path] | None:
    """The shards that the record of a folder names, in order; `None` without a record that `encode` wrote."""
    if not is_encoded(folder, record):
        return None
    return [folder / Path(str(name)).name for name in _json(folder / record).get("shards", [])]


def _digest(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def saved_splits(folder: Path) -> dict[str, list[Path]] | None:
    """The files of each split that `datasets` saved to disk (`""` for a single one), else `None`."""
    if (folder / "dataset_dict.json").is_file():
        names = _json(folder / "dataset_dict.json").get("splits", [])
        return {name: _saved_files(folder / name) for name in names}
    return {"": _saved_files(folder)} if (folder / "state.json").is_file() else None


def _saved_files(folder: Path) -> list[Path]:
    entries = _json(folder / "state.json").get("_data_files", [])
    files = [folder / str(entry.get("filename")) for entry in entries if isinstance(entry, dict)]
    for file in files:
        if not file.is_file():
            raise DataError(f"{file}: missing, though state.json names it. Save the data set again.")
    return files


def _json(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable ({error}). Save the data set again.") from None
    return record if isinstance(record, dict) else {}


def shards_of(folder: Path) -> list[Path]:
    """The table files in a folder, in order of their names; of one that `encode` wrote those that it named.

    Raises:
        DataError: files of two formats, or one is missing.
    """
    if (named := shards_named(folder)) is not None:
        for path in named:
            if not path.is_file():
                raise DataError(f"{path}: missing, though {ABOUT} names it. Encode the table again.")
        return named
    # A .json in a folder is more often what somebody noted about the tables than one of them.
    tables = FORMATS.keys() - {".json"}
    files = sorted(p for p in folder.iterdir() if ending_of(p) in tables and not p.name.startswith("."))
    endings = sorted({ending_of(p) for p in files})
    if len(endings) > 1:
        raise DataError(
            f"{folder}: holds tables of two formats ({', '.join(endings)}). Name one file, or sort them out."
        )
    return files


def roles_beside(folder: Path) -> Roles | None:
    """The roles that `encode` wrote beside its shards."""
    path = folder / ABOUT
    if not path.is_file():
        return None
    if not is_encoded(folder):
        raise DataError(f"{path}: damaged, or not written by encode. Encode the table again.")
    said = _json(path)["roles"]
    return Roles(**said | {"use": tuple(said["use"])})


def read_shards(files: dict[str, list[Path]], rows: int, report: Report, text: TextFormat) -> Iterator[Chunk]:
    """Files one after another as one table; a split's name becomes a cell of the column `split`."""
    first = 0
    for split, paths in files.items():
        for path in paths:
            last = first

            def at(problem: Problem, first: int = first, path: Path = path) -> None:
                row = None if problem.row is None else first + problem.row
                report(Problem(row, problem.column, problem.value, f"in {path.name}, {problem.reason}"))

            for frame, numbers in FORMATS[ending_of(path)](path, str(path), rows, at, text):
                if split and "split" not in frame.columns:
                    frame["split"] = [split] * len(frame)
                last = first + int(numbers[-1])
                yield Chunk(frame, first + numbers)
            first = last


def class_folders(folder: Path) -> tuple[list[dict[str, str]], Roles]:
    """Records of the files under a folder, and the roles that its layout gives.

    `dog/001.jpg` is a row with the column `label`; files of one stem and different media
    (`dog/001.jpg`, `dog/001.wav`) are one row. A folder above the class is the column `split`
    where all such folders are parts (`train/dog/001.jpg`), else `folder`.

    Raises:
        DataError: no file of a known kind, or files at different depths.
    """
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    known = [
        p for p in sorted(folder.rglob("*")) if p.is_file() and (media_kind(p.name) or p.suffix == ".txt")
    ]
    depths = {len(p.relative_to(folder).parts) for p in known}
    if not depths or min(depths) < 2:
        raise DataError(
            f"{folder}: holds neither a table ({', '.join(FORMATS)}) nor folders of images, sounds, videos "
            "or texts, one a class. Name a table file."
        )
    if len(depths) > 1 or max(depths) > 3:
        odd = max(known, key=lambda p: len(p.parts)).relative_to(folder)
        raise DataError(
            f"{folder}: '{odd}' lies deeper than others. Sort files as class/file or part/class/file."
        )
    for path in known:
        *parents, file = path.relative_to(folder).parts
        kind = media_kind(file) or "text"
        row = rows.setdefault((*parents, Path(file).stem), {})
        row[kind if kind not in row else Path(file).suffix[1:]] = _cell(path, folder)
        row["label"] = parents[-1]
        if len(parents) == 2:
            row["folder"] = parents[0]
    above = {row["folder"] for row in rows.values() if "folder" in row}
    if above and all(part_of(name) for name in above):
        for row in rows.values():
            row["split"] = row.pop("folder")
        return list(rows.values()), Roles(target="label", split="split")
    return list(rows.values()), Roles(target="label")


def _cell(path: Path, folder: Path) -> str:
    """A media file by its path, a text by what it says."""
    if media_kind(path.name):
        return path.relative_to(folder).as_posix()
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8. Save the file as UTF-8.") from None
