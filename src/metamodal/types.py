"""The nouns that every room shares: a space, a batch, an episode, and the two protocols over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metamodal.outputs import CLASSIFICATION, Output

__all__ = ["Backbone", "Batch", "Embed", "Episode", "Learner", "Moving", "Params", "Setting", "Space"]

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
    hold zeros and are never read), `targets` is `(n, k)`: one-hot classes, or the labels or numbers
    that `metamodal.outputs` speaks of; k is 0 where they are unknown. `class_info` holds class
    information, which does not depend on rows: `embedding` `(k, e)`, `known` `(k)`, which classes have one, and
    `name` `(k)`, the number of a shared name or -1. A stack of batches is a batch with one more leading axis.
    """

    inputs: dict[str, Tensor]
    present: dict[str, Bool[Tensor, "*n"]]
    targets: Float[Tensor, "*n k"]
    class_info: dict[str, Tensor] = {}  # noqa: RUF012 - never changed

    def take(self, index: Tensor) -> Batch:
        """The rows at `index`; an index of any shape gives those leading axes."""
        return Batch(
            {m: x[index] for m, x in self.inputs.items()},
            {m: p[index] for m, p in self.present.items()},
            self.targets[index],
            self.class_info,
        )

    def some(self, tasks: slice | int) -> Batch:
        """Some of a stack's tasks, or one."""
        return Batch(
            {m: x[tasks] for m, x in self.inputs.items()},
            {m: p[tasks] for m, p in self.present.items()},
            self.targets[tasks],
            {name: x[tasks] for name, x in self.class_info.items()},
        )

    def only(self, modalities: Iterable[str]) -> Batch:
        """The same rows seen through some of the modalities."""
        keep = set(modalities)
        return Batch(
            {m: x for m, x in self.inputs.items() if m in keep},
            {m: p for m, p in self.present.items() if m in keep},
            self.targets,
            self.class_info,
        )

    def without(self, dropped: Dict[str, Bool[Tensor, "*n"]]) -> Batch:
        """The same rows with more cells absent: `dropped[m]` is true where modality m goes."""
        present = {m: p & ~dropped[m] if m in dropped else p for m, p in self.present.items()}
        return self._replace(present=present)

    def to(self, device: torch.device) -> Batch:
        """The same rows on a device; the batch itself where it is there."""
        if self.targets.device == device and all(x.device == device for x in self._tensors()):
            return self
        return Batch(
            {m: x.to(device) for m, x in self.inputs.items()},
            {m: p.to(device) for m, p in self.present.items()},
            self.targets.to(device),
            {name: x.to(device) for name, x in self.class_info.items()},
        )

    def _tensors(self) -> Iterator[Tensor]:
        yield from self.inputs.values()
        yield from self.present.values()
        yield from self.class_info.values()

    def flat(self) -> Batch:
        """All rows along one axis, whatever the leading axes were."""
        axes = next(iter(self.present.values())).dim()
        if axes == 1:
            return self
        return self._replace(
            inputs={m: x.flatten(0, axes - 1) for m, x in self.inputs.items()},
            present={m: p.flatten() for m, p in self.present.items()},
            targets=self.targets.flatten(0, axes - 1),
        )

    def labelled(self, targets: Float[Tensor, "*n k"]) -> Batch:
        """The same rows with other targets."""
        return self._replace(targets=targets)


class Episode(NamedTuple):
    """A few labelled rows of a task, and the rows to be predicted from them."""

    support: Batch
    query: Batch

    def some(self, tasks: slice | int) -> Episode:
        """Some of a stack's tasks, or one."""
        return Episode(*(batch.some(tasks) for batch in self))

    def together(self) -> Batch:
        """Support and query rows of each task of a stack as one batch."""
        support, query = self
        return support._replace(
            inputs={m: torch.cat([x, query.inputs[m]], 1) for m, x in support.inputs.items()},
            present={m: torch.cat([p, query.present[m]], 1) for m, p in support.present.items()},
            targets=torch.cat([support.targets, query.targets], 1),
        )

    def only(self, modalities: Iterable[str]) -> Episode:
        """The same rows seen through some of the modalities."""
        return Episode(*(batch.only(modalities) for batch in self))


@dataclass(frozen=True)
class Setting:
    """What a learner is to work with: modalities, the embedding's width, the targets, the model.

    `dim` is 0 where there are no weights and the width is known only at use. `outputs` is how many
    labels or numbers there are, 0 for classes, whose number is each task's own. `model` holds the
    model's parameters, named `model.…`, at their start.
    """

    modalities: tuple[str, ...]
    dim: int = 0
    output: Output = CLASSIFICATION
    outputs: int = 0
    model: Params = field(default_factory=dict)

    @property
    def has_class_info(self) -> bool:
        """Whether the model reads class information."""
        return any(name.startswith("model.class_encoder.") for name in self.model)


@runtime_checkable
class Embed(Protocol):
    """A pure function from parameters and rows to embeddings; any subset of the modalities will do.

    `output` says what the targets of the rows are.
    """

    @property
    def output(self) -> Output: ...

    def __call__(self, params: Params, batch: Batch) -> Float[Tensor, "*n d"]: ...


@runtime_checkable
class Backbone(Protocol):
    """A model as learners and training see it: its stages, and what it is able to do.

    Called with a batch and the name of a stage: `encode` (rows to tokens), `fuse` (tokens to embeddings), `embed`
    (both), `decode` (tokens or embeddings to inputs), `impute`, `attend`, `embed_classes` (class information to embeddings).
    """

    @property
    def dim(self) -> int:
        """The width of the shared space; 0 without weights, where the width is that of the features."""
        ...

    @property
    def stacks(self) -> bool:
        """Whether parameters may differ from task to task at no loss of speed."""
        ...

    @property
    def decoded(self) -> tuple[str, ...]:
        """The modalities that have a decoder."""
        ...

    @property
    def imputes(self) -> bool:
        """Whether absent tokens are imputed from those that are present."""
        ...

    @property
    def attends(self) -> bool:
        """Whether the fusion has attention weights."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]: ...

    def __call__(self, batch: Batch, stage: str = "embed") -> Any: ...


@runtime_checkable
class Moving(Protocol):
    """A learner that moves weights of the model on the support, which `displacement` (Reptile) learns from."""

    def moved(self, fn: Embed, params: Params, support: Batch, rows: Batch) -> Params:
        """The weights `(t, …)` as descent on `rows` moves them, from where the support has them."""
        ...


@runtime_checkable
class Learner(Protocol):
    """A mapping from a support set to a mapping: two pure functions, differentiable in `params`.

    `reads` says what the rows of a batch hold when the learner sees them: `"tokens"`, when the
    encoders ran once over all rows beforehand, or `"inputs"`, when the learner adapts the encoders.
    Both functions work on one task and, with one more leading axis on every tensor, on a stack of
    tasks at once (`*t` in the shapes); where the encoders adapt, `params` stay those of one model.
    """

    @property
    def reads(self) -> str: ...

    def parameters(self, setting: Setting) -> Params:
        """What meta-training may tune of the learner itself, at its starting value.

        Raises:
            OptionError: targets of a kind that this learner does not predict.
        """
        ...

    def adapt(self, fn: Embed, params: Params, support: Batch) -> Any:
        """The adapted state, a tree of tensors."""
        ...

    def predict(self, fn: Embed, params: Params, adapted: Any, query: Batch) -> Float[Tensor, "*t q k"]:
        """Logits of each query row: of classes or labels, or the numbers themselves."""
        ...


def one_hot(codes: Tensor, classes: int) -> Float[Tensor, "*n k"]:
    """Class codes `(*n)` as float rows `(*n, classes)`; a negative code gives a row of zeros."""
    return (codes[..., None] == torch.arange(classes, device=codes.device)).float()
