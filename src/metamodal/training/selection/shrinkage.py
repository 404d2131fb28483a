"""Adaptation shrinkage: how far support rows move multilabel and regression predictions, chosen on validation tasks.

The regression prior fits training rows better than new ones, so what the support set leaves over looks like a
property of its task when it is noise. Shrinkage raises the parameters that hold a learner back; at its largest
the prediction is the prior's, so that a support set does no harm on the validation tasks. A single validation
task says nothing of how much tasks differ: then shrinkage is largest.
"""

from __future__ import annotations

from metamodal.meta.engine import Engine
from metamodal.types import Params

__all__ = ["SHRINKAGES", "shrunk"]

SHRINKAGES = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0)
"""What is tried, in units of the logarithm."""


def shrunk(engine: Engine, params: Params, shrinkage: float) -> Params:
    """The parameters with every penalty of the learner larger, and its steps smaller, by `exp(shrinkage)`."""
    moved = {name: trait.shrinks for name, trait in engine.traits.items() if shrinkage and trait.shrinks}
    return params | {name: params[name] + shrinkage * sign for name, sign in moved.items() if name in params}
