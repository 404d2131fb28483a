"""Stacks of episodes through a learner: what does not adapt runs once, what adapts runs per task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from metamodal.types import Batch, Embed, Episode, Learner, Params

__all__ = ["Engine", "cross_entropy"]


class Engine:
    """A learner over a model, as pure functions of the parameters of both.

    The model must know the stages `encode`, `fuse` and `embed` (see `metamodal.mappings.model`).
    Parameters are named `model.…` and `learner.…`.
    """

    def __init__(self, model: nn.Module, learner: Learner, modalities: tuple[str, ...]) -> None:
        self.model = model
        self.learner = learner
        self.modalities = modalities
        self.fn: Embed = self._stage("embed" if learner.reads == "inputs" else "fuse")

    def initial(self) -> Params:
        """The parameters at their starting values, leaves that ask for gradients."""
        model = {f"model.{k}": v for k, v in self.model.named_parameters()}
        learner = {f"learner.{k}": v for k, v in self.learner.parameters(self.modalities).items()}
        return {k: v.detach().clone().requires_grad_() for k, v in (model | learner).items()}

    def encode(self, params: Params, batch: Batch, chunk: int = 512) -> Batch:
        """What the learner reads of flat rows: tokens if the encoders stay, else the rows themselves.

        Rows run in chunks, which stay in the cache.
        """
        if self.learner.reads == "inputs":
            return batch
        run = self._stage("encode")
        rows = len(batch.targets)
        parts = [
            run(params, batch.take(torch.arange(i, min(i + chunk, rows)))) for i in range(0, rows, chunk)
        ]
        return _joined(parts) if len(parts) > 1 else parts[0]

    def adapt(self, params: Params, support: Batch) -> Any:
        """The adapted state of one task from encoded support rows."""
        return self.learner.adapt(self.fn, params, support)

    def predict(self, params: Params, adapted: Any, query: Batch) -> Float[Tensor, "q k"]:
        """Logits of encoded query rows."""
        return self.learner.predict(self.fn, params, adapted, query)

    def logits(self, params: Params, episodes: Episode, chunk: int = 64) -> Float[Tensor, "t q k"]:
        """Query logits of a stack of encoded episodes, `chunk` tasks at a time."""

        def one(episode: Episode) -> Tensor:
            return self.predict(params, self.adapt(params, episode.support), episode.query)

        return vmap(one, chunk_size=chunk)(episodes)

    def embed(self, params: Params, batch: Batch) -> Float[Tensor, "n d"]:
        """The shared space's embedding of raw rows, before any task."""
        return self._stage("embed")(params, batch)

    def _stage(self, stage: str) -> Callable[[Params, Batch], Any]:
        def run(params: Params, batch: Batch) -> Any:
            weights = {k[6:]: v for k, v in params.items() if k.startswith("model.")}
            return functional_call(self.model, weights, (batch,), {"stage": stage})

        return run


def cross_entropy(logits: Float[Tensor, "*n k"], targets: Float[Tensor, "*n k"]) -> Float[Tensor, ""]:
    """Mean cross-entropy over the rows that have a label; rows of zeros are padding."""
    return -(targets * torch.log_softmax(logits, -1)).sum() / targets.sum().clamp(min=1)


def _joined(parts: list[Batch]) -> Batch:
    return Batch(
        {m: torch.cat([p.inputs[m] for p in parts]) for m in parts[0].inputs},
        {m: torch.cat([p.present[m] for p in parts]) for m in parts[0].present},
        torch.cat([p.targets for p in parts]),
    )
