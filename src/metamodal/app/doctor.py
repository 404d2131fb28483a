"""What is installed, what devices there are, and what is missing and how to get it."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from typing import Any

from metamodal.data.modalities import modalities
from metamodal.data.modalities.capabilities import capabilities_of

__all__ = ["findings"]

_DEVELOPERS = "dev"


def findings() -> dict[str, Any]:
    """Versions by package, extras, devices, readable kinds, and problems with their remedies."""
    import torch

    versions = {"metamodal": version("metamodal"), "python": platform.python_version()}
    lacking: dict[str, list[str]] = {}
    problems = []
    for line in requires("metamodal") or []:
        name = re.split(r"[^\w.-]", line)[0]
        extra = line.partition("extra ==")[2].strip(" '\"")
        found = _version(name)
        if not extra:
            versions[name] = found or "missing"
            if found is None:
                problems.append(f"{name} is missing. Install it: python -m pip install {name}")
        elif extra != _DEVELOPERS:
            lacking.setdefault(extra, []).extend([] if found else [name])
    devices = [f"cpu ({torch.get_num_threads()} threads)"]
    devices += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "versions": versions,
        "extras": {extra: _install(extra) if names else "ready" for extra, names in lacking.items()},
        "devices": devices,
        "kinds": {kind: _kind(kind) for kind in modalities},
        "problems": problems,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _install(extra: str) -> str:
    return f"not installed: python -m pip install 'metamodal[{extra}]'"


def _kind(kind: str) -> str:
    """Whether a kind is read, and where not all of its files are, what is missing for the others."""
    if kind not in modalities:
        return "not in this version"
    reader = capabilities_of(kind).reader
    if reader is None or find_spec(reader.package) is not None:
        return "ready"
    return f"{reader.without}; for {reader.files}: python -m pip install 'metamodal[{reader.extra}]'"
