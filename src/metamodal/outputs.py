"""The three kinds of target: classification, multilabel and regression; each with its link, loss and derivatives.

All three are generalised linear models, so that the loss's gradient in the logits is `expected − target`
for each of them, and whatever is written in terms of gradients and curvatures serves all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["CLASSIFICATION", "MULTILABEL", "REGRESSION", "RENAMED", "Output", "outputs"]


class Output(ABC):
    """A kind of target: how logits become predictions, losses and their derivatives.

    There are three: `CLASSIFICATION`, `MULTILABEL` and `REGRESSION`. Each is a generalised linear model, so the
    gradient of the loss in the logits is the expected target less the target. Learners write inner loops in these
    terms and serve all three. An unknown target is NaN for labels and numbers, a row of zeros for classes.

    >>> import torch
    >>> from metamodal.extend import CLASSIFICATION
    >>> logits, targets = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    >>> torch.allclose(CLASSIFICATION.gradient(logits, targets), CLASSIFICATION.link(logits) - targets)
    True

    Attributes:
        name: as options and documents write it.
        plural: what is predicted, in words.
        has_classes: whether every task has its own outputs, its classes; else all tasks share the same ones.
        has_probabilities: whether logits become probabilities.

    Source: McCullagh and Nelder (1989), *Generalized linear models*.
    """

    name: ClassVar[str]
    plural: ClassVar[str]
    has_classes: ClassVar[bool]
    has_probabilities: ClassVar[bool]

    def __repr__(self) -> str:
        return self.name

    @abstractmethod
    def link(self, logits: Float[Tensor, "*n k"]) -> Float[Tensor, "*n k"]:
        """The expected targets."""

    @abstractmethod
    def known(self, targets: Float[Tensor, "*n k"]) -> Bool[Tensor, "*n k"]:
        """Which entries are known; of classes a row is known as a whole."""

    @abstractmethod
    def weights(self, targets: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
        """How much each row counts: 0 if nothing of it is known."""

    @abstractmethod
    def losses(self, logits: Float[Tensor, "*n k"], targets: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
        """The loss of each row; of several outputs the mean over those known."""

    @abstractmethod
    def gradient(
        self, logits: Float[Tensor, "*n k"], targets: Float[Tensor, "*n k"]
    ) -> Float[Tensor, "*n k"]:
        """The gradient of `losses` in the logits, in closed form."""

    @abstractmethod
    def curvature(
        self, logits: Float[Tensor, "*n k"], targets: Float[Tensor, "*n k"]
    ) -> Float[Tensor, "*n k"]:
        """The Hessian diagonal of `losses` in the logits; of classes the probabilities, whose covariance is the
        Hessian."""

    @abstractmethod
    def centred(self, targets: Float[Tensor, "*n k"]) -> Float[Tensor, "*n k"]:
        """Targets with zero between their values, for least squares."""

    def loss(self, logits: Float[Tensor, "*n k"], targets: Float[Tensor, "*n k"]) -> Float[Tensor, ""]:
        """The mean loss of the rows that are known, weighted by `weights`."""
        return self.losses(logits, targets).sum() / self.weights(targets).sum().clamp(min=1)


@final
class Classification(Output):
    """Targets that are one class out of several: softmax and cross-entropy over one-hot rows.

    Every task has classes of its own, so the number of outputs is the task's. A row of zeros is an unknown
    target and does not count.

    >>> import torch
    >>> from metamodal.extend import CLASSIFICATION
    >>> targets = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    >>> CLASSIFICATION.weights(targets).tolist()
    [1.0, 0.0]
    >>> round(CLASSIFICATION.loss(torch.zeros(2, 2), targets).item(), 3)  # ln 2, of the known row
    0.693
    """

    name = "classification"
    plural = "classes"
    has_classes = True
    has_probabilities = True

    def link(self, logits: Float[Tensor, "*n k"]) -> Float[Tensor, "*n k"]:
        return torch.softmax(logits, -1)

    def known(self, targets: Float[Tensor, "*n k"]) -> Bool[Tensor, "*n k"]:
        return (targets.sum(-1, keepdim=True) > 0).expand(targets.shape)

    def weights(self, targets: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
        return targets.sum(-1)

    def losses(self, logits: Float[Tensor, "*n k"], targets: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
        return (-targets * torch.log_softmax(logits, -1)).sum(-1)

    def gradient(
        self, logits: Float[Tensor, "*n k"], targets: Float[Tensor, "*n k"]
    ) -> Float[Tensor, "*n k"]:
        return self.link(logits) * targets.sum(-1, keepdim=True) - targets

    def curvature(
        self, logits: Float[Tensor, "*n k"], targets: Float[Tensor, "*n k"]
    ) -> Float[Tensor, "*n k"]:
        return self.link(logits) * targets.sum(-1, keepdim=True)

    def centred(self, targets: Float[Tensor, "*n k"]) -> Float[Tensor, "*n k"]:
        return targets


class _Shared(Output):
    """Outputs that all tasks share, any of which may be unknown (NaN) in a row."""

    has_classes = False

    @abstractmethod
    def entry_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each entry."""

    @abstractmethod
    def entry_curvature(self, expected: Tensor) -> Tensor:
        """Its second derivative, of the expected target."""

    def known(self, targets: Float[Tensor, "*n k"]) -> Bool[Tensor, "*n k"]:
        return ~targets.isnan()

    def weights(self, targets: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
        return self.known(targets).any(-1).to(targets.dtype)

    def losses(self, logits: Float[Tensor, "*n k"], targets: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
        known = self.known(targets)
        filled = torch.where(known, targets, 0.0)
        each = torch.where(known, self.entry_loss(logits, filled), 0.0).sum(-1)
        return each / known.sum(-1).clamp(min=1)

    def gradient(
        self, logits: Float[Tensor, "*n k"], targets: Float[Tensor, "*n k"]
    ) -> Float[Tensor, "*n k"]:
        known = self.known(targets)
        count = known.sum(-1, keepdim=True).clamp(min=1)
        return torch.where(known, self.link(logits) - torch.where(known, targets, 0.0), 0.0) / count

    def curvature(
        self, logits: Float[Tensor, "*n k"], targets: Float[Tensor, "*n k"]
    ) -> Float[Tensor, "*n k"]:
        known = self.known(targets)
        each = self.entry_curvature(self.link(logits))
        return torch.where(known, each, 0.0) / known.sum(-1, keepdim=True).clamp(min=1)


@final
class Multilabel(_Shared):
    """Targets that are any of several labels: a sigmoid and cross-entropy each, targets 0 or 1.

    All tasks share the labels. A NaN is an unknown label; the loss of a row is the mean over its known ones.

    >>> import torch
    >>> from metamodal.extend import MULTILABEL
    >>> targets = torch.tensor([[1.0, float("nan")]])
    >>> MULTILABEL.known(targets).tolist()
    [[True, False]]
    >>> MULTILABEL.link(torch.zeros(1, 2)).tolist()
    [[0.5, 0.5]]
    >>> MULTILABEL.has_classes, MULTILABEL.has_probabilities
    (False, True)
    """

    name = "multilabel"
    plural = "labels"
    has_probabilities = True

    def link(self, logits: Float[Tensor, "*n k"]) -> Float[Tensor, "*n k"]:
        return torch.sigmoid(logits)

    def entry_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.softplus(logits) - targets * logits

    def entry_curvature(self, expected: Tensor) -> Tensor:
        return expected * (1 - expected)

    def centred(self, targets: Float[Tensor, "*n k"]) -> Float[Tensor, "*n k"]:
        return 2 * targets - 1


@final
class Regression(_Shared):
    """Targets that are one or several numbers: half the squared error of standardised numbers.

    All tasks share the outputs. A NaN is an unknown number. Logits are the numbers themselves, standardised by
    the training rows; predictors answer in the unit of the table.

    >>> import torch
    >>> from metamodal.extend import REGRESSION
    >>> logits, targets = torch.tensor([[1.0]]), torch.tensor([[3.0]])
    >>> REGRESSION.loss(logits, targets).item(), REGRESSION.gradient(logits, targets).item()
    (2.0, -2.0)
    >>> REGRESSION.has_probabilities
    False
    """

    name = "regression"
    plural = "numbers"
    has_probabilities = False

    def link(self, logits: Float[Tensor, "*n k"]) -> Float[Tensor, "*n k"]:
        return logits

    def entry_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return 0.5 * (logits - targets).square()

    def entry_curvature(self, expected: Tensor) -> Tensor:
        return torch.ones_like(expected)

    def centred(self, targets: Float[Tensor, "*n k"]) -> Float[Tensor, "*n k"]:
        return targets


CLASSIFICATION = Classification()
"""The kind of target that is one class out of several: softmax and cross-entropy."""
MULTILABEL = Multilabel()
"""The kind of target that is any of several labels: sigmoids."""
REGRESSION = Regression()
"""The kind of target that is one or several numbers: squared error."""

outputs: dict[str, Output] = {output.name: output for output in (CLASSIFICATION, MULTILABEL, REGRESSION)}
"""Kinds of target by name."""

RENAMED = {"classes": "classification", "labels": "multilabel", "numbers": "regression"}
"""Old names of the kinds, which are errors that give the new ones."""
