"""Weighings: how the factors on the fixed λ are set, one file each.

| name | a loss counts for more | paper |
|---|---|---|
| `fixed` | never | |
| `uncertainty` | the less it is | Kendall et al., 2018 |
| `gradnorm` | the smaller its gradient | Chen et al., 2018 |
| `dwa` | the slower it falls | Liu et al., 2019 |
| `blending` | the better it generalises | Wang et al., 2020 |
"""

from metamodal.training.losses.weighing.blending import Blending
from metamodal.training.losses.weighing.dwa import DWA
from metamodal.training.losses.weighing.fixed import Fixed
from metamodal.training.losses.weighing.gradnorm import GradNorm
from metamodal.training.losses.weighing.protocol import Gap, State, Weighing, begun, weighings
from metamodal.training.losses.weighing.uncertainty import Uncertainty

__all__ = [
    "DWA",
    "Blending",
    "Fixed",
    "Gap",
    "GradNorm",
    "State",
    "Uncertainty",
    "Weighing",
    "begun",
    "weighings",
]
