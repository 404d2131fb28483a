"""Fusion: the tokens of a row's modalities to one embedding, whatever is absent.

Every fusion sees which tokens stand for a cell that is there. A token of an absent cell is the
modality's learned absent token, in training and in use alike; how much it counts is learned too,
and starts at almost nothing. An imputer may stand beside it, and say of the row's other tokens what
this one would be. All start as the mean of the tokens that are there, or close to it, and
learn to do better.
"""

from metamodal.mappings.fusion.attention import Attention, AttentionWeights
from metamodal.mappings.fusion.bottleneck import Bottleneck
from metamodal.mappings.fusion.concat import Concatenation, SideBySide
from metamodal.mappings.fusion.experts import Experts
from metamodal.mappings.fusion.gated import Gated
from metamodal.mappings.fusion.low_rank import LowRank
from metamodal.mappings.fusion.mean import Mean
from metamodal.mappings.fusion.registry import Attending, KnowsPresence, Presence, fusions, imputers

__all__ = [
    "Attending",
    "Attention",
    "AttentionWeights",
    "Bottleneck",
    "Concatenation",
    "Experts",
    "Gated",
    "KnowsPresence",
    "LowRank",
    "Mean",
    "Presence",
    "SideBySide",
    "fusions",
    "imputers",
]
