"""Objectives: the summands of `Σ λ_m L_m`, one file each.

| name | losses | λ |
|---|---|---|
| `episodic` | what `train.outer` says of the episodes | `train.losses.episodic` |
| `unimodal` | `unimodal.<modality>`: the query loss by each modality | `train.losses.unimodal` |
| `supervised` | a linear classifier of all training classes | `train.losses.supervised` |
| `reconstruct` | each modality decoded from its own token | `train.losses.reconstruct` |
| `translate` | each modality decoded from every other one's token | `train.losses.translate` |
| `align` | InfoNCE between the modalities' tokens | `train.losses.align` |
| `impute` | tokens predicted from the others of their row | `train.losses.impute`, if the model imputes |
"""

from metamodal.training.losses.align import Align
from metamodal.training.losses.decoded import Reconstruct, Translate
from metamodal.training.losses.episodic import Episodic
from metamodal.training.losses.protocol import Objective, active, objectives
from metamodal.training.losses.step import Step, drawn_step, where_present
from metamodal.training.losses.supervised import Supervised
from metamodal.training.losses.unimodal import Unimodal

__all__ = [
    "Align",
    "Episodic",
    "Objective",
    "Reconstruct",
    "Step",
    "Supervised",
    "Translate",
    "Unimodal",
    "active",
    "drawn_step",
    "objectives",
    "where_present",
]
