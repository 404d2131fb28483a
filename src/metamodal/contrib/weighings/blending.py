"""Gradient blending: a loss counts by what it teaches of new tasks, over what it merely learns by heart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from pydantic import PositiveFloat

from metamodal.errors import OptionError
from metamodal.training.losses.weighing import Gap, State, Weighing, evened, weighings

__all__ = ["Blending"]


@weighings.register("blending")
@dataclass(frozen=True)
class Blending(Weighing):
    """`ΔG / ΔO²` from validation to validation (Wang et al., 2020), 1 on average.

    `ΔG` is how much a loss fell on validation episodes, `ΔO` how much its distance to that on training
    episodes of the same shape grew, at least `least`. It weighs the joint loss and each modality's own;
    others keep their λ. Where no loss fell the factors stay.
    """

    least: PositiveFloat = 0.02

    def check(self, names: Sequence[str]) -> None:
        if not any(name.startswith("unimodal.") for name in names):
            raise OptionError(
                "train.weighing=blending: it weighs the joint loss against each modality's own, and there is none. "
                "Set train.losses.unimodal=1, with several modalities and a learner that keeps the encoders, or train.weighing=fixed."
            )

    def validated(self, state: State, gap: Callable[[], Gap]) -> State:
        now = gap()
        found = {"train": now.train, "valid": now.valid, "factors": state["factors"]}
        if "valid" not in state:
            return found
        known = ~now.valid.isnan()
        gained = (state["valid"] - now.valid)[known].clamp(min=0)
        grown = ((now.valid - now.train) - (state["valid"] - state["train"]))[known].clamp(min=self.least)
        if gained.sum() > 0:
            factors = torch.ones_like(state["factors"])
            factors[known] = evened(gained / grown.square())
            found["factors"] = factors
        return found
