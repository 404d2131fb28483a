"""What meta-training works on, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace

from metamodal.data.encode import Preprocessor
from metamodal.meta.engine import Engine
from metamodal.training.options import TrainOptions
from metamodal.training.sources import Sources
from metamodal.training.told import Told
from metamodal.types import Batch

__all__ = ["Material"]


@dataclass(frozen=True)
class Material:
    """A model's engine, an encoded table with its tasks, and the options.

    `tasks` point into `rows`, and `told` is what is known of the rows' classes.
    """

    engine: Engine
    preprocessor: Preprocessor
    rows: Batch
    tasks: Sources
    options: TrainOptions
    seed: int = 0
    told: Told | None = None

    def judged_by(self, episodes: int) -> Material:
        """The same, with at most so many validation episodes."""
        few = min(self.options.valid_episodes, episodes)
        return replace(self, options=self.options.model_copy(update={"valid_episodes": few}))
