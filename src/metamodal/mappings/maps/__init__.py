"""Maps between feature spaces, `f(x) ≈ y` with a standard deviation: one file each.

| map | what it is | for |
|---|---|---|
| `linear` | ridge regression, penalty by leave-one-out | few pairs; a first answer |
| `nonlinear` | one hidden layer | hundreds of pairs and more |
| `transformer` | patches of the vector attend to each other | vectors with an order |
| `autoencoder` | an autoencoder a side, ridge between the codes | few pairs, many rows of one side alone |
| `adaptive` | ridge for all tasks, corrected by a task's support | tasks that differ |
"""

from metamodal.mappings.maps.adaptive import Adaptive
from metamodal.mappings.maps.autoencoder import Autoencoder
from metamodal.mappings.maps.linear import Linear
from metamodal.mappings.maps.nonlinear import Nonlinear
from metamodal.mappings.maps.protocol import AdaptingMap, FittedMap, Guess, Map, Pairs, fit_map, maps
from metamodal.mappings.maps.transformer import Transformer

MAPS = ("linear", "nonlinear", "adaptive", "autoencoder", "transformer")
"""The maps that `auto` chooses among, the first where there is no choice."""

__all__ = [
    "MAPS",
    "AdaptingMap",
    "Adaptive",
    "Autoencoder",
    "FittedMap",
    "Guess",
    "Linear",
    "Map",
    "Nonlinear",
    "Pairs",
    "Transformer",
    "fit_map",
    "maps",
]
