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
"""Parameters by dotted name: `model.…` are those of the model, `learner.…` those the learner owns.

Adaptation and prediction are pure functions of such a dictionary. A gradient learner returns fast weights as
another dictionary of the same names; with one more leading axis they are one value a task.
"""


@dataclass(frozen=True)
class Space:
    """A name and the shape of one sample: what a mapping goes from and to.

    A picture of 28 by 28 grey pixels is a sample of `(1, 28, 28)`, a vector one of `(384,)`. The number of
    rows is no part of the space.

    >>> from metamodal.extend import Space
    >>> image = Space("image", (1, 28, 28))
    >>> image.name, len(image.shape)
    ('image', 3)

    Attributes:
        name: the modality's name, as in `Batch.inputs`.
        shape: of one sample, without the axis of rows.
    """

    name: str
    shape: tuple[int, ...]


class Batch(NamedTuple):
    """Rows of several modalities, any of which may be absent in any row: tensors, masks and targets.

    `n` rows of an image and a text are two tensors of `n` rows each and two masks. A stack of tasks is a batch
    with one more leading axis, `(t, n, …)`, so that functions written over leading axes serve both.

    >>> import torch
    >>> from metamodal.extend import Batch
    >>> inputs = {"image": torch.randn(3, 16), "text": torch.randn(3, 8)}
    >>> present = {"image": torch.tensor([True, True, False]), "text": torch.tensor([True, False, True])}
    >>> rows = Batch(inputs, present, torch.eye(3))
    >>> rows.only(["text"]).take(torch.tensor([0, 2])).present["text"].tolist()
    [True, True]

    Attributes:
        inputs: by modality, `(n, …)`: values, or tokens `(n, d)` once encoded; zeros where a cell is absent.
        present: by modality, `(n)`, which cells are there. Nothing reads an input where this is false.
        targets: `(n, k)`: one-hot classes, several labels, or numbers; k is 0 where they are unknown.
        class_info: class information, which does not depend on rows: `embedding` `(k, e)`, `known` `(k)`, which
            classes have one, and `name` `(k)`, the number of a shared name or -1.
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
    """A support set and a query set of one task: what meta-training and evaluation consist of.

    In a 5-way 1-shot episode the support has 5 rows, one a class, and the query rows are to be classified among
    these five. A stack of `t` episodes is an episode whose tensors have one more leading axis.

    >>> import torch
    >>> from metamodal.extend import Batch, Episode
    >>> def rows(n):
    ...     return Batch({"x": torch.randn(4, n, 2)}, {"x": torch.ones(4, n).bool()}, torch.zeros(4, n, 5))
    >>> stack = Episode(support=rows(5), query=rows(10))
    >>> stack.together().targets.shape, stack.some(0).query.targets.shape
    (torch.Size([4, 15, 5]), torch.Size([10, 5]))

    Attributes:
        support: labelled rows, a `Batch`.
        query: rows to predict, with targets where a loss or a score is computed.
    """

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
    """What a learner is to work with, known before any row: modalities, width, kind of target, the model.

    `Learner.parameters` receives it and decides what meta-training tunes.

    >>> from metamodal.extend import REGRESSION, Setting
    >>> Setting(("image", "text"), dim=64).output.has_classes
    True
    >>> Setting(("image",), 64, REGRESSION, outputs=2).outputs
    2

    Attributes:
        modalities: names, in the model's order.
        dim: the embedding's width; 0 where there are no weights and the width is known only at use.
        output: the kind of target, an `Output`.
        outputs: how many labels or numbers there are; 0 for classes, whose number is each task's own.
        model: the model's parameters at their start, named `model.…`.
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
    """The embedding function that a learner receives as `fn`: pure, from parameters and rows to `(n, d)`.

    It runs encoders and fusion, or fusion alone for a learner that reads tokens. Any subset of the modalities
    will do; absent cells are masked. It can be differentiated in its parameters. `Learner` shows one in use:
    `z = fn(params, support)`.

    Attributes:
        output: the kind of target of the rows, an `Output`, with its link and loss.

    Args:
        params: parameters by name, see `Params`.
        batch: rows `(*n, …)`, one task or a stack of tasks.
    """

    @property
    def output(self) -> Output: ...

    def __call__(self, params: Params, batch: Batch) -> Float[Tensor, "*n d"]: ...


@runtime_checkable
class Backbone(Protocol):
    """A model as learners and training see it: stages by name, and what the model is able to do.

    Call it with a batch and the name of a stage.

    | stage | from | to |
    |---|---|---|
    | `encode` | rows | tokens, one a modality |
    | `fuse` | tokens | embeddings |
    | `embed` | rows | embeddings: both of these |
    | `decode` | tokens or embeddings | inputs |
    | `impute` | tokens | absent tokens |
    | `attend` | tokens | attention weights |
    | `embed_classes` | class information | embeddings |

    >>> from metamodal.extend import Backbone
    >>> hasattr(Backbone, "dim"), hasattr(Backbone, "decoded")
    (True, True)

    Whoever uses a model asks these properties, and never its type or the names of its parameters.
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
    """A learner: a mapping from a support set to a mapping, as two pure functions differentiable in `params`.

    `adapt` turns support rows into a state, a tree of tensors; `predict` gives logits of query rows from that
    state. Nearest class mean is such a learner: its state is the class means. Both functions work on one task and,
    with one more leading axis on every tensor (`*t` in the shapes), on a stack of tasks.

    >>> import torch
    >>> from metamodal.extend import Batch, Setting, learners
    >>> class Plain:  # an embedding function: the rows as they are
    ...     output = CLASSIFICATION
    ...
    ...     def __call__(self, params, batch):
    ...         return batch.inputs["x"]
    >>> def rows(x, y):
    ...     return Batch({"x": x}, {"x": torch.ones(len(x)).bool()}, y)
    >>> learner = learners["prototypes"]()
    >>> params = {f"learner.{k}": v for k, v in learner.parameters(Setting(("x",), 2)).items()}
    >>> support, query = rows(torch.eye(2), torch.eye(2)), rows(torch.tensor([[0.1, 0.9]]), torch.zeros(1, 0))
    >>> learner.predict(Plain(), params, learner.adapt(Plain(), params, support), query).argmax().item()
    1

    Attributes:
        reads: `"tokens"` where the encoders run once over all rows beforehand, `"inputs"` where the learner adapts
            the encoders; then `params` stay those of one model.
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
