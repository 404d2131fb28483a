"""Decoders: one point of the shared space to one modality's tensor.

What has no decoder (text, graph, points, video, audio) is translated to by looking among candidates.
"""

from metamodal.mappings.decoders.pictures import ConvDecoder
from metamodal.mappings.decoders.registry import decoders
from metamodal.mappings.decoders.sequences import TemporalDecoder
from metamodal.mappings.decoders.vectors import VectorDecoder

__all__ = ["ConvDecoder", "TemporalDecoder", "VectorDecoder", "decoders"]
