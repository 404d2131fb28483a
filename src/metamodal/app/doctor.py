"""What is installed, what devices there are, and what is missing and how to get it."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from metamodal.data.column_kinds import KINDS
from metamodal.data.modalities import modalities

__all__ = ["findings"]


def findings() -> dict[str, Any]:
    """Versions by package, devices, readable kinds, and problems with their remedies."""
    import torch

    versions = {"metamodal": version("metamodal"), "python": platform.python_version()}
    problems = []
    for line in requires("metamodal") or []:
        name = re.split(r"[^\w.-]", line)[0]
        extra = line.partition("extra ==")[2].strip(" '\"")
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = f"missing (extra {extra})" if extra else "missing"
            if not extra:
                problems.append(f"{name} is missing. Install it: python -m pip install {name}")
    devices = [f"cpu ({torch.get_num_threads()} threads)"]
    devices += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    kinds = {k: "ready" if k in modalities else "not in this version" for k in KINDS}
    return {"versions": versions, "devices": devices, "kinds": kinds, "problems": problems}
