"""Training one model, or several candidates on the same rows, of which the best by validation is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from metamodal.model import MetaModel
from metamodal.training.context import Context, EncodedTable
from metamodal.training.loop.meta_train import meta_train
from metamodal.training.loop.progress import Progress, Trained
from metamodal.training.options import TrainOptions
from metamodal.training.selection.halving import Candidate, Ranked, halved
from metamodal.types import Params

__all__ = ["Trial", "Trials", "context_of"]


@dataclass(frozen=True)
class Trial:
    """A model in training, its options, and which candidate it is if there are several."""

    model: MetaModel
    options: TrainOptions
    candidate: Candidate | None = None

    def lasting(self, seconds: float) -> Trial:
        """The same for so many seconds."""
        return replace(self, options=self.options.model_copy(update={"budget": seconds}))


def context_of(
    table: EncodedTable, model: MetaModel, options: TrainOptions, seed: int | None = None
) -> Context:
    """A model on a table under these options."""
    return table.context(model, options.episodes, options.outer, options.validation.episodes, seed)


@dataclass(frozen=True)
class Trials:
    """What all trials share: the table and who watches.

    `keep` receives the best parameters so far of any of them.
    """

    table: EncodedTable
    watch: Callable[[Progress], None]
    keep: Callable[[Trial, Params, Progress], None] = lambda trial, params, progress: None

    def one(self, trial: Trial, start: Params | None = None) -> Trained:
        """A trial by itself, maybe from parameters to continue from."""
        return self._trained(trial, start, self.watch)

    def best(
        self, candidates: Sequence[Candidate], budget: float, begin: Callable[[Candidate], Trial]
    ) -> tuple[Trial, Trained, tuple[Ranked, ...]]:
        """The best candidate on validation tasks, and the leaderboard if there was a choice.

        Args:
            budget: seconds for all of them.
            begin: gives a candidate's trial at its start.
        """
        began = time.perf_counter()

        def run(
            candidate: Candidate, seconds: float, state: tuple[Trial, Trained] | None
        ) -> tuple[float, float, tuple[Trial, Trained]]:
            trial = (state[0] if state else begin(candidate)).lasting(seconds)
            watch = _as_part(self.watch, candidate.name, budget, began)
            trained = self._trained(trial, state[1].params if state else None, watch)
            score, ci95 = _validated(trained)
            return score, ci95, (trial, trained)

        best = halved(candidates, budget, run)
        trial, trained = best.state
        return trial, trained, best.board if len(best.board) > 1 else ()

    def _trained(self, trial: Trial, start: Params | None, watch: Callable[[Progress], None]) -> Trained:
        seed = self.table.seed + (1 if start else 0)
        context = context_of(self.table, trial.model, trial.options, seed)
        keep = partial(self.keep, trial)
        return meta_train(context, trial.options, start=start, watch=watch, keep=keep)


def _validated(trained: Trained) -> tuple[float, float]:
    """The best validation score with its interval; the worst there is where none was taken."""
    scores = [(p.accuracy, p.ci95) for p in trained.history if p.accuracy is not None]
    score, ci95 = max(scores, key=lambda pair: pair[0], default=(-math.inf, None))
    return score, math.nan if ci95 is None else ci95


def _as_part(
    watch: Callable[[Progress], None], name: str, budget: float, began: float
) -> Callable[[Progress], None]:
    """A candidate's progress as part of the progress of all."""

    def shown(progress: Progress) -> None:
        elapsed = time.perf_counter() - began
        watch(replace(progress, elapsed=elapsed, left=max(0.0, budget - elapsed), candidate=name))

    return shown
