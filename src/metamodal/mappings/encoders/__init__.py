"""Encoders: one modality's tensor to one token of the shared width.

Nothing here keeps statistics of a batch: normalisation is per sample, so that a row's token hangs
on that row alone, no task leaks into the next, and `torch.func.vmap` sees plain functions.
"""

from metamodal.mappings.encoders.pictures import AudioEncoder, ConvEncoder, VideoEncoder
from metamodal.mappings.encoders.pretrained import PretrainedEncoder
from metamodal.mappings.encoders.registry import encoders
from metamodal.mappings.encoders.sequences import TemporalEncoder
from metamodal.mappings.encoders.sets import GraphEncoder, PointsEncoder
from metamodal.mappings.encoders.vectors import Identity, VectorEncoder

__all__ = [
    "AudioEncoder",
    "ConvEncoder",
    "GraphEncoder",
    "Identity",
    "PointsEncoder",
    "PretrainedEncoder",
    "TemporalEncoder",
    "VectorEncoder",
    "VideoEncoder",
    "encoders",
]
