"""Homoscedastic uncertainty: every loss over its variance, and the variances are learned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.training.losses.weighing import State, Weighing, weighings
from metamodal.traits import declared
from metamodal.types import Params

__all__ = ["Uncertainty"]

_NAME = "outer.log_variance"


@weighings.register("uncertainty")
@dataclass(frozen=True)
class Uncertainty(Weighing):
    """`Σ λ_m (L_m / σ_m² + log σ_m²)` in the logarithms of the variances (Kendall et al., 2018).

    At rest `σ_m² = L_m`, whatever λ_m.
    """

    def parameters(self, count: int) -> Params:
        return {_NAME: declared(torch.zeros(count), rate=20.0)}

    def factors(self, state: State, params: Params) -> Float[Tensor, "k"]:
        return torch.exp(-params[_NAME].detach())

    def loss(
        self, params: Params, weights: Float[Tensor, "k"], losses: Float[Tensor, "k"]
    ) -> Float[Tensor, ""]:
        return (weights * (torch.exp(-params[_NAME]) * losses + params[_NAME])).sum()
