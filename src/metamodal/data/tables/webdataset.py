"""WebDataset tars: files of one key are the cells of one row.

`0001.png`, `0001.wav` and `0001.cls` are a row with the columns `image`, `audio` and `label`;
`0001.left.png` is a cell of the column `left`. A JSON object's members are columns of their own.
"""

from __future__ import annotations

import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from typing import Any

from metamodal.data.limits import limits
from metamodal.data.modalities.files import array_of_npy
from metamodal.data.modalities.protocol import CellError
from metamodal.data.tables.json_values import json_value
from metamodal.data.tables.media_types import media_kind
from metamodal.data.tables.problems import Problem, Report, short
from metamodal.data.tables.unreadable import Unreadable
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
    """Numbered records of the files in a tar, in their order there.

    Args:
        stream: a seekable file; a hard link is read where its target is stored.

    Raises:
        DataError: no tar, or one that is cut short or goes on after its end, as joined archives do.
    """
    number, key = 1, None
    record: dict[str, Any] = {}
    ended: set[str] = set()
    files: dict[str, tarfile.TarInfo] = {}
    try:
        with tarfile.open(fileobj=stream, mode="r:*", tarinfo=_Member) as archive:
            for member in archive:
                folder, _, file = member.name.rpartition("/")
                if member.isdir() or file.startswith("."):
                    continue
                stem, _, ending = file.partition(".")
                this = f"{folder}/{stem}" if folder else stem
                if this != key:
                    if key is not None:
                        yield number, record
                        number += 1
                        ended.add(key)
                    if this in ended:
                        raise DataError(
                            f"{name}: the files of sample {this!r} do not stand together: {member.name} comes after those of "
                            f"{key!r}. Write the archive again in the order of names: tar --sort=name."
                        )
                    key, record = this, {"key": this}
                try:
                    held = _held(member, files, in_place=archive.fileobj is stream)
                    files[member.name] = held
                    if held.size > limits().bytes:
                        reason = f"is {held.size} bytes, above the cap of {limits().bytes}. Cut it into parts"
                        record.setdefault(_column(ending, record), Unreadable(member.name, reason))
                        continue
                    opened = archive.extractfile(held)
                    data = opened.read() if opened else b""
                    if len(data) < held.size:
                        raise _DamagedError("unexpected end of data")
                    _add(record, ending, data)
                except (ValueError, RecursionError) as error:
                    report(Problem(number, ending or None, short(member.name), f"{member.name}: {error}"))
            _check_rest(archive)
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".:")
        raise DataError(f"{name}: not a readable tar ({reason}). Write it again.") from None
    if key is not None:
        yield number, record


def _held(member: tarfile.TarInfo, files: dict[str, tarfile.TarInfo], *, in_place: bool) -> tarfile.TarInfo:
    """The member that holds a file's bytes; ValueError where no member of the archive does."""
    if member.isfile():
        return member
    if not member.islnk():
        what = f"a symbolic link to {member.linkname!r}" if member.issym() else "no file"
        raise ValueError(f"it is {what}. Write the files themselves into the tar (tar --dereference)")
    if member.linkname not in files:
        raise ValueError(
            f"it is a hard link to {member.linkname!r}, which is not before it. Write the tar again"
        )
    if not in_place:  # each link would unpack the archive again from its start
        raise ValueError("it is a hard link in a compressed tar. Unpack the tar first")
    return files[member.linkname]


def _check_rest(archive: tarfile.TarFile) -> None:
    """An error where anything but zeros follows the end of an archive: tarfile would leave it out unasked."""
    rest: Any = archive.fileobj
    rest.seek(archive.offset)
    while block := rest.read(1 << 20):
        if block.strip(b"\0"):
            raise _DamagedError("there is more after its end, as in archives that were joined")


class _DamagedError(tarfile.TarError):
    """A damaged header; not one of the errors that tarfile passes over."""


class _Member(tarfile.TarInfo):
    """A member whose header is whole, and whose description is no larger than a name may be: that is read whole."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> _Member:
        try:
            found = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # a block of zeros, which is how an archive ends
        except tarfile.HeaderError as error:  # where tarfile would end the archive and say nothing
            raise _DamagedError(f"it is cut short or damaged: {error}") from None
        if found.type in _DESCRIPTIONS and found.size > _LONGEST_DESCRIPTION:
            raise _DamagedError(f"a member's description of {found.size} bytes")
        return found


def _column(ending: str, record: dict[str, Any]) -> str:
    """The column that a file of this ending has, as `_add` names it."""
    column, _, last = ending.lower().rpartition(".")
    media = media_kind(f"x.{last}")
    return column or (media if media and media not in record else _TEXTS.get(last, last))


def _add(record: dict[str, Any], ending: str, data: bytes) -> None:
    """A file's content into its column; ValueError says why it cannot be."""
    column, _, last = ending.lower().rpartition(".")
    if media_kind(f"x.{last}"):
        _put(record, _column(ending, record), data)
    elif last in _TEXTS:
        _put(record, column or _TEXTS[last], _text(data).strip())
    elif last == "json":
        value = json_value(_text(data))
        if isinstance(value, dict) and not column:
            record.pop(
                "key" if "key" in value else "", None
            )  # the name of the files, unless they say another
            for name, cell in value.items():
                _put(record, name, cell)
        else:
            _put(record, column or "json", value)
    elif last == "npy":
        try:
            _put(record, column or "array", array_of_npy(data))
        except CellError:
            raise ValueError("not a readable .npy array. Replace the file") from None
    else:
        known = "an image, audio or video file, .txt, .cls, .json or .npy"
        raise ValueError(f"the ending {ending!r} is not known. Give {known}")


def _put(record: dict[str, Any], column: str, cell: Any) -> None:
    if column in record:
        raise ValueError(f"the row has a cell in the column {column!r} already. Keep one of them")
    record[column] = cell


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8. Save the file as UTF-8") from None
