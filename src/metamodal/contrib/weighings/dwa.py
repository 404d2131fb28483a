"""Dynamic weight average: a loss that stopped falling counts for more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from pydantic import PositiveFloat
from torch import Tensor

from metamodal.training.losses.weighing import Gap, State, Weighing, evened, weighings

__all__ = ["DWA"]


@weighings.register("dwa")
@dataclass(frozen=True)
class DWA(Weighing):
    """`k softmax(r / temperature)`, where r is a loss's mean since the last validation over that before.

    Liu et al., 2019, with the time between validations as the epoch; the factors are 1 for the first two.
    """

    temperature: PositiveFloat = 2.0

    def stepped(self, state: State, losses: Float[Tensor, "k"], norms: Float[Tensor, "k"]) -> State:
        total = state.get("total", torch.zeros_like(losses)) + losses
        steps = state.get("steps", torch.zeros(())) + 1
        return state | {"total": total, "steps": steps}

    def validated(self, state: State, gap: Callable[[], Gap]) -> State:
        if "steps" not in state:
            return state
        found = {"last": state["total"] / state["steps"]}
        factors = state["factors"]
        if "last" in state:
            ratio = found["last"] / state["last"].clamp(min=1e-12)
            factors = evened(torch.softmax(ratio / self.temperature, 0))
        return {"factors": factors} | found
