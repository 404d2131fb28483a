"""The options of the model: the shared space, and how modalities become tensors."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from metamodal.config import Options

__all__ = ["ModelOptions"]


class ModelOptions(Options):
    """The shared space and how modalities become tensors."""

    dim: int = Field(128, ge=8, description="width of the shared space")
    fusion: str = Field("mean", description="mean, concat, gated, low_rank, bottleneck, attention, experts")
    decoders: bool = Field(False, description="decoders beside the encoders, to translate modalities with")
    impute: bool = Field(False, description="absent tokens from those that are there, as sure as that is")
    image_size: int = Field(32, ge=8, le=128, description="side of an image in pixels")
    series_length: int = Field(96, ge=8, description="points that a series is resampled to")
    encoders: dict[str, Any] = Field(
        {}, description="pretrained encoders by modality: minilm, a folder, or package.module:name"
    )
    tune: list[str] = Field([], description="modalities whose pretrained encoder is trained along")
    text_buckets: int = Field(2048, ge=64, description="hash buckets of a text's n-grams")
    audio_rate: int = Field(16000, ge=2000, le=96000, description="highest samples a second of a sound")
    audio_seconds: float = Field(5.0, gt=0, le=600, description="longest part of a sound that is heard")
    audio_mels: int = Field(48, ge=8, le=256, description="mel bands of a sound")
    video_frames: int = Field(8, ge=2, le=32, description="frames of a clip, evenly spaced")
    video_size: int = Field(32, ge=8, le=64, description="side of a clip's frame in pixels")
    graph_nodes: int = Field(32, ge=2, le=512, description="most nodes of a graph that are kept")
    points: int = Field(256, ge=8, le=4096, description="most points of a cloud that are kept")

    def by_kind(self) -> dict[str, dict[str, Any]]:
        """The options of each kind's `fit`."""
        return {
            "image": {"size": self.image_size},
            "series": {"length": self.series_length},
            "text": {"buckets": self.text_buckets},
            "audio": {"rate": self.audio_rate, "seconds": self.audio_seconds, "mels": self.audio_mels},
            "video": {"frames": self.video_frames, "size": self.video_size},
            "graph": {"nodes": self.graph_nodes},
            "points": {"count": self.points},
        }
