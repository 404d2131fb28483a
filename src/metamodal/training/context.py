"""The training context: the encoded table and its tasks, and a model on them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from metamodal.data.features.encode import Preprocessor
from metamodal.device import CPU, device_of
from metamodal.meta.engine import Engine
from metamodal.model import MetaModel
from metamodal.training.episodes.class_info import EpisodeClassInfo
from metamodal.training.episodes.options import EpisodeOptions
from metamodal.training.episodes.pools import TaskPools
from metamodal.types import Batch

__all__ = ["Context", "EncodedTable"]


@dataclass(frozen=True)
class Context:
    """What training and every stage after it works on: the model, the encoded table, its tasks, the episodes' options.

    Objectives receive it when training starts, to decide whether they apply and with which λ. An alignment loss, for
    example, needs two modalities:

    >>> from metamodal.extend import objectives
    >>> align = objectives["align"](weight=0.5)  # align.weights(context, sampler) is then {"align": 0.5}
    >>> align.weight
    0.5

    Args:
        engine: the model under its learner, as pure functions of the parameters.
        preprocessor: from cells to tensors, fitted to the training rows.
        rows: the encoded table, `(n, …)`, into which the tasks of `pools` point.
        pools: the tasks of training and validation.
        episodes: how episodes are drawn and varied.
        outer: the outer rule.
        valid_episodes: episodes of a validation.
        seed: of everything random.
        class_info: what is known of the rows' classes besides the rows.
        device: where parameters are trained; the table stays in main memory.
    """

    engine: Engine
    preprocessor: Preprocessor
    rows: Batch
    pools: TaskPools
    episodes: EpisodeOptions = field(default_factory=EpisodeOptions)
    outer: str = "query"
    valid_episodes: int = 300
    seed: int = 0
    class_info: EpisodeClassInfo | None = None
    device: torch.device = CPU

    def validated_on(self, episodes: int) -> Context:
        """The same, with at most so many validation episodes."""
        return replace(self, valid_episodes=min(self.valid_episodes, episodes))


@dataclass(frozen=True)
class EncodedTable:
    """A table's rows as tensors and its tasks: the same for every model that trains on it."""

    preprocessor: Preprocessor
    rows: Batch
    pools: TaskPools
    class_info: EpisodeClassInfo | None
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
                self.class_info,
                device_of(model.params),
            )
        plain = episodes.model_copy(update={"class_symmetries": False, "augment": False})
        labelled = self.pools.labelled
        return Context(
            model.engine,
            self.preprocessor,
            self.features,
            labelled,
            plain,
            outer,
            valid_episodes,
            seed,
            device=device_of(model.params),
        )
