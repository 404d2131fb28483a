"""Gradient surgery: one direction from the gradients of several losses that may conflict.

Surgeries are aggregators of the library torchjd over the matrix `(losses, weights)`. `none` is the default; others
are in `metamodal.contrib.surgeries`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torchjd.aggregation import Aggregator, Sum

from metamodal.registry import Registry

__all__ = ["aggregated", "surgeries"]

surgeries: Registry[Callable[[int], Aggregator]] = Registry("surgery", contrib="surgeries")
"""Gradient surgeries by name, builders `count -> aggregator`; they may draw from torch's generator and keep no state."""


def aggregated(
    rows: Float[Tensor, "k p"], surgery: Callable[[int], Aggregator], generator: Generator | None = None
) -> Float[Tensor, "p"]:
    """One gradient from those of `k` losses.

    Losses that move nothing take no part: the least of all gradients is no direction. With one loss
    left it is that loss's gradient.

    >>> aggregated(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]), surgeries["pcgrad"])
    tensor([0.5000, 1.5000])
    """
    moving = rows[(rows != 0).any(1)]
    if len(moving) < 2:
        return rows.sum(0)
    with torch.random.fork_rng(devices=[]), moving.device:
        if generator is not None:
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        return surgery(len(moving))(moving)


surgeries.register("none")(lambda count: Sum())
"""`Σ g_m`."""
