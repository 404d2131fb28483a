"""Weighings of losses that change during training, one file each.

| name | a loss counts for more | paper |
|---|---|---|
| `uncertainty` | the less it is | Kendall et al., 2018 |
| `gradnorm` | the smaller its gradient | Chen et al., 2018 |
| `dwa` | the slower it falls | Liu et al., 2019 |
| `blending` | the better it generalises | Wang et al., 2020 |
"""

from metamodal.contrib.weighings.blending import Blending
from metamodal.contrib.weighings.dwa import DWA
from metamodal.contrib.weighings.gradnorm import GradNorm
from metamodal.contrib.weighings.uncertainty import Uncertainty

__all__ = ["DWA", "Blending", "GradNorm", "Uncertainty"]
