"""How the features of a table are computed and shared out over files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metamodal.errors import OptionError

__all__ = ["CHUNK", "ShardOptions"]

CHUNK = 1024
"""Rows of the table that are in memory at a time."""


@dataclass(frozen=True)
class ShardOptions:
    """How features are computed and shared out over files.

    Args:
        encoders: pretrained encoders by modality; the others get the features of their kind.
        kinds: options of the kinds' `fit`, by kind.
        unreadable: `"error"`, or `"absent"` for an empty cell in its place.
        rows: of a shard.
        seed: of the sample and of the split.
    """

    encoders: Mapping[str, Any]
    kinds: Mapping[str, Mapping[str, Any]]
    unreadable: str = "error"
    rows: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise OptionError(f"rows={self.rows}: a shard has 1 row or more. Give e.g. 4096.")
