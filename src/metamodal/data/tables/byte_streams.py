"""The bytes of a table file, unpacked up to a cap, and errors of bytes that cannot be decoded."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import Any

from metamodal.data.limits import limits
from metamodal.errors import DataError

__all__ = ["first_line", "opened", "undecoded"]


def opened(file: Path | bytes) -> io.BytesIO | io.BufferedReader:
    if isinstance(file, bytes):
        return io.BytesIO(file)
    if file.suffix.lower() == ".gz":
        return io.BufferedReader(_Unpacked(file))
    return file.open("rb")


class _Unpacked(io.RawIOBase):
    """A gzip file as it unpacks, up to the cap of bytes."""

    def __init__(self, path: Path) -> None:
        self._path, self._left = path, limits().bytes
        self._stream = gzip.open(path)  # noqa: SIM115, closed with this

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(min(len(buffer), 1 << 16))
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"{self._path.name}: not readable as gzip ({first_line(error)}). Write it again."
            ) from None
        self._left -= len(data)
        if self._left < 0:
            raise DataError(
                f"{self._path.name}: unpacks to more than the cap of {limits().bytes} bytes. Unpack it first, or raise "
                "the cap (data.limits.bytes)."
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def undecoded(file: Path | bytes, name: str, encoding: str, found: UnicodeError) -> DataError:
    if not isinstance(
        found, UnicodeDecodeError
    ):  # what the bytes as a whole lack, such as UTF-16's first mark
        return DataError(f"{name}: not {encoding} ({first_line(found)}). Pass another --encoding.")
    with opened(file) as stream:
        data = stream.read()
    at = found.start
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        at = error.start + (3 if encoding == "utf-8-sig" and data[:3] == b"\xef\xbb\xbf" else 0)
    except UnicodeError:
        pass
    if encoding not in ("utf-8-sig", "utf-16"):
        return DataError(f"{name}: byte {at} is not {encoding}. Pass another --encoding.")
    known = "UTF-8" if encoding == "utf-8-sig" else "UTF-16"
    return DataError(f"{name}: byte {at} is not {known}. Save the file as UTF-8, or pass --encoding cp1252.")


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
