"""A tree of tensors as JSON values and tensors by name, and back: how an adapted state is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

__all__ = ["flattened", "unflattened"]


def flattened(tree: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """The shape of a tree of tensors as JSON, its leaves added to `tensors` by name."""
    if isinstance(tree, Tensor):
        tensors[name] = tree
        return name
    if isinstance(tree, dict):
        return {"dict": {k: flattened(v, f"{name}/{k}", tensors) for k, v in tree.items()}}
    return {"tuple": [flattened(v, f"{name}/{i}", tensors) for i, v in enumerate(tree)]}


def unflattened(shape: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `flattened`."""
    if isinstance(shape, str):
        return tensors[shape]
    if "dict" in shape:
        return {k: unflattened(v, tensors) for k, v in shape["dict"].items()}
    return tuple(unflattened(v, tensors) for v in shape["tuple"])
