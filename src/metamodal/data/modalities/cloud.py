"""Point clouds from files: `.npy`, text of numbers, and meshes of PLY, OFF, OBJ or STL."""

from __future__ import annotations

import io
import re
from types import ModuleType

import numpy as np

from metamodal.data.modalities.files import NPY_MAGIC, array_of_npy
from metamodal.data.modalities.protocol import CellError
from metamodal.errors import OptionError

__all__ = ["cloud_of_file"]

_SURFACE_POINTS = 2048
_REMEDY = "Replace the cell or leave it empty"


def cloud_of_file(data: bytes) -> np.ndarray:
    """The points in the bytes of a file, whose format is told from the bytes.

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


def _of_text(data: bytes) -> np.ndarray:
    try:
        lines = [line.replace(",", " ").split() for line in data.decode().splitlines()]
        rows = [[float(word) for word in line] for line in lines if line and not line[0].startswith("#")]
        if len(rows) > 1 and len(rows[0]) == 1 and rows[0][0] == len(rows) - 1:
            rows = rows[1:]  # .xyz files may begin with the number of points
        return np.array(rows)
    except ValueError:  # UnicodeDecodeError is one, and so are ragged rows
        raise CellError(
            f"not a readable point cloud ({len(data)} bytes): no lines of as many numbers each. {_REMEDY}"
        ) from None


def _of_mesh(data: bytes, form: str) -> np.ndarray:
    trimesh = _trimesh()
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
