"""Kernel ridge regression whose view, kernel and penalty are chosen by support rows held out, in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor
from torch.utils._pytree import tree_map

from metamodal.meta.learners.held_out import Folds, Spectrum, exact, held_out
from metamodal.meta.learners.kernel_choice import WIDTHS, Choice, Kernel, Task
from metamodal.meta.learners.protocol import (
    learners,
    own,
    regression_prior,
    ridge_start,
    seen,
    shown,
)
from metamodal.meta.learners.views import PLAIN, Columns
from metamodal.outputs import Output
from metamodal.types import Batch, Embed, Params, Setting

__all__ = ["KernelRidge"]

_PART = 4096  # rows that are compared with the landmarks at a time
_AT_ONCE = 2**17  # entries of kernel matrices that are decomposed in one call


class _Fitted(NamedTuple):
    """What new rows are compared with, and what each of these says; `kernel` is view, width and unit `(3)`."""

    columns: Columns
    keys: Tensor
    coefficients: Tensor
    kernel: Tensor
    temperature: Tensor
    known: Tensor
    tests: Tensor

    @classmethod
    def of(cls, state: tuple[Any, ...]) -> _Fitted:
        """Of a state as a folder gives it back, which keeps no names."""
        columns, *others = state
        return cls(Columns(*columns), *others)


@learners.register("kernel_ridge")
@dataclass(frozen=True)
class KernelRidge:
    """Kernel ridge regression, linear or Gaussian, on embeddings as they are, of unit length, standardised or
    ranked: whatever predicts held-out support rows best.

    `f(x) = Σ_i k(x, x_i) a_i` with `a = (K + λI)⁻¹ Y`. One eigendecomposition of a kernel serves all penalties, and
    the answers to a fold of rows from the others follow in closed form, `ŷ_F = y_F − (G_FF)⁻¹ (G y)_F` with
    `G = (K + λI)⁻¹`. A fold is one row of every class at once: taking a single row out of a balanced support shifts
    the mean against its class, so that too weak penalties win. With many rows of each class folds are single rows.

    A candidate's prior is one nat a decade of the penalty away from the learned one, and one nat each for another
    kernel than the plainest (a wide Gaussian, nearly linear) and for another view than the embeddings as they are. So
    at one row a class, where nothing can be held out, it is that kernel with the learned penalty.

    *Classes*: `Y` is one-hot less the class rates, and a class's logit is `τ ŷ`; the temperature `τ` is chosen
    with the rest. *Labels and numbers*: residuals of the regression prior, with a constant in the kernel.

    Args:
        penalty, temperature: where the learned prior of both starts.
        width: of the plainest kernel, `exp(−w d² / median d²)`; 0 is linear.
        offset: the variance of the constant, of labels and numbers.
        folds: at most how many.
        single: rows a class from which on single rows are held out.
        sample: rows that the kernels compete on; the penalty is chosen again on all.
        landmarks: rows that new ones are compared with, at most (the Nyström approximation).

    Source: Saunders et al. (1998), *Ridge regression learning algorithm in dual variables*; Williams and Seeger (2001),
    *Using the Nyström method to speed up kernel machines*.
    """

    penalty: PositiveFloat = 0.3
    width: NonNegativeFloat = 0.5
    temperature: PositiveFloat = 12.0
    offset: PositiveFloat = 1.0
    folds: PositiveInt = 8
    single: PositiveInt = 40
    sample: PositiveInt = 600
    landmarks: PositiveInt = 2000

    @property
    def reads(self) -> str:
        return "tokens"

    def parameters(self, setting: Setting) -> Params:
        return ridge_start(setting, self.penalty, self.temperature, self.offset)

    def adapt(self, fn: Embed, params: Params, support: Batch) -> _Fitted:
        """The fit of each task; tasks of a stack choose for themselves."""
        rows = shown(fn, params, support)
        count = support.targets.shape[-2]
        return _by_task(rows.z.shape[:-2], lambda *one: self._fit(fn.output, params, count, *one), *rows)

    def predict(
        self, fn: Embed, params: Params, adapted: tuple[Any, ...], query: Batch
    ) -> Float[Tensor, "*t q k"]:
        fitted, z = _Fitted.of(adapted), fn(params, query)
        leading = fitted.known.shape[:-1]
        z = z.expand(*leading, *z.shape[-2:])
        constant = self._constant(fn.output, params, z)
        scores = _by_task(leading, lambda x, one: _answers(x, one, constant), z, fitted)
        if not fn.output.has_classes:
            scores = regression_prior(params, z, scores.shape[-1]) + scores
        return (
            fitted.temperature[..., None, None] * scores * fitted.known[..., None, :] * seen(query)[..., None]
        )

    def leave_one_out(
        self, fn: Embed, params: Params, adapted: tuple[Any, ...], support: Batch
    ) -> Float[Tensor, "*t s k"]:
        """Logits of each row from the rows of the other folds."""
        return _Fitted.of(adapted).tests

    def _constant(self, output: Output, params: Params, like: Tensor) -> Tensor:
        return like.new_zeros(()) if output.has_classes else own(params, "log_offset").exp()

    def _fit(
        self, output: Output, params: Params, rows: int, z: Tensor, targets: Tensor, weights: Tensor
    ) -> _Fitted:
        """One task. The choice is made without gradients; what is chosen is solved with them."""
        order = _order(z)
        single, prior = z.dtype, exact(regression_prior(params, z, targets.shape[-1]))[order]
        z, targets, weights = (exact(x)[order] for x in (z, targets, weights))
        there = weights > 0
        known = output.known(targets) & there[:, None]
        y = torch.where(known, output.centred(targets), 0.0)
        if output.has_classes:
            counts = (targets * weights[:, None]).sum(0)
            rates = counts / counts.sum().clamp(min=1e-6)
            y, answerable = torch.where(known, y - rates * (counts > 0), 0.0), counts > 0
            offset = torch.where(answerable, rates.clamp(min=1e-6).log(), -1e4)
        else:
            y = torch.where(known, y - prior, 0.0)
            answerable, offset = torch.ones_like(y[0], dtype=torch.bool), torch.zeros_like(y[0])
        sharp = own(params, "log_temperature").exp() if output.has_probabilities else z.new_ones(())
        constant = self._constant(output, params, z)
        task = Task(
            output, z, y, targets, known, weights.clamp(min=0).sqrt(), prior, offset,
            own(params, "log_penalty").exp(), sharp, constant, self.width,
        )  # fmt: skip
        columns = Columns.of(z, there)
        with torch.no_grad():
            choice = self._choice(task, columns)
        x = columns.seen_in(choice.kernel.view, z)
        penalty, sharp = task.penalty * 10**choice.decade, sharp * 2**choice.octave
        folds = Folds.of(output, targets, there, self.folds, self.single)
        if len(z) <= self.landmarks:
            keys = x
            coefficients, answers = _solved(task, task.gram(choice.kernel, x), penalty, folds)
        else:
            keys, coefficients, answers = self._compressed(task, choice.kernel, x, penalty, folds)
        tests = sharp * (prior + answers if not output.has_classes else answers)
        tests = tests * (task.tested(folds) if output.has_classes else there[:, None]) * answerable
        kernel = z.new_tensor([*choice.kernel])
        tests = tests[order.argsort()][:rows].to(single)
        return _Fitted(columns, keys, coefficients, kernel, sharp.to(single), answerable, tests)

    def _choice(self, task: Task, columns: Columns) -> Choice:
        """The best candidate on a sample of the rows, with the penalty that is best on all of them."""
        there = task.root > 0
        sample = task
        if len(task.z) > self.sample:
            sample = task.take(_spread(task.output, task.targets, there, self.sample))
        folds = Folds.of(task.output, sample.targets, sample.root > 0, self.folds, self.single)
        if folds.there.sum() == 0 or (len(folds.rows) == 1):
            return Choice(
                0.0, Kernel(PLAIN, self.width, _unit(columns.seen_in(PLAIN, task.z)[there])), 0.0, 0.0
            )
        candidates, grams = [], []
        for view in columns.views:
            x = columns.seen_in(view, sample.z)
            unit = _unit(x[sample.root > 0])
            for width in dict.fromkeys((self.width, *WIDTHS)):
                candidates.append(Kernel(view, width, unit))
                grams.append(sample.gram(candidates[-1], x))
        found: list[Choice] = []
        step = max(1, _AT_ONCE // len(sample.z) ** 2)
        for i in range(0, len(candidates), step):
            spectrum = Spectrum.of(torch.stack(grams[i : i + step]))
            found += sample.choices(candidates[i : i + step], spectrum, folds)
        best = min(found, key=lambda choice: choice.loss)
        if sample is task:
            return best
        x = columns.seen_in(best.kernel.view, task.z)
        if len(x) <= self.landmarks:
            spectrum = Spectrum.of(task.gram(best.kernel, x)[None])
        else:
            spectrum = Spectrum.of_features(self._features(task, best.kernel, x)[0][None])
        folds = Folds.of(task.output, task.targets, there, self.folds, self.single)
        return task.choices([best.kernel], spectrum, folds)[0]

    def _features(self, task: Task, kernel: Kernel, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features `Φ` whose products are nearly the kernel's, the landmarks, and `A` with `Φ = k(x, landmarks) A`."""
        keys = x[_spread(task.output, task.targets, task.root > 0, min(self.sample, self.landmarks))]
        values, vectors = torch.linalg.eigh(kernel(keys, keys) + task.constant)
        kept = values > 1e-6 * values.max()
        ahead = vectors[:, kept] / values[kept].sqrt()
        parts = (
            root[:, None] * (kernel(part, keys) + task.constant) @ ahead
            for part, root in zip(x.split(_PART), task.root.split(_PART))
        )
        return torch.cat(list(parts)), keys, ahead

    def _compressed(
        self, task: Task, kernel: Kernel, x: Tensor, penalty: Tensor, folds: Folds
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Keys, coefficients and held-out answers by landmarks."""
        features, keys, ahead = self._features(task, kernel, x)
        spectrum = Spectrum.of_features(features)
        y = task.y * task.root[:, None]
        solved = spectrum.solved(penalty[None], y)[0]
        answers = held_out(spectrum.inverse_at(penalty[None], folds)[0], solved, y, folds)
        coefficients = ahead @ (features.mT @ solved)
        return keys, coefficients, answers / task.root.clamp(min=1e-6)[:, None]


def _solved(task: Task, gram: Tensor, penalty: Tensor, folds: Folds) -> tuple[Tensor, Tensor]:
    """Coefficients and held-out answers `(n, k)`; outputs that know other rows are solved one by one."""
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    there = task.root > 0
    parts = [slice(None)]
    if (task.known != there[:, None]).any():
        parts = [slice(i, i + 1) for i in range(task.y.shape[1])]
    coefficients, answers = [], []
    for part in parts:
        mine = task.root * task.known[:, part].any(1)
        y = task.y[:, part] * mine[:, None]
        masked = gram * (mine > 0) * (mine > 0)[:, None]
        inverse = torch.linalg.inv(masked + penalty * eye)
        blocks = inverse[folds.rows[:, :, None], folds.rows[:, None, :]]
        solved = inverse @ y
        answers.append(held_out(blocks, solved, y, folds) / task.root.clamp(min=1e-6)[:, None])
        coefficients.append(solved * mine[:, None])
    return torch.cat(coefficients, 1), torch.cat(answers, 1)


def _answers(z: Tensor, fitted: _Fitted, constant: Tensor) -> Tensor:
    view, width, unit = fitted.kernel.tolist()
    kernel = Kernel(int(view), width, unit)
    x = fitted.columns.seen_in(kernel.view, exact(z))
    return ((kernel(x, fitted.keys) + constant) @ fitted.coefficients).to(z.dtype)


def _unit(x: Float[Tensor, "n d"]) -> float:
    """The median of squared distances."""
    far = torch.pdist(x).square()
    return float(far.median().clamp(min=1e-6)) if len(far) else 1.0


def _order(z: Float[Tensor, "n d"]) -> Tensor:
    """An order of rows by what they are, so that folds do not depend on the order that they came in."""
    rows = exact(z.detach())
    along = torch.cos(torch.arange(z.shape[-1], dtype=rows.dtype, device=z.device) * 1.7)
    return (rows * along).sum(-1).argsort(stable=True)


def _spread(output: Output, targets: Tensor, there: Tensor, count: int) -> Tensor:
    """So many of the rows that are there, every class with its share, evenly from first to last."""
    rows = there.nonzero()[:, 0]
    if output.has_classes:
        rows = rows[targets[rows].argmax(-1).argsort(stable=True)]
    if len(rows) <= count:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, count, device=rows.device).long()]


def _by_task(leading: torch.Size, one: Callable[..., Any], *stacks: Any) -> Any:
    """`one` of each task of a stack, stacked again; of a single task as it is."""
    if not leading:
        return one(*stacks)
    flat = [tree_map(lambda x: x.flatten(0, len(leading) - 1), stack) for stack in stacks]
    found = [one(*(tree_map(lambda x, t=t: x[t], stack) for stack in flat)) for t in range(leading.numel())]
    return tree_map(lambda *parts: torch.stack(parts).unflatten(0, leading), *found)
