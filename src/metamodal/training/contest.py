"""The contest among candidates: each trains on the same rows, the best by validation goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from metamodal.data.encode import Preprocessor
from metamodal.predictor import MetaModel
from metamodal.training.bridging import bridged, rebuilt
from metamodal.training.guard import Verdict, verdict
from metamodal.training.loop import meta_train
from metamodal.training.material import Material
from metamodal.training.memory import remembered, renewed
from metamodal.training.options import TrainOptions
from metamodal.training.population import populated, repopulated
from metamodal.training.progress import Progress, Trained
from metamodal.training.refit import refitted
from metamodal.training.search import Candidate, Placed, halved
from metamodal.training.sources import Sources
from metamodal.training.told import Told
from metamodal.training.untrained import Untrained, against_untrained
from metamodal.types import Batch, Params

__all__ = ["Contest", "Entrant"]


@dataclass(frozen=True)
class Entrant:
    """A model in training, how it trains, and which candidate it is if there are several."""

    model: MetaModel
    options: TrainOptions
    candidate: Candidate | None = None

    def lasting(self, seconds: float) -> Entrant:
        """The same for so many seconds."""
        return replace(self, options=self.options.model_copy(update={"budget": seconds}))


@dataclass(frozen=True)
class Contest:
    """What all entrants share: a table's rows as tensors, its tasks, and who watches.

    `told` is what is known of the rows' classes, `keep` sees the best parameters so far of any of them.
    """

    preprocessor: Preprocessor
    rows: Batch
    tasks: Sources
    seed: int
    told: Told | None
    watch: Callable[[Progress], None]
    keep: Callable[[Entrant, Params, Progress], None] = lambda entrant, params, progress: None

    def alone(self, entrant: Entrant, start: Params | None = None) -> Trained:
        """An entrant trained by itself, maybe from parameters to go on from."""
        return self._trained(entrant, start, self.watch)

    def won(
        self, candidates: Sequence[Candidate], budget: float, enter: Callable[[Candidate], Entrant]
    ) -> tuple[Entrant, Trained, tuple[Placed, ...]]:
        """The best candidate by validation tasks, and the leaderboard if there was a choice.

        Args:
            budget: seconds for all of them.
            enter: gives a candidate's model at its start.
        """
        began = time.perf_counter()

        def trial(
            candidate: Candidate, seconds: float, state: tuple[Entrant, Trained] | None
        ) -> tuple[float, float, tuple[Entrant, Trained]]:
            entrant = (state[0] if state else enter(candidate)).lasting(seconds)
            watch = _placed(self.watch, candidate.name, budget, began)
            trained = self._trained(entrant, state[1].params if state else None, watch)
            score, ci95 = _validated(trained)
            return score, ci95, (entrant, trained)

        found = halved(candidates, budget, trial)
        entrant, trained = found.state
        return entrant, trained, found.board if len(found.board) > 1 else ()

    @cached_property
    def _features(self) -> Batch:
        """The rows as generic features."""
        return self.preprocessor.features(self.rows)

    def remembered(self, entrant: Entrant, params: Params) -> tuple[Params, float | None]:
        """The parameters with what all training rows say of names, where that helps; see `remembered` of memory."""
        return remembered(self._material(entrant), params)

    def populated(self, entrant: Entrant, params: Params) -> tuple[Params, float | None]:
        """The parameters with a regression of all training rows on labels or numbers, where that helps."""
        return populated(self._material(entrant), params)

    def against_untrained(self, entrant: Entrant, params: Params, plain: Entrant) -> Untrained | None:
        """How a model without meta-training does on the same validation tasks; see `against_untrained`."""
        return against_untrained(self._material(entrant), params, self._material(plain), plain.model.params)

    def bridged(self, entrant: Entrant, params: Params) -> tuple[Params, dict[float, float]]:
        """The parameters with maps between modalities, where that helps retrieval; see `bridged` of bridging."""
        return bridged(self._material(entrant), params)

    def finished(
        self,
        entrant: Entrant,
        params: Params,
        penalty: float | None,
        whole: TrainOptions | None,
        regressed: float | None = None,
    ) -> tuple[Params, int]:
        """The parameters with what validation rows teach, once all is chosen, and the steps of a refit.

        Args:
            penalty: of memories, if there are any.
            whole: the options of all of training, a share of which is the refit; nothing if there is to be none.
            regressed: the penalty of the population's regression, if there is one.
        """
        material, steps = self._material(entrant, self.seed + 1), 0
        if whole is not None:
            last = whole.part(whole.refit)
            options = material.options.model_copy(update={"budget": last.budget, "steps": last.steps})
            watch = _after(self.watch, whole.budget - last.budget)
            params, steps = refitted(replace(material, options=options), params, watch)
        params = repopulated(material, renewed(material, params, penalty), regressed)
        return rebuilt(material, params), steps

    def verdict(self, entrant: Entrant, params: Params) -> Verdict | None:
        """Whether all modalities do better than the best alone, on validation tasks."""
        return verdict(self._material(entrant), params)

    def _trained(self, entrant: Entrant, start: Params | None, watch: Callable[[Progress], None]) -> Trained:
        material = self._material(entrant, self.seed + (1 if start else 0))
        keep = partial(self.keep, entrant)
        return meta_train(material, start=start, watch=watch, keep=keep)

    def _material(self, entrant: Entrant, seed: int | None = None) -> Material:
        options, generic = entrant.options, entrant.model.generic
        if generic:  # features cannot be turned or varied as what they were computed of
            options = options.model_copy(update={"variants": False, "augment": False})
        return Material(
            entrant.model.engine,
            self.preprocessor,
            self._features if generic else self.rows,
            self.tasks.labelled if generic else self.tasks,
            options,
            self.seed if seed is None else seed,
            None if generic else self.told,
        )


def _validated(trained: Trained) -> tuple[float, float]:
    """The best validation score with its interval; the worst there is where none was taken."""
    scores = [(p.accuracy, p.ci95) for p in trained.history if p.accuracy is not None]
    score, ci95 = max(scores, key=lambda pair: pair[0], default=(-math.inf, None))
    return score, math.nan if ci95 is None else ci95


def _placed(
    watch: Callable[[Progress], None], name: str, budget: float, began: float
) -> Callable[[Progress], None]:
    """A candidate's progress as part of the whole contest's."""

    def shown(progress: Progress) -> None:
        elapsed = time.perf_counter() - began
        watch(replace(progress, elapsed=elapsed, left=max(0.0, budget - elapsed), candidate=name))

    return shown


def _after(watch: Callable[[Progress], None], seconds: float) -> Callable[[Progress], None]:
    """A refit's progress, which comes after so many seconds of training."""
    return lambda progress: watch(replace(progress, elapsed=seconds + progress.elapsed, candidate="refit"))
