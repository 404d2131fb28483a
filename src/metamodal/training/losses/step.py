"""A step as every objective sees it: its episodes, and what several objectives need of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from metamodal.data.tasks.episodes import Draw, episodes_of
from metamodal.mappings.objectives import Decoded
from metamodal.outputs import Output
from metamodal.training.context import Context
from metamodal.training.episodes.sampler import Drawn, EpisodeSampler
from metamodal.types import Batch, Episode, Params

__all__ = ["Step", "drawn_step", "learns_unimodally", "where_present"]


@dataclass(frozen=True)
class Step:
    """Episodes as the learner reads them, of `drawn` rows; `targets` are the query's, weighed by class.

    `sampler` knows the classes' numbers among all.
    """

    context: Context
    sampler: EpisodeSampler
    params: Params
    drawn: Drawn
    encoded: Batch
    episodes: Episode
    targets: Float[Tensor, "t q k"]
    _unimodal: dict[str, Tensor] = field(default_factory=dict)

    @property
    def weighed(self) -> Episode:
        """The episodes with the weighed targets."""
        return Episode(self.episodes.support, self.episodes.query.labelled(self.targets))

    def unimodal(self, modality: str) -> Float[Tensor, "t q k"]:
        """Query logits by one modality; worked out once, and without a gradient where nothing learns of them."""
        if modality not in self._unimodal:
            with torch.set_grad_enabled(torch.is_grad_enabled() and learns_unimodally(self.context)):
                seen = self.episodes.only([modality])
                self._unimodal[modality] = self.context.engine.logits(self.params, seen)
        return self._unimodal[modality]

    def known(self, targets: Float[Tensor, "t q k"], modality: str) -> Float[Tensor, "t q k"]:
        """Query targets where the modality is present, the others unknown."""
        return where_present(self.context.engine.output, targets, self.episodes.query.present[modality])

    @cached_property
    def tokens(self) -> Batch:
        """The encoders' tokens of all drawn rows, flat; of a learner that adapts them, before it does."""
        if self.context.engine.learner.reads == "tokens":
            return self.encoded
        rows = self.drawn.rows
        return self.context.engine.tokens(self.params, rows, chunk=len(rows.targets))

    @cached_property
    def decoded(self) -> Decoded:
        """What each token of these rows is decoded to."""
        return self.context.engine.decode(self.params, self.tokens)

    @cached_property
    def real(self) -> Bool[Tensor, "n"]:
        """Which of the flat rows are no filling."""
        draw = self.drawn.draw
        return (torch.cat([draw.support_codes, draw.query_codes], 1) >= 0).flatten()

    @cached_property
    def places(self) -> Int[Tensor, "t r"]:
        """Of each row, support before query, its place among its episode's classes."""
        draw = self.drawn.draw
        return torch.cat([draw.support_codes, draw.query_codes], 1).clamp(min=0)

    @cached_property
    def rows(self) -> Int[Tensor, "n"]:
        """Of each flat row a number that the same row of the table has under the same symmetry."""
        draw = self.drawn.draw
        numbers = torch.cat([draw.support, draw.query], 1) * self.sampler.variants
        return (numbers + self.drawn.turned.gather(1, self.places)).flatten()

    @cached_property
    def classes(self) -> Int[Tensor, "n"]:
        """Of each flat row the number of its class among all."""
        return self.sampler.numbers(self.drawn).gather(1, self.places).flatten()


def drawn_step(context: Context, sampler: EpisodeSampler, params: Params) -> Step:
    """The next step's episodes, seen through the model as it is."""
    engine = context.engine
    drawn = sampler.drawn()
    encoded = engine.encode(params, drawn.rows, chunk=len(drawn.rows.targets))
    episodes = _stacked(encoded, drawn.draw, drawn.way)
    if context.classes is not None and not drawn.unlabelled:
        episodes = context.classes.varied(episodes, drawn.draw, context.episodes, sampler.generator)
    targets = sampler.balancer.class_weights(drawn.draw, episodes.query.targets)
    return Step(context, sampler, params, drawn, encoded, episodes, targets)


def learns_unimodally(context: Context) -> bool:
    """Whether modalities can have losses of their own: not under learners that adapt the encoders."""
    able = context.outer == "query" and context.engine.learner.reads == "tokens"
    return able and len(context.rows.inputs) > 1


def where_present(
    output: Output, targets: Float[Tensor, "t q k"], present: Bool[Tensor, "t q"]
) -> Float[Tensor, "t q k"]:
    """Targets of the rows that are there, the others unknown."""
    if not output.has_classes:
        return torch.where(present[..., None], targets, torch.nan)
    return targets * present[..., None]


def _stacked(encoded: Batch, draw: Draw, way: int) -> Episode:
    """Flat encoded rows of a draw as a stack of episodes."""
    tasks, shots = draw.support.shape
    place = torch.arange(tasks * (shots + draw.query.shape[1])).reshape(tasks, -1)
    return episodes_of(encoded, replace(draw, support=place[:, :shots], query=place[:, shots:]), way)
