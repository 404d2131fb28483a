"""How far support rows may move the answer to labels and numbers: settled on validation tasks.

In training rows the population's answer fits better than it will in new ones, so that what the
support leaves over looks like its task's own when it is noise. With every unit of shrinkage the
parameters that hold a learner back grow: at last it gives the population's answer, so that on the
validation tasks a support set never does harm. A single validation task cannot tell how much tasks
differ: then shrinkage is greatest, and the population's answer stands.
"""

from __future__ import annotations

from metamodal.types import Params

__all__ = ["SHRINKAGES", "shrinks", "shrunk"]

SHRINKAGES = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0)
"""What is tried, in units of the logarithm."""

_RESTRAINTS = {"log_penalty": 1, "log_strength": 1, "log_inner_lr": -1}


def shrinks(name: str) -> bool:
    """Whether shrinkage moves this parameter."""
    return name.startswith("learner.") and name.rpartition(".")[2] in _RESTRAINTS


def shrunk(params: Params, shrinkage: float) -> Params:
    """The parameters with every penalty of the learner larger, and its steps smaller, by `exp(shrinkage)`."""
    if not shrinkage:
        return params
    return {
        name: value + shrinkage * _RESTRAINTS[name.rpartition(".")[2]] if shrinks(name) else value
        for name, value in params.items()
    }
