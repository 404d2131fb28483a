"""GradNorm: losses whose gradients are as large as they should be."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor

from metamodal.training.losses.weighing import State, Weighing, evened, weighings

__all__ = ["GradNorm"]


@weighings.register("gradnorm")
@dataclass(frozen=True)
class GradNorm(Weighing):
    """Factors under which the norms `G_m` of the weighted gradients are `mean(G) r_m^alpha` (Chen et al., 2018).

    `r_m` is how much of a loss's first value is left, over the mean of that; `alpha` 0 makes all norms
    equal. The norm is over all weights that are kept. A step multiplies each factor by
    `(wish / G_m)^rate`: the descent of Chen et al. in logarithms, which keeps factors positive whatever
    the scale of the gradients. A loss without a gradient keeps its factor.
    """

    alpha: NonNegativeFloat = 0.5
    rate: PositiveFloat = 0.025

    @property
    def norms(self) -> bool:
        return True

    def stepped(self, state: State, losses: Float[Tensor, "k"], norms: Float[Tensor, "k"]) -> State:
        first = state.get("first", losses)
        moves = (norms > 0) & (losses > 0) & (first > 0)
        if not moves.any():
            return state | {"first": first}
        left = (losses[moves] / first[moves]).clamp(min=1e-6)
        wish = norms[moves].mean() * (left / left.mean()) ** self.alpha
        factors = state["factors"].clone()
        factors[moves] *= (wish / norms[moves]) ** self.rate
        return {"first": first, "factors": evened(factors)}
