"""WebDataset tars: files of one key are the cells of one row.

`0001.png`, `0001.wav` and `0001.cls` are a row with the columns `image`, `audio` and `label`;
`0001.left.png` is a cell of the column `left`. A JSON object's members are columns of their own.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from metamodal.data.cells import media_kind
from metamodal.data.problems import Problem, Report, short
from metamodal.errors import DataError

__all__ = ["read_tar"]

_TEXTS = {"txt": "text", "text": "text", "cls": "label", "cls2": "label2", "transcript": "transcript"}


def read_tar(stream: io.BufferedIOBase, name: str, report: Report) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbered records of the files in a tar, in their order there."""
    number, key, record = 1, None, {}
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as archive:
            for member in archive:
                if not member.isfile() or member.name.rpartition("/")[2].startswith("."):
                    continue
                folder, _, file = member.name.rpartition("/")
                stem, _, ending = file.partition(".")
                this = f"{folder}/{stem}" if folder else stem
                if this != key:
                    if key is not None:
                        yield number, record
                        number += 1
                    key, record = this, {"key": this}
                opened = archive.extractfile(member)
                data = opened.read() if opened else b""
                if len(data) < member.size:
                    raise tarfile.ReadError("unexpected end of data")
                try:
                    _add(record, ending, data)
                except (ValueError, RecursionError) as error:
                    reason = f"{member.name}: {error}"
                    report(Problem(number, ending or None, short(data), reason))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{name}: not a readable tar ({error}). Write it again.") from None
    if key is not None:
        yield number, record


def _add(record: dict[str, Any], ending: str, data: bytes) -> None:
    """A file's content into its column; ValueError says why it cannot be."""
    column, _, last = ending.lower().rpartition(".")
    media = media_kind(f"x.{last}")
    if media:
        record[column or (media if media not in record else last)] = data
    elif last in _TEXTS:
        record[column or _TEXTS[last]] = _text(data).strip()
    elif last == "json":
        value = json.loads(_text(data))
        if isinstance(value, dict) and not column:
            record.update(value)
        else:
            record[column or "json"] = value
    elif last == "npy":
        try:
            record[column or "array"] = np.load(io.BytesIO(data), allow_pickle=False)
        except Exception:  # numpy's reader fails in many ways on a damaged file
            raise ValueError("not a readable .npy array. Replace the file") from None
    else:
        known = "an image, audio or video file, .txt, .cls, .json or .npy"
        raise ValueError(f"the ending {ending!r} is not known. Give {known}")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8. Save the file as UTF-8") from None
