"""The bytes of a file that a cell stands for: a path, bytes, or a record of both."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from metamodal.data.limits import limits
from metamodal.data.modalities.protocol import CellError

__all__ = ["NPY_MAGIC", "array_of_npy", "check_size", "file_bytes"]

NPY_MAGIC = b"\x93NUMPY"


def file_bytes(cell: Any, base: Path, what: str) -> bytes:
    """The content of the file that a cell names or holds; `what` it should be is for the message.

    A cell is bytes, a path relative to `base` that stays within it, or a record
    `{"bytes": …, "path": …}` whose bytes count first, as the `datasets` library stores media.

    Raises:
        CellError: another type, a path that leads out of `base` or nowhere, an empty file.
    """
    if isinstance(cell, dict):
        held = cell.get("bytes")
        cell = cell.get("path") if held is None else held
        if cell is None:
            raise CellError(f"a record without bytes or path is no {what}. Give one of the two")
    if isinstance(cell, (str, os.PathLike)):
        cell = _opened(os.fspath(cell), base)
    if not isinstance(cell, (bytes, bytearray, memoryview)):
        raise CellError(f"{type(cell).__name__} is no {what}. Give bytes, a path or an array")
    check_size(len(cell), what)
    data = bytes(cell)
    if not data:
        raise CellError(f"0 bytes are no {what}. Replace the cell or leave it empty")
    return data


def check_size(size: int, what: str) -> None:
    """CellError if a cell of so many bytes is above the cap."""
    if size > limits().bytes:
        raise CellError(f"a {what} of {size} bytes is above the cap of {limits().bytes}. Cut it into parts")


def _opened(name: str, base: Path) -> bytes:
    path = base / name
    within = any(path.absolute().is_relative_to(root) for root in (base.absolute(), base.resolve()))
    if ".." in Path(name).parts or not within:
        raise CellError(f"{name!r} leaves the table's folder. Move the file there, or store its bytes")
    try:
        if not path.is_file():
            raise CellError(f"{name!r} does not exist (paths are relative to the table). Fix the path")
        size = path.stat().st_size
        if size > limits().bytes:
            raise CellError(
                f"{name!r} has {size} bytes, above the cap of {limits().bytes}. Cut it into parts"
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:  # no permission; a name too long, or with a NUL in it
        reason = getattr(error, "strerror", None) or str(error)
        raise CellError(f"{name[:80]!r} cannot be opened ({reason}). Fix the path") from None


def array_of_npy(data: bytes) -> np.ndarray:
    """The array in the bytes of a `.npy` file, which must be whole and hold no Python objects."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else _header_2_0
        shape, columns_first, dtype = header(stream)
    except Exception as error:  # the header is parsed as Python, so anything may be raised
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise CellError(f"no readable .npy file: {reason}. Replace the cell or leave it empty") from None
    body = memoryview(data)[stream.tell() :]
    if dtype.hasobject:
        raise CellError("a .npy file of Python objects is not opened. Save an array of numbers")
    needed = math.prod(shape) * dtype.itemsize
    if needed != len(body) or dtype.itemsize == 0:
        raise CellError(
            f"a .npy file holds {len(body)} of {needed} bytes. Replace the cell or leave it empty"
        )
    array = np.frombuffer(body, dtype)
    return array.reshape(shape[::-1]).T if columns_first else array.reshape(shape)


def _header_2_0(stream: io.BytesIO) -> Any:
    return np.lib.format.read_array_header_2_0(stream)
