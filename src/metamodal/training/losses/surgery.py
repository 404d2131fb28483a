"""Gradient surgery: one direction from the gradients of several losses that may conflict.

All are aggregators of the library torchjd over the matrix `(losses, weights)`. Its solvers of quadratic
programs and of the Nash bargain are under the GPL or LGPL; SciPy's least squares stand in for them here.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import scipy.optimize
import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torchjd.aggregation import MGDA, Aggregator, AlignedMTL, CAGrad, FairGrad, PCGrad, Sum, UPGrad
from torchjd.linalg import DualConeProjector

from metamodal.device import numpy_of
from metamodal.errors import OptionError
from metamodal.registry import Registry

__all__ = ["aggregated", "surgeries"]

surgeries: Registry[Callable[[int], Aggregator]] = Registry("surgery")
"""Gradient surgeries by name, builders `count -> aggregator`; they may draw from torch's generator and keep no state."""

_RADIUS = 0.5  # of the ball about the mean gradient that CAGrad searches, in its length


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

surgeries.register("pcgrad")(lambda count: PCGrad())
"""Each gradient without its part against every other, summed (Yu et al., 2020)."""

surgeries.register("mgda")(lambda count: MGDA())
"""The shortest convex combination, which harms none (Désidéri, 2012; Sener and Koltun, 2018)."""

surgeries.register("nash")(lambda count: FairGrad(1.0))
"""The Nash bargain `G α = 1 / α` (Navon et al., 2022), which is α-fairness at 1 (Ban and Ji, 2024)."""

surgeries.register("upgrad")(lambda count: UPGrad(torch.ones(count), projector=_LeastSquares()))
"""Each gradient projected to where it harms none, summed (Quinton and Rey, 2024)."""

surgeries.register("aligned")(lambda count: AlignedMTL(torch.ones(count)))
"""Gradients made orthogonal and equally long, summed (Senushkin et al., 2023)."""


@surgeries.register("cagrad")
def cagrad(count: int) -> Aggregator:
    """Near the mean gradient, the direction that serves the worst-off loss best (Liu et al., 2021).

    Raises:
        OptionError: its solver is not installed.
    """
    if find_spec("cvxpy") is None:
        raise OptionError(
            "train.surgery=cagrad: needs a solver of cone programs. Run pip install 'metamodal[joint]', or train.surgery=pcgrad."
        )
    return CAGrad(_RADIUS)


class _LeastSquares(DualConeProjector):
    """The projection `min_{v ≥ u} vᵀ G v`, as `min_{s ≥ 0} |L s + L u|` with `G = Lᵀ L`."""

    def __call__(self, U: Tensor, G: Tensor) -> Tensor:  # noqa: N803 - the names of the interface
        gram = numpy_of(G).astype(np.float64)
        values, vectors = np.linalg.eigh(gram / max(float(np.trace(gram)), 1e-300))
        root = np.sqrt(values.clip(min=0))[:, None] * vectors.T
        found = [u + scipy.optimize.nnls(root, -root @ u)[0] for u in numpy_of(U).astype(np.float64)]
        return torch.as_tensor(np.stack(found), dtype=G.dtype, device=G.device)
