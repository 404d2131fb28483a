"""The adaptive map: what holds for all tasks, corrected by a task's own support pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from metamodal.mappings.maps.linear import Linear
from metamodal.mappings.maps.protocol import Guess, Pairs, maps
from metamodal.types import Params

__all__ = ["Adaptive"]

_FAR = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_FEWEST = 3  # tasks: fewer give no estimate of how tasks differ
_FOLDS = 5
_MOST = 64  # rows of a task that are looked at


@maps.register("adaptive")
@dataclass(frozen=True)
class Adaptive:
    """`y = W x + b + c(x) + e`: a map of all tasks, and a correction of the task's own.

    The correction is ridge regression, in its dual form, on the residuals of the common map on a task's
    support pairs `(X, r)`: `c(x) = k(x, X) (k(X, X) + I)⁻¹ r` with `k(x, x') = α + β x·x'/f`; its prior is a
    Gaussian process of covariance `σ² k`, from which the standard deviation comes (Rasmussen and Williams,
    2006). How far it may shift (`α`) and turn (`β`) is what makes held-out pairs of training tasks likeliest,
    given 1, 2, 4, … others, with the common map fitted to other tasks. Both are 0, and a task's map is the
    common one, unless the squared error falls by more than its standard error over tasks.
    """

    def fit(self, pairs: Pairs, generator: Generator) -> Params:
        common = Linear().fit(pairs, generator)
        trials = list(_trials(pairs, generator))
        far = _chosen(trials) if len(trials) >= _FEWEST else (0.0, 0.0)
        sigma = common["sigma"].double()
        if any(far):
            sigma = _noise(trials, far).sqrt()
        state = {f"common.{k}": v for k, v in common.items()}
        return state | {"far": pairs.x.new_tensor(far), "sigma": sigma.to(pairs.x.dtype)}

    def adapt(self, state: Params, x: Float[Tensor, "n f"], y: Float[Tensor, "n g"]) -> Params:
        """The state of one task: an earlier task's correction is dropped."""
        over = y - Linear().guess(_common(state), x).mean
        inverse = torch.linalg.inv((_kernel(x, x, state["far"]) + torch.eye(len(x), dtype=x.dtype)).double())
        solved = (inverse @ over.double()).to(x.dtype)
        return state | {"support": x, "inverse": inverse.to(x.dtype), "solved": solved}

    def guess(self, state: Params, x: Float[Tensor, "n f"]) -> Guess:
        common = Linear().guess(_common(state), x)
        far, sigma = state["far"], state["sigma"]
        if not far.any():
            return common
        variance = _prior(x, far)
        mean = common.mean
        if "support" in state:
            across = _kernel(x, state["support"], far)
            mean = mean + across @ state["solved"]
            variance = variance - (across @ state["inverse"] * across).sum(1)
        return Guess(mean, sigma * (1 + variance.clamp(min=0)).sqrt()[:, None])


@dataclass(frozen=True)
class _Trial:
    """A task's pairs, and `over`, the residuals of a common map that was fitted to other tasks."""

    x: Tensor
    over: Tensor

    def held_out(self, far: tuple[float, float]) -> tuple[Tensor, Tensor]:
        """Errors `(q, g)` at rows after the first 1, 2, 4, …, corrected by those, and the variance `(q)` of
        the correction there in units of the noise."""
        found = [self._after(2**i, far) for i in range((len(self.x) // 2).bit_length())]
        return torch.cat([error for error, _ in found]), torch.cat([variance for _, variance in found])

    def _after(self, known: int, far: tuple[float, float]) -> tuple[Tensor, Tensor]:
        over, scales = self.over, self.x.new_tensor(far)
        support = _kernel(self.x[:known], self.x[:known], scales) + torch.eye(known, dtype=self.x.dtype)
        across = _kernel(self.x[known:], self.x[:known], scales)
        weights = torch.linalg.solve(support, across.mT).mT
        variance = _prior(self.x[known:], scales) - (across * weights).sum(1)
        return over[known:] - weights @ over[:known], variance.clamp(min=0)


def _trials(pairs: Pairs, generator: Generator) -> Iterator[_Trial]:
    """Each task of two rows or more, in random order."""
    if pairs.tasks is None:
        return
    x, y = pairs.x.double(), pairs.y.double()
    names = pairs.tasks.unique()
    order = torch.randperm(len(names), generator=generator)
    for fold in range(min(_FOLDS, len(names))):
        inside = names[order[fold::_FOLDS]]
        other = ~torch.isin(pairs.tasks, inside)
        if other.sum() < _FEWEST:
            continue
        common = Linear().fit(Pairs(x[other], y[other]), generator)
        for name in inside:
            at = (pairs.tasks == name).nonzero()[:, 0]
            if len(at) > 1:
                at = at[torch.randperm(len(at), generator=generator)][:_MOST]
                yield _Trial(x[at], y[at] - Linear().guess(common, x[at]).mean)


def _chosen(trials: list[_Trial]) -> tuple[float, float]:
    """The likeliest shift and turn, if its error is surely less than without any."""
    grid = [(shift, turn) for shift in _FAR for turn in _FAR]
    found = min(grid, key=lambda far: _surprise(trials, far))
    none, best = (
        torch.stack([trial.held_out(far)[0].square().mean() for trial in trials]) for far in (grid[0], found)
    )
    gain = none - best
    return found if gain.mean() > gain.std() / math.sqrt(len(trials)) else (0.0, 0.0)


def _surprise(trials: list[_Trial], far: tuple[float, float]) -> float:
    """Minus twice the held-out log-likelihood a row and output, under the likeliest noise."""
    _, variance = _joined(trials, far)
    return float(_noise(trials, far).log().mean() + variance.log1p().mean())


def _noise(trials: list[_Trial], far: tuple[float, float]) -> Tensor:
    """The variance of each output's noise: squared errors over what the correction's variance makes of them."""
    error, variance = _joined(trials, far)
    return (error.square() / (1 + variance)[:, None]).mean(0)


def _joined(trials: list[_Trial], far: tuple[float, float]) -> tuple[Tensor, Tensor]:
    errors, variances = zip(*(trial.held_out(far) for trial in trials))
    return torch.cat(errors), torch.cat(variances)


def _kernel(x: Tensor, other: Tensor, far: Tensor) -> Tensor:
    return far[0] + far[1] * x @ other.mT / x.shape[1]


def _prior(x: Tensor, far: Tensor) -> Tensor:
    return far[0] + far[1] * x.square().mean(1)


def _common(state: Params) -> Params:
    return {k.removeprefix("common."): v for k, v in state.items() if k.startswith("common.")}
