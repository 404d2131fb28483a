"""The candidates of kernel ridge regression, each judged by support rows held out, in nats."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from metamodal.meta.learners.held_out import Folds, Spectrum, held_out
from metamodal.meta.learners.views import PLAIN
from metamodal.outputs import Output

__all__ = ["LINEAR", "WIDTHS", "Choice", "Kernel", "Task"]

LINEAR = 0.0
WIDTHS = (LINEAR, 0.25, 0.5, 1.0, 2.0, 4.0)  # of Gaussian kernels `exp(−w d² / median d²)`
_DECADES = (0.0, -0.5, 0.5, -1.0, 1.0, -1.5, 1.5, -2.0, 2.0, -2.5)  # of the penalty, about the learned one
_OCTAVES = tuple(map(float, range(-4, 6)))  # of the temperature, about the learned one
_SPREAD = 0.7  # octaves, the standard deviation of the temperature's prior


class Kernel(NamedTuple):
    """How rows are compared: the view's number, the Gaussian's width (0: linear), and its unit of distance."""

    view: int
    width: float
    unit: float

    def __call__(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        if self.width == LINEAR:
            return x @ y.mT
        far = (x.square().sum(-1, keepdim=True) + y.square().sum(-1) - 2 * x @ y.mT).clamp(min=0)
        return torch.exp(-self.width / self.unit * far)

    def surprise(self, width: float) -> float:
        """Minus the log of its prior, in nats, where this width is the likeliest."""
        return float(self.view != PLAIN) + float(self.width != width)


class Choice(NamedTuple):
    """A candidate and its loss on rows held out with its prior, in nats; decades and octaves are of `Task`."""

    loss: float
    kernel: Kernel
    decade: float
    octave: float


@dataclass(frozen=True)
class Task:
    """The rows of one task, as least squares sees them.

    Args:
        z: embeddings `(n, d)`.
        y: `(n, k)`, centred, 0 where nothing is known.
        targets: as they came.
        root: square roots of the rows' weights `(n)`.
        prior: what is said without any row `(n, k)`, 0 of classes.
        offset: log class rates `(k)`, 0 of labels and numbers.
        constant: what is added to every kernel.
        width: of the kernel that is the likeliest.
    """

    output: Output
    z: Tensor
    y: Tensor
    targets: Tensor
    known: Tensor
    root: Tensor
    prior: Tensor
    offset: Tensor
    penalty: Tensor
    temperature: Tensor
    constant: Tensor
    width: float

    def take(self, rows: Tensor) -> Task:
        """Some of the rows."""
        per_row = ("z", "y", "targets", "known", "root", "prior")
        return replace(self, **{name: getattr(self, name)[rows] for name in per_row})

    def gram(self, kernel: Kernel, x: Tensor) -> Tensor:
        return (kernel(x, x) + self.constant) * self.root * self.root[:, None]

    def choices(self, kernels: list[Kernel], spectrum: Spectrum, folds: Folds) -> list[Choice]:
        """The best penalty and temperature of each kernel, whose spectra are stacked."""
        y = self.y * self.root[:, None]
        decades = y.new_tensor(_DECADES)
        penalties = self.penalty * 10**decades
        solved, blocks = spectrum.solved(penalties, y), spectrum.inverse_at(penalties, folds)
        answers = held_out(blocks, solved, y, folds) / self.root.clamp(min=1e-6)[:, None]
        tested = self.tested(folds)
        octaves = _OCTAVES if self.output.has_probabilities else (0.0,)
        losses = torch.stack([self._loss(answers, o, tested) + 0.5 * (o / _SPREAD) ** 2 for o in octaves])
        losses = losses + decades.abs()[:, None]
        found = []
        for number, kernel in enumerate(kernels):
            mine = losses[:, :, number]
            octave, decade = divmod(int(mine.argmin()), len(_DECADES))
            loss = float(mine.min()) + kernel.surprise(self.width)
            found.append(Choice(loss, kernel, _DECADES[decade], octaves[octave]))
        return found

    def tested(self, folds: Folds) -> Tensor:
        """Which targets `(n, k)` the other folds say something of."""
        held = torch.zeros_like(self.known)
        held[folds.rows[folds.there]] = True
        tested = self.known & held
        return (
            tested & _others(self.targets)[:, None]
            if self.output.has_classes
            else tested & (len(folds.rows) > 1)
        )

    def _loss(self, answers: Tensor, octave: float, tested: Tensor) -> Tensor:
        """Nats of answers `(…, n, k)` to rows held out."""
        if not self.output.has_probabilities:
            errors = torch.where(tested, answers - self.y, 0.0).square().sum(-2)
            counts = tested.sum(-2)
            return (0.5 * counts * (errors / counts.clamp(min=1)).clamp(min=1e-12).log() * (counts > 0)).sum(
                -1
            )
        logits = self.offset + self.temperature * 2**octave * (self.prior + answers)
        if self.output.has_classes:
            rows = tested.any(-1)
            return -(self.targets * torch.log_softmax(logits, -1)).sum(-1)[..., rows].sum(-1)
        each = F.softplus(logits) - torch.nan_to_num(self.targets) * logits
        return torch.where(tested, each, 0.0).sum((-2, -1))


def _others(targets: Tensor) -> Tensor:
    """Which rows `(n)` are of a class that has another row."""
    counts = targets.sum(-2, keepdim=True) - targets
    return (counts * targets).sum(-1) > 0
