"""Point clouds from files: `.npy`, text of numbers, and meshes of PLY, OFF, OBJ or STL."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from types import ModuleType

import numpy as np

from metamodal.data.limits import alone, limits
from metamodal.data.modalities.files import NPY_MAGIC, array_of_npy
from metamodal.data.modalities.protocol import CellError
from metamodal.errors import OptionError

__all__ = ["check_cloud", "cloud_of_file"]

_SURFACE_POINTS = 2048
_LONGEST_LINE = 1 << 16
_STRIP = 1 << 14
_REMEDY = "Replace the cell or leave it empty"


def cloud_of_file(data: bytes) -> np.ndarray:
    """The points in the bytes of a file, whose format is recognised by the bytes.

    A mesh with faces gives points spread evenly over its surface, the same each time.

    Raises:
        CellError: no known format, cut short, no points.
        OptionError: a PLY, OFF, OBJ or STL file, and trimesh is not installed.
    """
    if data.startswith(NPY_MAGIC):
        return array_of_npy(data)
    form = _mesh_form(data)
    return _of_mesh(data, form) if form else _of_text(data)


def _mesh_form(data: bytes) -> str | None:
    if data.startswith(b"ply"):
        return "ply"
    if data.startswith(b"OFF"):
        return "off"
    if len(data) >= 84 and len(data) == 84 + 50 * int.from_bytes(data[80:84], "little"):
        return "stl"
    if re.match(rb"\s*solid\b", data):
        return "stl_ascii"
    return "obj" if re.search(rb"^v\s", data, re.MULTILINE) else None


def check_cloud(points: int, columns: int) -> None:
    """CellError if a cloud of so many numbers is above the cap."""
    if points * columns > limits().point_numbers:
        raise CellError(
            f"{points} points of {columns} numbers are above the cap of {limits().point_numbers} numbers. "
            "Thin the cloud"
        )


def _of_text(data: bytes) -> np.ndarray:
    try:
        with alone(len(data)):
            parts = list(_parts(data))
        lengths = [len(part) for part in parts]
        if (
            sum(lengths) > 1
            and lengths[0] == 1
            and parts[0].shape[1] == 1
            and parts[0][0, 0] == sum(lengths) - 1
        ):
            parts = parts[1:]  # .xyz files may begin with the number of points
        return np.concatenate(parts) if parts else np.zeros((0, 3))
    except ValueError:  # UnicodeDecodeError is one, and so are ragged rows
        raise CellError(
            f"not a readable point cloud ({len(data)} bytes): no lines of as many numbers each. {_REMEDY}"
        ) from None


def _parts(data: bytes) -> Iterator[np.ndarray]:
    """The lines of numbers in strips, the first line by itself."""
    rows: list[list[float]] = []
    count, wanted = 0, 1
    stream = io.TextIOWrapper(io.BytesIO(data), "utf-8")
    while line := stream.readline(_LONGEST_LINE + 1):
        if len(line) > _LONGEST_LINE:
            raise ValueError("a line too long")
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        rows.append([float(word) for word in words])
        if len(rows) == wanted:
            if not count and (lines := data.count(b"\n")) * len(words) > 2 * limits().point_numbers:
                check_cloud(lines, len(words))  # not even comments can be so many
            yield np.array(rows)
            count, rows, wanted = count + len(rows), [], _STRIP
            check_cloud(count, len(words))
    if rows:
        yield np.array(rows)


def _of_mesh(data: bytes, form: str) -> np.ndarray:
    trimesh = _trimesh()
    if len(data) > limits().mesh_bytes:
        raise CellError(
            f"a {form.upper()} file of {len(data)} bytes is above the cap of {limits().mesh_bytes}. Thin the mesh"
        )
    claimed = re.search(rb"element vertex (\d+)", data[:4096]) if form == "ply" else None
    if claimed and int(claimed[1]) > len(data):
        raise CellError(f"the cloud is cut short: {int(claimed[1])} points in {len(data)} bytes. {_REMEDY}")
    try:
        with np.errstate(all="ignore"):
            found = trimesh.load(io.BytesIO(data), file_type=form, process=False)
            if isinstance(found, trimesh.Scene):
                found = found.to_geometry()
            faces = getattr(found, "faces", None)
            if faces is not None and len(faces) and found.area > 0:
                return np.asarray(trimesh.sample.sample_surface(found, _SURFACE_POINTS, seed=0)[0])
            points = np.asarray(found.vertices)
    except Exception as error:  # damaged files make the parsers raise almost anything
        reason = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
        raise CellError(
            f"not a readable {form.upper()} file ({len(data)} bytes): {reason}. {_REMEDY}"
        ) from None
    if claimed and len(points) < int(claimed[1]):
        raise CellError(
            f"the cloud is cut short: {len(points)} of {int(claimed[1])} points are there. {_REMEDY}"
        )
    return points


def _trimesh() -> ModuleType:
    try:
        import trimesh
    except ImportError:
        raise OptionError(
            "meshes are read by trimesh, which is not installed. Run pip install 'metamodal[points]'."
        ) from None
    return trimesh
