"""A run of an experiment: a table and a tree of options in, a trained model out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from metamodal.components import Auto, Built
from metamodal.data.dataset import Dataset
from metamodal.data.features.digests import fingerprint
from metamodal.data.features.reading import Cells
from metamodal.data.tasks.splits import Split
from metamodal.device import opened_device
from metamodal.evaluation.metrics import SCORES
from metamodal.experiment.options import FUSIONS, Experiment
from metamodal.experiment.prepared import Prepared, prepared
from metamodal.mappings.cross_modal_maps import without_maps
from metamodal.mappings.fusion import fusions
from metamodal.model import MetaModel, Seen, built
from metamodal.spec import ModelSpec
from metamodal.training.after import STAGES, Work
from metamodal.training.after.class_prior import without_class_prior
from metamodal.training.after.fallback import without_fallback
from metamodal.training.loop.progress import Progress, Trained
from metamodal.training.options import TrainOptions
from metamodal.training.selection.halving import Candidate, Ranked, candidates
from metamodal.training.selection.trials import Trial, Trials
from metamodal.types import Params

__all__ = ["Run", "run"]


@dataclass(frozen=True)
class Run:
    """What a run of an experiment left: the model, its cells, split and history, and the seconds it was given."""

    model: MetaModel
    cells: Cells
    split: Split
    trained: Trained
    budget: float = math.inf


def run(
    experiment: Experiment,
    dataset: Dataset | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    start: MetaModel | None = None,
    keep: Callable[[MetaModel], None] = lambda model: None,
) -> Run:
    """Meta-train on a table's training rows; every choice is made on its validation rows.

    Test rows are opened, so that an unreadable cell is reported at once, but nothing is learned from them.

    Args:
        start: a model to continue from; its preprocessing stays as it is.
        keep: called with the best model so far at each validation that is better than those before.
    """
    began = time.perf_counter()
    opened_device(experiment.device)  # before any row is read
    table = prepared(experiment, experiment.data.read() if dataset is None else dataset, start)
    if start is not None:
        start = _without_stages(start, fallback=experiment.train.fallback)
        start = start.on(experiment.device, experiment.precision)
    trials = Trials(table.encoded, watch, _Keeper(experiment, table, start, keep))
    trial, trained, board = _trained(experiment, table, trials, start)
    model = replace(trial.model, params=trained.params)
    work = Work(
        table.encoded,
        trial.options.model_copy(update={"budget": experiment.train.budget, "steps": experiment.train.steps}),
        watch,
        mapping=experiment.mapping,
        replaceable=_replaceable(experiment),
        interrupted=trained.ended == "interrupted",
    )
    outcome, notes = _outcome(experiment, table, trained, start), list[str]()
    for stage in STAGES:
        model, report = stage(replace(work, outcome=outcome), model)
        outcome |= report.outcome
        notes += report.notes
    if experiment.train.final_fit and not outcome["final_fit_steps"]:
        outcome["ended"] = "interrupted"
    outcome |= {
        "seconds": round(time.perf_counter() - began, 1),
        "leaderboard": [place.to_dict() for place in board],
        "notes": [*notes, *table.notes],
    }
    record = experiment.record() | {"outcome": outcome, "split": table.split.to_dict()}
    model = replace(model, seen=_seen(table.dataset, table.split), record=record)
    return Run(model, table.cells, table.split, trained, experiment.train.budget)


def _without_stages(start: MetaModel, *, fallback: bool) -> MetaModel:
    """A model as training left it, before the stages that followed."""
    if fallback:
        start, _ = without_fallback(start)
    spec = replace(start.spec, mapping=None)
    return replace(start, spec=spec, params=without_class_prior(without_maps(start.params)))


def _trained(
    experiment: Experiment, table: Prepared, trials: Trials, start: MetaModel | None
) -> tuple[Trial, Trained, tuple[Ranked, ...]]:
    """The model that was asked for, or the best of several learners and fusions, as training leaves it."""
    options = experiment.train.part(1 - experiment.train.final_fit)
    if not experiment.searches or start or table.encoded.pools.blind:
        trial = Trial(start or _initial(experiment, table, experiment.spec), options)
        return trial, trials.one(trial, start.params if start else None), ()
    auto = experiment.learner
    assert isinstance(auto, Auto)
    among = candidates(
        len(table.encoded.preprocessor.modalities), table.targets.output, auto, _fusions(experiment)
    )
    if experiment.model.decoders:  # generic features have no shared space to decode from
        among = [candidate for candidate in among if not candidate.generic]

    def begin(candidate: Candidate) -> Trial:
        network = None if candidate.generic else experiment.model.network(candidate.fusion)
        model = _initial(experiment, table, ModelSpec(network, candidate.learner))
        return Trial(model, _with_rate(options, candidate.lr), candidate)

    return trials.best(among, options.budget, begin)


def _fusions(experiment: Experiment) -> list[Built]:
    """The fusions that may be chosen."""
    fusion = experiment.model.fusion
    if not isinstance(fusion, Auto):
        return [fusion]
    names = fusion.choices(fusions, FUSIONS)
    return [Auto(fusion.given).chosen(fusions, [name]) for name in names]


def _with_rate(options: TrainOptions, lr: float | None) -> TrainOptions:
    if lr is None:
        return options
    return options.model_copy(update={"optimiser": options.optimiser.model_copy(update={"lr": lr})})


def _initial(experiment: Experiment, table: Prepared, spec: ModelSpec) -> MetaModel:
    torch.manual_seed(experiment.seed)
    roles = table.dataset.schema.to_roles()
    class_info = table.class_info if spec.network else None
    model = built(spec, table.encoded.preprocessor, roles, table.targets, class_info)
    return model.on(experiment.device, experiment.precision)


class _Keeper:
    """Passes on the best model so far of a run, whichever candidate it is of."""

    def __init__(
        self,
        experiment: Experiment,
        table: Prepared,
        start: MetaModel | None,
        keep: Callable[[MetaModel], None],
    ) -> None:
        self.experiment, self.table, self.start, self.keep = experiment, table, start, keep
        self.best = -math.inf

    def __call__(self, trial: Trial, params: Params, progress: Progress) -> None:
        if progress.accuracy is None or progress.accuracy <= self.best:
            return
        self.best = progress.accuracy
        table, score = self.table, SCORES[self.table.targets.kind]
        outcome = {
            "steps": progress.step + (_steps_before(self.start) if self.start else 0),
            "seconds": round(progress.elapsed, 1),
            "ended": "unfinished",
            "split_by": table.split.by,
            "unseen_classes": table.split.unseen_classes,
            "score": score,
            f"valid_{score}": progress.accuracy,
            "valid_ci95": progress.ci95,
            "valid_episodes": self.experiment.train.validation.episodes,
        }
        record = self.experiment.record() | {"outcome": outcome, "split": table.split.to_dict()}
        seen = _seen(table.dataset, table.split)
        self.keep(replace(trial.model, params=params, seen=seen, record=record))


def _steps_before(start: MetaModel) -> int:
    """The steps of the runs that a model comes from."""
    return int(start.record.get("outcome", {}).get("steps", 0))


def _replaceable(experiment: Experiment) -> bool:
    """Whether the untrained model may be kept instead of the trained one: not after a fixed number of steps, and
    not where the shared space itself was trained for."""
    train, network = experiment.train, experiment.model
    shared = any(train.weight(loss) for loss in ("align", "translate", "reconstruct"))
    return train.steps is None and not (network.decoders or network.impute or shared)


def _seen(dataset: Dataset, split: Split) -> Seen:
    rows = np.concatenate([split.train, split.valid])

    def names(values: np.ndarray) -> frozenset[str]:
        return frozenset(fingerprint(v) for v in set(values[rows]) if v is not None)

    classes = names(dataset.labels()) if dataset.schema.target and dataset.has_classes else frozenset()
    return Seen(classes, names(dataset.tasks()), names(dataset.groups()))


def _outcome(
    experiment: Experiment, table: Prepared, trained: Trained, start: MetaModel | None
) -> dict[str, Any]:
    """What training reports, before the stages that follow it."""
    best = max(trained.history, key=lambda p: p.accuracy or 0.0, default=None)
    score = SCORES[table.targets.kind]
    outcome: dict[str, Any] = {
        "steps": trained.steps + (_steps_before(start) if start else 0),
        "seconds": 0.0,
        "ended": trained.ended,
        "split_by": table.split.by,
        "unseen_classes": table.split.unseen_classes,
        "torch": torch.__version__,
        "balance": [asdict(tally) for tally in trained.balance],
        "losses": [
            {"step": p.step, "elapsed": round(p.elapsed, 2)} | p.diagnosis.to_dict()
            for p in trained.history
            if p.diagnosis is not None
        ],
    }
    if best is not None:
        outcome |= {
            "score": score,
            f"valid_{score}": best.accuracy,
            "valid_ci95": best.ci95,
            "valid_episodes": experiment.train.validation.episodes,
        }
    return outcome
