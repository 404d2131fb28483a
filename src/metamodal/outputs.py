"""What a target is: one class, several labels, or numbers; each with its link, loss and slope.

All three are generalised linear models, so that the loss's gradient in the logits is `link − target`
for each of them, and whatever is written in terms of links and slopes serves all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["CLASSES", "LABELS", "NUMBERS", "Output", "outputs"]


@dataclass(frozen=True)
class Output:
    """A kind of target. Unknown targets are rows of zeros for classes, NaN for labels and numbers.

    `link` turns logits into expected targets, `unit` gives the loss of each entry, summed over a row.
    """

    name: str
    link: Callable[[Tensor], Tensor]
    unit: Callable[[Tensor, Tensor], Tensor]

    @property
    def fixed(self) -> bool:
        """Whether every task has the same outputs; classes are each task's own."""
        return self.name != "classes"

    def known(self, targets: Float[Tensor, "*n k"]) -> Bool[Tensor, "*n k"]:
        """Which entries are known; of classes a row is known as a whole."""
        if self.fixed:
            return ~targets.isnan()
        return (targets.sum(-1, keepdim=True) > 0).expand(targets.shape)

    def weights(self, targets: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
        """How much each row counts: 0 if nothing of it is known."""
        return self.known(targets).any(-1).to(targets.dtype) if self.fixed else targets.sum(-1)

    def losses(self, logits: Float[Tensor, "*n k"], targets: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
        """The loss of each row: of labels and numbers the mean over those known."""
        if not self.fixed:
            return self.unit(logits, targets).sum(-1)
        known = self.known(targets)
        filled = torch.where(known, targets, 0.0)
        each = torch.where(known, self.unit(logits, filled), 0.0).sum(-1)
        return each / known.sum(-1).clamp(min=1)

    def loss(self, logits: Float[Tensor, "*n k"], targets: Float[Tensor, "*n k"]) -> Float[Tensor, ""]:
        """The mean loss of the rows that are known, weighed as they weigh."""
        return self.losses(logits, targets).sum() / self.weights(targets).sum().clamp(min=1)

    def slopes(self, logits: Float[Tensor, "*n k"], targets: Float[Tensor, "*n k"]) -> Float[Tensor, "*n k"]:
        """The gradient of `losses` in the logits, in closed form."""
        if not self.fixed:
            return self.link(logits) * targets.sum(-1, keepdim=True) - targets
        known = self.known(targets)
        count = known.sum(-1, keepdim=True).clamp(min=1)
        return torch.where(known, self.link(logits) - torch.where(known, targets, 0.0), 0.0) / count

    def bends(self, logits: Float[Tensor, "*n k"], targets: Float[Tensor, "*n k"]) -> Float[Tensor, "*n k"]:
        """The diagonal curvature of labels' and numbers' `losses`; of classes the probabilities,
        whose covariance is the curvature."""
        expected = self.link(logits)
        if not self.fixed:
            return expected * targets.sum(-1, keepdim=True)
        known = self.known(targets)
        bend = expected * (1 - expected) if self.name == "labels" else torch.ones_like(expected)
        return torch.where(known, bend, 0.0) / known.sum(-1, keepdim=True).clamp(min=1)


def _softmax(logits: Tensor) -> Tensor:
    return torch.softmax(logits, -1)


def _identity(logits: Tensor) -> Tensor:
    return logits


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return -targets * torch.log_softmax(logits, -1)


def _binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.softplus(logits) - targets * logits


def _half_square(logits: Tensor, targets: Tensor) -> Tensor:
    return 0.5 * (logits - targets).square()


CLASSES = Output("classes", _softmax, _cross_entropy)
"""One class out of several: softmax and cross-entropy over one-hot rows."""

LABELS = Output("labels", torch.sigmoid, _binary_cross_entropy)
"""Any of several labels: a sigmoid and cross-entropy each, targets 0 or 1."""

NUMBERS = Output("numbers", _identity, _half_square)
"""One or several standardised numbers: half the squared error."""

outputs = {output.name: output for output in (CLASSES, LABELS, NUMBERS)}
"""Kinds of targets by name."""
