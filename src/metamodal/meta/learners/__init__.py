"""Learners, one file each.

| name | `adapt` returns | paper |
|---|---|---|
| `prototypes` | class means | Snell et al., 2017 |
| `matching` | the rows themselves, as keys | Vinyals et al., 2016 |
| `ridge` | a weight matrix, in closed form | Bertinetto et al., 2019 |
| `kernel_ridge` | a kernel and the weights of the rows in it, chosen by rows held out | Saunders et al., 1998 |
| `convex` | the weights of a logistic regression | Lee et al., 2019 |
| `maml` | fast weights | Finn et al., 2017 |
| `in_context` | the support set as a set transformer reads it | Garnelo et al., 2018 |
| `modulated` | a base learner's state, and a scale and shift of each feature | Vuorio et al., 2019 |
| `per_modality` | one inner state a modality, and how far to trust each | see its docstring |
| `unimodal_fallback` | two states of a base learner, one of a single modality | |

`anil`, `meta_sgd`, `fomaml`, `linear_probe`, `fine_tune` and `stacked` are settings of these by name.
"""

from metamodal.meta.learners.convex import Convex
from metamodal.meta.learners.in_context import InContext
from metamodal.meta.learners.kernel_ridge import KernelRidge
from metamodal.meta.learners.maml import MAML
from metamodal.meta.learners.matching import Matching
from metamodal.meta.learners.modulated import Modulated
from metamodal.meta.learners.per_modality import PerModality
from metamodal.meta.learners.protocol import learners
from metamodal.meta.learners.prototypes import Prototypes
from metamodal.meta.learners.ridge import Ridge
from metamodal.meta.learners.unimodal_fallback import UnimodalFallback

__all__ = [
    "MAML",
    "UNTRAINED",
    "Convex",
    "InContext",
    "KernelRidge",
    "Matching",
    "Modulated",
    "PerModality",
    "Prototypes",
    "Ridge",
    "UnimodalFallback",
    "learners",
]

learners.name("anil", kind="maml", adapts="head")
learners.name("fomaml", kind="maml", order=1)
learners.name("meta_sgd", kind="maml", rates="each")
learners.name("linear_probe", kind="convex", steps=50)
learners.name("fine_tune", kind="maml", order=1, steps=20)
learners.name("stacked", kind="per_modality", base={"kind": "kernel_ridge"})

UNTRAINED = "stacked"
"""The learner of a model without weights, where none is set."""
