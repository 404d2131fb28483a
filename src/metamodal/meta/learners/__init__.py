"""Learners, one file each.

| name | `adapt` returns | paper |
|---|---|---|
| `prototypes` | class means | Snell et al., 2017 |
| `ridge` | a weight matrix, in closed form | Bertinetto et al., 2019 |
| `maml` | fast weights | Finn et al., 2017 |
| `per_modality` | one inner state a modality, and how far to trust each | see its docstring |
"""

from metamodal.meta.learners.maml import MAML
from metamodal.meta.learners.per_modality import PerModality
from metamodal.meta.learners.protocol import learners
from metamodal.meta.learners.prototypes import Prototypes
from metamodal.meta.learners.ridge import Ridge

__all__ = ["MAML", "PerModality", "Prototypes", "Ridge", "learners"]
