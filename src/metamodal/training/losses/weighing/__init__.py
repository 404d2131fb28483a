"""Weighings: how the factors on the fixed λ are set. `fixed` is the default; others are in `metamodal.contrib.weighings`."""

from metamodal.training.losses.weighing.fixed import Fixed
from metamodal.training.losses.weighing.protocol import Gap, State, Weighing, begun, evened, weighings

__all__ = ["Fixed", "Gap", "State", "Weighing", "begun", "evened", "weighings"]
