"""Stacks of episodes through a learner: what does not adapt runs once, what adapts runs per task."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from metamodal.device import Precision, device_of
from metamodal.outputs import CLASSIFICATION, Output
from metamodal.pure import Pure
from metamodal.traits import Trait, trait_of
from metamodal.types import Backbone, Batch, Embed, Episode, Learner, Moving, Params, Setting

__all__ = ["Engine", "some"]

_VALUES_AT_ONCE = 2**15


class Engine:
    """A learner over a model, as pure functions of the parameters of both.

    Parameters are named `model.…` and `learner.…`. Everything computes on the device of the parameters, to which rows
    are taken.

    Args:
        precision: of encoders, fusion and decoders; learners compute in float32.
    """

    def __init__(
        self,
        model: Backbone,
        learner: Learner,
        modalities: tuple[str, ...],
        output: Output = CLASSIFICATION,
        outputs: int = 0,
        precision: Precision = "float32",
    ) -> None:
        self.model = model
        self.learner = learner
        self.modalities = modalities
        self.output, self.outputs = output, outputs
        self.precision = precision
        self._pure = Pure(cast(nn.Module, model))
        self.fn: Embed = self._stage("embed" if learner.reads == "inputs" else "fuse")

    @property
    def dim(self) -> int:
        """The width of the shared space; 0 where the model has no weights."""
        return self.model.dim

    def under(self, learner: Learner) -> Engine:
        """The same model under another learner."""
        return Engine(self.model, learner, self.modalities, self.output, self.outputs, self.precision)

    def at(self, precision: Precision) -> Engine:
        """The same model and learner in another precision."""
        return Engine(self.model, self.learner, self.modalities, self.output, self.outputs, precision)

    def initial(self) -> Params:
        """The parameters at their starting values, leaves that ask for gradients."""
        return {k: v.detach().clone().requires_grad_() for k, v in self._declared().items()}

    @cached_property
    def traits(self) -> dict[str, Trait]:
        """What each parameter declares about itself."""
        return {k: trait_of(v) for k, v in self._declared().items()}

    def _declared(self) -> Params:
        """The parameters as model and learner made them."""
        model: Params = {f"model.{k}": v for k, v in self.model.named_parameters()}
        start = {k: v.detach() for k, v in model.items()}
        setting = Setting(self.modalities, self.dim, self.output, self.outputs, start)
        return model | {f"learner.{k}": v for k, v in self.learner.parameters(setting).items()}

    def encode(self, params: Params, batch: Batch, chunk: int = 512) -> Batch:
        """What the learner reads of flat rows: tokens if the encoders stay, else the rows themselves."""
        if self.learner.reads == "inputs":
            return batch.to(device_of(params))
        return self.tokens(params, batch, chunk)

    def tokens(self, params: Params, batch: Batch, chunk: int = 512) -> Batch:
        """The encoders' tokens of flat rows, before any task.

        Rows run in chunks, which stay in the cache.
        """
        run = self._stage("encode")
        rows = len(batch.targets)
        parts = [
            run(params, batch.take(torch.arange(i, min(i + chunk, rows)))) for i in range(0, rows, chunk)
        ]
        return _joined(parts) if len(parts) > 1 else parts[0]

    def adapt(self, params: Params, support: Batch) -> Any:
        """The adapted state of one task, or of a stack of them, from encoded support rows."""
        support = support.to(device_of(params))
        class_info = self._stage("embed_classes")(params, support) if support.class_info else {}
        return self.learner.adapt(self.fn, params, support._replace(class_info=class_info))

    def predict(self, params: Params, adapted: Any, query: Batch) -> Float[Tensor, "*t q k"]:
        """Logits of encoded query rows."""
        return self.learner.predict(self.fn, params, adapted, query.to(device_of(params)))

    def logits(self, params: Params, episodes: Episode) -> Float[Tensor, "t q k"]:
        """Query logits of a stack of encoded episodes.

        As many tasks go at once as their rows stay in the cache: what does not, is faster in turn.
        """
        parts = []
        for chunk in _pieces(episodes, self._at_once(episodes.support)):
            state = self.adapt(params, chunk.support)
            if chunk.query.targets.dim() == 2:
                parts.append(self.predict(params, state, chunk.query)[None])
            else:
                parts += self._predictions(params, state, chunk.query)
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def moved(self, params: Params, episodes: Episode) -> Params:
        """The weights that a learner moves on the query rows of each task, from where the support has them, by
        parameter name and one a task `(t, …)`; none of most learners."""
        learner = self.learner
        if not isinstance(learner, Moving):
            return {}
        parts = [
            learner.moved(self.fn, params, piece.support, piece.query) for piece in self.pieces(episodes)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _predictions(self, params: Params, state: Any, query: Batch) -> list[Tensor]:
        """Logits of a stack's query rows, all at once or task by task."""
        at_once, tasks = self._at_once(query), len(query.targets)
        if tasks <= at_once:
            return [self.predict(params, state, query)]
        if at_once > 1:
            pieces = [slice(i, i + at_once) for i in range(0, tasks, at_once)]
            return [self.predict(params, some(state, piece), query.some(piece)) for piece in pieces]
        return [self.predict(params, some(state, t), query.some(t))[None] for t in range(tasks)]

    def pieces(self, episodes: Episode) -> Iterator[Episode]:
        """A stack of encoded episodes in parts that are best differentiated one after another."""
        tasks = len(episodes.query.targets)
        at_once = tasks if self.learner.reads == "tokens" else self._at_once(episodes.support)
        for i in range(0, tasks, at_once):
            yield episodes.some(slice(i, i + at_once))

    def _at_once(self, batch: Batch) -> int:
        """How many tasks to work on at once."""
        if self.learner.reads == "tokens":
            return 64
        if not self.model.stacks:
            return 1
        return max(1, _VALUES_AT_ONCE // sum(x[0].numel() for x in batch.inputs.values()))

    def embed(self, params: Params, batch: Batch) -> Float[Tensor, "n d"]:
        """The shared space's embedding of raw rows, before any task."""
        return self._stage("embed")(params, batch)

    def fuse(self, params: Params, tokens: Batch) -> Float[Tensor, "n d"]:
        """The embedding of rows whose tokens are there."""
        return self._stage("fuse")(params, tokens)

    def decode(
        self, params: Params, tokens: Batch, targets: Collection[str] | None = None
    ) -> dict[str, dict[str, Tensor]]:
        """Of each input, token or embedding, the targets that the model has a decoder of; by default all."""
        return self._stage("decode")(params, tokens, targets=targets)

    def attend(self, params: Params, tokens: Batch) -> Float[Tensor, "n h m m"]:
        """How much each token of a row attends to each, of a model that attends."""
        return self._stage("attend")(params, tokens)

    def impute(self, params: Params, tokens: Batch) -> Any:
        """What each token says of each other one of its row, of a model that imputes."""
        return self._stage("impute")(params, tokens)

    def _stage(self, name: str) -> _Stage:
        return _Stage(self._pure, name, self.output, self.precision)


@dataclass(frozen=True)
class _Stage:
    """One stage of the model as a pure function: rows go to the device of the parameters, answers stay there."""

    pure: Pure
    stage: str
    output: Output
    precision: Precision = "float32"

    def __call__(self, params: Params, batch: Batch, **more: Any) -> Any:
        weights = {k[6:]: v for k, v in params.items() if k.startswith("model.")}
        device = device_of(params)
        batch = batch.to(device)
        if self.precision == "float32":
            return self.pure(weights, batch, stage=self.stage, **more)
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            found = self.pure(weights, batch, stage=self.stage, **more)
        return tree_map(_single, found)


def _pieces(episodes: Episode, at_once: int) -> Iterator[Episode]:
    """Stacks of so many tasks; single tasks, without the axis, where they go one by one."""
    tasks = len(episodes.query.targets)
    for i in range(0, tasks, at_once):
        yield episodes.some(slice(i, i + at_once) if at_once > 1 else i)


def some(state: Any, tasks: slice | int) -> Any:
    """Some tasks' part of the adapted state of a stack, or one's."""
    return tree_map(lambda x: x[tasks], state)


def _single(value: Any) -> Any:
    """Half precision as float32, everything else as it is."""
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.bfloat16 else value


def _joined(parts: list[Batch]) -> Batch:
    return parts[0]._replace(
        inputs={m: torch.cat([p.inputs[m] for p in parts]) for m in parts[0].inputs},
        present={m: torch.cat([p.present[m] for p in parts]) for m in parts[0].present},
        targets=torch.cat([p.targets for p in parts]),
    )
