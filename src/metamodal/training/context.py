"""The training context: the encoded table and its tasks, and a model on them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from metamodal.data.features.encode import Preprocessor
from metamodal.meta.engine import Engine
from metamodal.model import MetaModel
from metamodal.training.episodes.class_info import ClassInfo
from metamodal.training.episodes.options import EpisodeOptions
from metamodal.training.episodes.pools import TaskPools
from metamodal.types import Batch

__all__ = ["Context", "EncodedTable"]


@dataclass(frozen=True)
class Context:
    """What training and every stage after it works on.

    Args:
        rows: the encoded table, into which the tasks of `pools` point.
        classes: what is known of the rows' classes besides the rows.
        outer: the outer rule.
        valid_episodes: episodes of a validation.
    """

    engine: Engine
    preprocessor: Preprocessor
    rows: Batch
    pools: TaskPools
    episodes: EpisodeOptions = field(default_factory=EpisodeOptions)
    outer: str = "query"
    valid_episodes: int = 300
    seed: int = 0
    classes: ClassInfo | None = None

    def validated_on(self, episodes: int) -> Context:
        """The same, with at most so many validation episodes."""
        return replace(self, valid_episodes=min(self.valid_episodes, episodes))


@dataclass(frozen=True)
class EncodedTable:
    """A table's rows as tensors and its tasks: the same for every model that trains on it."""

    preprocessor: Preprocessor
    rows: Batch
    pools: TaskPools
    classes: ClassInfo | None
    seed: int

    @cached_property
    def features(self) -> Batch:
        """The rows as generic features."""
        return self.preprocessor.features(self.rows)

    def context(
        self,
        model: MetaModel,
        episodes: EpisodeOptions,
        outer: str = "query",
        valid_episodes: int = 300,
        seed: int | None = None,
    ) -> Context:
        """A model on these rows: on their generic features if it has no weights, which cannot be augmented."""
        seed = self.seed if seed is None else seed
        if not model.generic:
            return Context(
                model.engine,
                self.preprocessor,
                self.rows,
                self.pools,
                episodes,
                outer,
                valid_episodes,
                seed,
                self.classes,
            )
        plain = episodes.model_copy(update={"class_symmetries": False, "augment": False})
        labelled = self.pools.labelled
        return Context(
            model.engine, self.preprocessor, self.features, labelled, plain, outer, valid_episodes, seed
        )
