"""Where a model computes, and in which precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metamodal.device_names import DEVICES, Device, Precision
from metamodal.errors import OptionError, suggestion

__all__ = ["CPU", "Device", "Precision", "device_of", "numpy_of", "opened_device"]

CPU = torch.device("cpu")

_MAKERS = {"cuda": "NVIDIA", "mps": "Apple"}


def opened_device(name: str) -> torch.device:
    """The device of that name.

    >>> opened_device("cpu")
    device(type='cpu')

    Raises:
        OptionError: no such name, or torch cannot use it on this machine.
    """
    if name not in DEVICES:
        raise OptionError(f"device={name}: no such device. {suggestion(name, DEVICES)}")
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda") if cuda else CPU
    if not {"cpu": True, "cuda": cuda, "mps": mps}[name]:
        raise OptionError(
            f"device={name}: torch sees no {_MAKERS[name]} GPU here; metamodal doctor lists the devices. Set device=cpu, or "
            "device=auto."
        )
    return torch.device(name)


def device_of(tensors: Mapping[str, Tensor]) -> torch.device:
    """The device that these tensors are on; the CPU where there are none."""
    return next((value.device for value in tensors.values()), CPU)


def numpy_of(tensor: Tensor) -> Any:
    """A tensor of any device as an array, without its gradient."""
    return tensor.detach().cpu().numpy()
