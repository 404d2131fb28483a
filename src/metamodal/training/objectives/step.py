"""A step as every objective sees it: its episodes, and what several objectives need of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from metamodal.data.tasks import Draw, episodes_of
from metamodal.mappings.objectives import Decoded
from metamodal.outputs import Output
from metamodal.training.material import Material
from metamodal.training.supply import Drawn, Supply
from metamodal.types import Batch, Episode, Params

__all__ = ["Step", "drawn_step", "learns_alone", "where_present"]


@dataclass(frozen=True)
class Step:
    """Episodes as the learner reads them, of `drawn` rows; `targets` are the query's, weighed by class.

    `supply` knows the classes' numbers among all.
    """

    material: Material
    supply: Supply
    params: Params
    drawn: Drawn
    encoded: Batch
    episodes: Episode
    targets: Float[Tensor, "t q k"]
    _alone: dict[str, Tensor] = field(default_factory=dict)

    @property
    def weighed(self) -> Episode:
        """The episodes with the weighed targets."""
        return Episode(self.episodes.support, self.episodes.query.labelled(self.targets))

    def alone(self, modality: str) -> Float[Tensor, "t q k"]:
        """Query logits by one modality; worked out once, and without a gradient where nothing learns of them."""
        if modality not in self._alone:
            with torch.set_grad_enabled(torch.is_grad_enabled() and learns_alone(self.material)):
                seen = self.episodes.only([modality])
                self._alone[modality] = self.material.engine.logits(self.params, seen)
        return self._alone[modality]

    def known(self, targets: Float[Tensor, "t q k"], modality: str) -> Float[Tensor, "t q k"]:
        """Query targets where the modality is present, the others unknown."""
        return where_present(self.material.engine.output, targets, self.episodes.query.present[modality])

    @cached_property
    def tokens(self) -> Batch:
        """The encoders' tokens of all drawn rows, flat; of a learner that adapts them, before it does."""
        if self.material.engine.learner.reads == "tokens":
            return self.encoded
        rows = self.drawn.rows
        return self.material.engine.tokens(self.params, rows, chunk=len(rows.targets))

    @cached_property
    def decoded(self) -> Decoded:
        """What each token of these rows is decoded to."""
        return self.material.engine.decode(self.params, self.tokens)

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
        numbers = torch.cat([draw.support, draw.query], 1) * self.supply.variants
        return (numbers + self.drawn.turned.gather(1, self.places)).flatten()

    @cached_property
    def classes(self) -> Int[Tensor, "n"]:
        """Of each flat row the number of its class among all."""
        return self.supply.numbers(self.drawn).gather(1, self.places).flatten()


def drawn_step(material: Material, supply: Supply, params: Params) -> Step:
    """The next step's episodes, seen through the model as it is."""
    engine, options = material.engine, material.options
    drawn = supply.drawn()
    encoded = engine.encode(params, drawn.rows, chunk=len(drawn.rows.targets))
    episodes = _stacked(encoded, drawn.draw, drawn.way)
    if material.told is not None and not drawn.unlabelled:
        episodes = material.told.varied(episodes, drawn.draw, options, supply.generator)
    targets = supply.balancer.class_weights(drawn.draw, episodes.query.targets)
    return Step(material, supply, params, drawn, encoded, episodes, targets)


def learns_alone(material: Material) -> bool:
    """Whether modalities have losses of their own: not of learners that adapt the encoders."""
    options, several = material.options, len(material.rows.inputs) > 1
    able = options.outer == "query" and material.engine.learner.reads == "tokens"
    return options.alone > 0 and able and several


def where_present(
    output: Output, targets: Float[Tensor, "t q k"], present: Bool[Tensor, "t q"]
) -> Float[Tensor, "t q k"]:
    """Targets of the rows that are there, the others unknown."""
    if output.fixed:
        return torch.where(present[..., None], targets, torch.nan)
    return targets * present[..., None]


def _stacked(encoded: Batch, draw: Draw, way: int) -> Episode:
    """Flat encoded rows of a draw as a stack of episodes."""
    tasks, shots = draw.support.shape
    place = torch.arange(tasks * (shots + draw.query.shape[1])).reshape(tasks, -1)
    return episodes_of(encoded, replace(draw, support=place[:, :shots], query=place[:, shots:]), way)
