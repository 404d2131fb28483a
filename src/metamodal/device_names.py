"""The names of devices and precisions; known without torch, so that the command line starts fast."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["DEVICES", "PRECISIONS", "Device", "Precision"]

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bfloat16"]

DEVICES: tuple[str, ...] = get_args(Device)
"""`auto` is an NVIDIA GPU where there is one, else the CPU."""

PRECISIONS: tuple[str, ...] = get_args(Precision)
"""`bfloat16` is for encoders, fusion and decoders; learners and losses compute in float32."""
