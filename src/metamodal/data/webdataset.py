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

from metamodal.data.cells import media_kind
from metamodal.data.limits import limits
from metamodal.data.modalities.files import array_of_npy
from metamodal.data.modalities.protocol import CellError
from metamodal.data.problems import Problem, Report, short
from metamodal.data.unreadable import Unreadable
from metamodal.errors import DataError

__all__ = ["read_tar"]

_LONGEST_DESCRIPTION = 1 << 20
_DESCRIPTIONS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_TEXTS = {"txt": "text", "text": "text", "cls": "label", "cls2": "label2", "transcript": "transcript"}


def read_tar(stream: io.BufferedIOBase, name: str, report: Report) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbered records of the files in a tar, in their order there."""
    number, key = 1, None
    record: dict[str, Any] = {}
    try:
        with tarfile.open(fileobj=stream, mode="r|*", tarinfo=_Member) as archive:
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
                if member.size > limits().bytes:
                    reason = f"is {member.size} bytes, above the cap of {limits().bytes}. Cut it into parts"
                    record.setdefault(_column(ending, record), Unreadable(member.name, reason))
                    continue
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


class _Member(tarfile.TarInfo):
    """A member whose own description is no larger than a name may be: tarfile reads that whole."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> _Member:
        found = super().frombuf(buf, encoding, errors)
        if found.type in _DESCRIPTIONS and found.size > _LONGEST_DESCRIPTION:
            raise tarfile.ReadError(f"a member's description of {found.size} bytes")
        return found


def _column(ending: str, record: dict[str, Any]) -> str:
    """The column that a file of this ending has, as `_add` names it."""
    column, _, last = ending.lower().rpartition(".")
    media = media_kind(f"x.{last}")
    return column or (media if media and media not in record else _TEXTS.get(last, last))


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
            record[column or "array"] = array_of_npy(data)
        except CellError:
            raise ValueError("not a readable .npy array. Replace the file") from None
    else:
        known = "an image, audio or video file, .txt, .cls, .json or .npy"
        raise ValueError(f"the ending {ending!r} is not known. Give {known}")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8. Save the file as UTF-8") from None
