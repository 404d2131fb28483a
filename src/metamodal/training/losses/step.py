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
    """One training step as objectives see it: its episodes, its rows, and what several objectives need of them.

    Properties are computed at first use and shared, so two objectives that need tokens encode once. A loss on the
    size of tokens reads `step.tokens.inputs`; a loss on labels reads `step.classes`.

    >>> from metamodal.extend import Step
    >>> [name for name in ("tokens", "inputs", "decoded", "classes", "rows", "real") if hasattr(Step, name)]
    ['tokens', 'inputs', 'decoded', 'classes', 'rows', 'real']

    Attributes:
        context, sampler, params: the training context, the episode sampler, the parameters at this step.
        drawn: the draw and its varied rows, flat.
        encoded: the rows as the learner reads them, flat.
        episodes: the same as a stack of episodes.
        targets: `(t, q, k)`, of the query rows, weighted by class.
        tokens: the encoders' tokens of all drawn rows, flat, `(n, d)` by modality.
        inputs: the rows as the encoders read them, flat, on the device of training.
        decoded: what each token is decoded to, where the model has decoders.
        classes, rows, real: `(n)`, class numbers among all, equal for equal table rows, and which rows are no padding.
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
    def device(self) -> torch.device:
        """Where the losses are computed."""
        return self.targets.device

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
        return self.context.engine.tokens(self.params, self.inputs, chunk=len(self.inputs.targets))

    @cached_property
    def inputs(self) -> Batch:
        """The drawn rows as the encoders read them, flat."""
        return self.drawn.rows.to(self.device)

    @cached_property
    def decoded(self) -> Decoded:
        """What each token of these rows is decoded to."""
        return self.context.engine.decode(self.params, self.tokens)

    @cached_property
    def real(self) -> Bool[Tensor, "n"]:
        """Which of the flat rows are no filling."""
        draw = self.drawn.draw
        return (torch.cat([draw.support_codes, draw.query_codes], 1) >= 0).flatten().to(self.device)

    @cached_property
    def places(self) -> Int[Tensor, "t r"]:
        """Of each row, support before query, its place among its episode's classes."""
        draw = self.drawn.draw
        return torch.cat([draw.support_codes, draw.query_codes], 1).clamp(min=0).to(self.device)

    @cached_property
    def rows(self) -> Int[Tensor, "n"]:
        """Of each flat row a number that the same row of the table has under the same symmetry."""
        draw = self.drawn.draw
        numbers = torch.cat([draw.support, draw.query], 1).to(self.device) * self.sampler.variants
        return (numbers + self.drawn.turned.to(self.device).gather(1, self.places)).flatten()

    @cached_property
    def classes(self) -> Int[Tensor, "n"]:
        """Of each flat row the number of its class among all."""
        return self.numbers.gather(1, self.places).flatten()

    @cached_property
    def numbers(self) -> Int[Tensor, "t k"]:
        """The number of each drawn class under its symmetry among all."""
        return self.sampler.numbers(self.drawn).to(self.device)


def drawn_step(context: Context, sampler: EpisodeSampler, params: Params) -> Step:
    """The next step's episodes, seen through the model as it is."""
    engine = context.engine
    drawn = sampler.drawn()
    encoded = engine.encode(params, drawn.rows, chunk=len(drawn.rows.targets))
    episodes = _stacked(encoded, drawn.draw, drawn.way)
    if context.class_info is not None and not drawn.unlabelled:
        episodes = context.class_info.varied(episodes, drawn.draw, context.episodes, sampler.generator)
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
