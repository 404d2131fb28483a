"""Objectives: the summands of `Σ λ_m L_m`, one file each.

| name | losses | λ |
|---|---|---|
| `episodic` | what `train.outer` says of the episodes | 1 |
| `alone` | `alone.<modality>`: the query loss by each modality | `train.alone`, by `train.modality_weight` |
| `supervised` | a linear classifier of all training classes | `train.supervised` |
| `reconstruct` | each modality decoded from its own token | `train.reconstruct` |
| `translate` | each modality decoded from every other one's token | `train.translate` |
| `align` | InfoNCE between the modalities' tokens | `train.align` |
| `impute` | tokens told from the others of their row | `train.impute`, if the model imputes |
"""

from metamodal.training.objectives.align import Align
from metamodal.training.objectives.alone import Alone
from metamodal.training.objectives.decoded import Reconstruct, Translate
from metamodal.training.objectives.episodic import Episodic
from metamodal.training.objectives.impute import Impute
from metamodal.training.objectives.protocol import Objective, active, objectives
from metamodal.training.objectives.step import Step, drawn_step, where_present
from metamodal.training.objectives.supervised import Supervised

__all__ = [
    "Align",
    "Alone",
    "Episodic",
    "Impute",
    "Objective",
    "Reconstruct",
    "Step",
    "Supervised",
    "Translate",
    "active",
    "drawn_step",
    "objectives",
    "where_present",
]
