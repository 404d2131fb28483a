"""The nouns that every room shares: a space, a batch, an episode, and the two protocols over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Batch", "Embed", "Episode", "Learner", "Params", "Space"]

Params = dict[str, Tensor]
"""Parameters by dotted name: those of the model, and under `learner.` those the learner owns."""


@dataclass(frozen=True)
class Space:
    """A name and the shape of one sample, e.g. `Space("image", (1, 28, 28))`."""

    name: str
    shape: tuple[int, ...]


class Batch(NamedTuple):
    """Samples of several modalities, any of which may be absent in any row.

    `inputs[m]` has the n rows of modality m, `present[m]` says which of them are there (the others
    hold zeros and are never read), `targets` is one-hot, `(n, k)`; k is 0 where labels are unknown.
    A stack of batches is a batch with one more leading axis.
    """

    inputs: dict[str, Tensor]
    present: dict[str, Bool[Tensor, "*n"]]
    targets: Float[Tensor, "*n k"]

    def take(self, index: Tensor) -> Batch:
        """The rows at `index`; an index of any shape gives those leading axes."""
        return Batch(
            {m: x[index] for m, x in self.inputs.items()},
            {m: p[index] for m, p in self.present.items()},
            self.targets[index],
        )

    def only(self, modalities: Iterable[str]) -> Batch:
        """The same rows seen through some of the modalities."""
        keep = set(modalities)
        return Batch(
            {m: x for m, x in self.inputs.items() if m in keep},
            {m: p for m, p in self.present.items() if m in keep},
            self.targets,
        )

    def without(self, dropped: Dict[str, Bool[Tensor, "*n"]]) -> Batch:
        """The same rows with more cells absent: `dropped[m]` is true where modality m goes."""
        present = {m: p & ~dropped[m] if m in dropped else p for m, p in self.present.items()}
        return self._replace(present=present)

    def labelled(self, targets: Float[Tensor, "*n k"]) -> Batch:
        """The same rows with other targets."""
        return self._replace(targets=targets)


class Episode(NamedTuple):
    """A few labelled rows of a task, and the rows to be predicted from them."""

    support: Batch
    query: Batch


Embed = Callable[[Params, Batch], Float[Tensor, "n d"]]
"""A pure function from parameters and rows to embeddings; any subset of the modalities will do."""


@runtime_checkable
class Learner(Protocol):
    """A mapping from a support set to a mapping: two pure functions, differentiable in `params`.

    `reads` says what the rows of a batch hold when the learner sees them: `"tokens"`, when the
    encoders ran once over all rows beforehand, or `"inputs"`, when the learner adapts the encoders.
    Both functions work on one task and must survive `torch.func.vmap`.
    """

    @property
    def reads(self) -> str: ...

    def parameters(self, modalities: tuple[str, ...]) -> Params:
        """What meta-training may tune of the learner itself, at its starting value."""
        ...

    def adapt(self, fn: Embed, params: Params, support: Batch) -> Any:
        """The adapted state, a tree of tensors."""
        ...

    def predict(self, fn: Embed, params: Params, adapted: Any, query: Batch) -> Float[Tensor, "q k"]:
        """Class logits of each query row."""
        ...


def one_hot(codes: Tensor, classes: int) -> Float[Tensor, "*n k"]:
    """Class codes `(*n)` as float rows `(*n, classes)`; a negative code gives a row of zeros."""
    return (codes[..., None] == torch.arange(classes)).float()
