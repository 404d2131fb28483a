"""The registry of decoders, and the sizes that they grow through."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from metamodal.registry import Registry

__all__ = ["GROUPS", "decoders", "doublings"]

decoders: Registry[Callable[[tuple[int, ...], int], nn.Module]] = Registry("decoder")
"""Decoders by kind of modality, builders `(shape of a sample, dim) -> module`; not every kind has one."""

GROUPS = 8


def doublings(side: int, stages: int) -> list[int]:
    """Sizes from the smallest to `side`, each half of the next, rounded up.

    >>> doublings(35, 3)
    [5, 9, 18, 35]
    """
    sizes = [side]
    for _ in range(stages):
        sizes.insert(0, (sizes[0] + 1) // 2)
    return sizes
