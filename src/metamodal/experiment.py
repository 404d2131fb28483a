"""An experiment: a table and a tree of options in, a trained model out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from pydantic import Field

from metamodal.config import Options, component
from metamodal.data.dataset import Dataset
from metamodal.data.descriptors import ClassTable, Descriptors, Reader
from metamodal.data.encode import Preprocessor
from metamodal.data.encoders import Encoders, open_encoders
from metamodal.data.names import Names, found_names
from metamodal.data.options import DataOptions
from metamodal.data.reading import Cells, read_cells
from metamodal.data.splits import Split
from metamodal.data.targets import Targets
from metamodal.errors import OptionError
from metamodal.evaluation.metrics import SCORES
from metamodal.mappings.bridges import without_bridges
from metamodal.mappings.options import ModelOptions
from metamodal.meta.learners import learners
from metamodal.predictor import MetaModel, Seen, fingerprint, generic_model, initial_model, untrained
from metamodal.training.contest import Contest, Entrant
from metamodal.training.guard import fallen_back, unguarded
from metamodal.training.memory import forgotten
from metamodal.training.options import TrainOptions
from metamodal.training.population import population_of
from metamodal.training.progress import Progress, Trained
from metamodal.training.search import Candidate, Placed, candidates
from metamodal.training.sources import Sources, free_rows, labelled_sources, with_pseudo_tasks
from metamodal.training.told import Told
from metamodal.training.untrained import Untrained
from metamodal.types import Batch, Learner, Params

__all__ = ["Experiment", "Run", "run", "untrained_for"]


class Experiment(Options):
    """Everything that decides a training run; the same tree as YAML, overrides and record."""

    seed: int = Field(0, ge=0)
    data: DataOptions = DataOptions()
    model: ModelOptions = ModelOptions()
    learner: str | dict[str, Any] = Field(
        "auto", description="a name, a record with kind, or auto: chosen on validation tasks"
    )
    train: TrainOptions = TrainOptions()

    @property
    def searches(self) -> bool:
        """Whether training is to choose among learners; not with a number of steps to take."""
        return self.learner == "auto" and self.train.steps is None

    def build_learner(self) -> Learner:
        """The learner that is named; of `auto` the one to begin with."""
        return component(learners, "per_modality" if self.learner == "auto" else self.learner, "learner")

    def of(self, candidate: Candidate, seconds: float) -> Experiment:
        """This experiment with what a candidate says, for so many seconds."""
        model = self.model.model_copy(update={"fusion": candidate.fusion})
        train = self.train.model_copy(update=candidate.train | {"budget": seconds})
        return self.model_copy(update={"learner": candidate.learner, "model": model, "train": train})


class Run:
    """What a run of an experiment left: the model, its cells, split and history, and the seconds it was given."""

    def __init__(
        self, model: MetaModel, cells: Cells, split: Split, trained: Trained, budget: float = math.inf
    ) -> None:
        self.model, self.cells, self.split, self.trained = model, cells, split, trained
        self.budget = budget


def run(
    experiment: Experiment,
    dataset: Dataset | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    start: MetaModel | None = None,
    keep: Callable[[MetaModel], None] = lambda model: None,
) -> Run:
    """Meta-train on a table's training rows, choosing by its validation rows.

    Test rows are opened, so that an unreadable cell is known at once, but nothing is learned of them.

    Args:
        start: a model to go on from; its preprocessing stays as it is.
        keep: called with the best model so far at each validation that betters it.
    """
    began = time.perf_counter()
    dataset = experiment.data.read() if dataset is None else dataset
    if start is not None:
        engine = unguarded(start.engine) if experiment.train.guard else start.engine
        start = replace(start, engine=engine, params=forgotten(without_bridges(start.params)))
    ground = _ground(experiment, dataset, start)
    told = None if ground.table.empty else Told(ground.table, ground.known.fitted)
    kept = _Kept(experiment, ground, start, keep)
    contest = Contest(ground.preprocessor, ground.rows, ground.sources, experiment.seed, told, watch, kept)
    board: tuple[Placed, ...] = ()
    if experiment.searches and not start and not ground.sources.blind:
        entrant, trained, board = _won(experiment, ground, contest)
    else:
        first = experiment.train.part(1 - experiment.train.refit)
        entrant = Entrant(start or _initial(experiment, ground), first)
        trained = contest.alone(entrant, start.params if start else None)
    params, penalty = contest.remembered(entrant, trained.params)
    params, regressed = contest.populated(entrant, params)
    plain = Entrant(_untrained_model(ground), entrant.options, Candidate("per_modality", generic=True))
    rival = None if entrant.model.generic else contest.against_untrained(entrant, params, plain)
    if rival and rival.wins and _replaceable(experiment):
        entrant, params, penalty = plain, rival.params, None
        params, regressed = contest.populated(entrant, params)
    said = _said(experiment, entrant)
    params, recall = contest.bridged(entrant, params)
    judged = contest.verdict(entrant, params) if experiment.train.guard else None
    refits = experiment.train.refit and trained.ended != "interrupted"
    params, refit = contest.finished(
        entrant, params, penalty, experiment.train if refits else None, regressed
    )
    outcome = _outcome(trained, said, ground.split, began, SCORES[ground.targets.kind])
    if start is not None:
        outcome["steps"] += _steps_before(start)
    warned = [str(judged)] if judged and judged.falls_back else []
    if rival and rival.wins:
        warned.insert(0, _about_untrained(rival, entrant is plain))
    outcome |= {
        "ended": "interrupted" if experiment.train.refit and not refit else trained.ended,
        "refit_steps": refit,
        "bridges": {str(trust): score for trust, score in recall.items()},
        "leaderboard": [place.to_dict() for place in board],
        "guard": judged.to_dict() if judged else None,
        "untrained": rival.to_dict() if rival else None,
        "notes": [*warned, *_learned_last(refit, recall), *ground.notes],
    }
    record = _plain(said.model_dump()) | {"outcome": outcome, "split": ground.split.to_dict()}
    seen = _seen(ground.dataset, ground.split)
    engine = entrant.model.engine
    if judged and judged.falls_back:
        engine = fallen_back(engine, judged.modality)
    model = replace(entrant.model, engine=engine, params=params, seen=seen, record=record)
    return Run(model, ground.cells, ground.split, trained, experiment.train.budget)


def untrained_for(
    dataset: Dataset,
    learner: Learner | None = None,
    unreadable: str = "error",
    encoders: Encoders | None = None,
) -> MetaModel:
    """The model `none` for a table to be evaluated on: scaled by rows outside the test part.

    Of labels and numbers, which all tasks share, those rows give the answer before any support row, too.
    """
    split = dataset.split()
    rest = np.concatenate([split.train, split.valid]) if len(split.test) else np.arange(0)
    rows = dataset.rows(rest) if len(rest) else dataset
    model = untrained(rows, learner or learners["per_modality"](), unreadable, encoders)
    if not model.targets.outputs or not len(rest):
        return model
    known = model.inputs(rows, unreadable).labelled(model.targets.encode(rows))
    params = population_of(model.engine, model.params, model.tokens(known), rows.tasks())
    return replace(model, params=params)


@dataclass(frozen=True)
class _Ground:
    """A table made ready: its rows as tensors, its tasks, and what is known of its classes."""

    dataset: Dataset
    split: Split
    cells: Cells
    preprocessor: Preprocessor
    rows: Batch
    targets: Targets
    sources: Sources
    known: Descriptors
    table: ClassTable
    notes: list[str]


def _ground(experiment: Experiment, dataset: Dataset, start: MetaModel | None) -> _Ground:
    if start is not None:
        dataset = dataset.of_kind(start.targets.kind)
    split = dataset.split(experiment.seed)
    sources = labelled_sources(dataset, split, experiment.train.unlabelled)
    if experiment.train.refit and sources.blind:
        raise OptionError(
            f"train.refit={experiment.train.refit}: no validation task has labels to go on with. Leave it out."
        )
    free = free_rows(dataset, split, sources)
    targets = Targets.fit(dataset, split.train) if start is None else start.targets
    network = experiment.model
    encoders = (
        open_encoders(network.encoders, network.tune, dataset.schema)
        if start is None
        else start.preprocessor.encoders
    )
    cells = read_cells(dataset, unreadable=experiment.data.unreadable, encoders=encoders)
    preprocessor = (
        start.preprocessor if start else Preprocessor.fit(cells.rows(free[0]), network.by_kind(), encoders)
    )
    rows = preprocessor.encode(cells)
    if targets.outputs:
        rows = rows.labelled(targets.encode(dataset))
    known, names = (
        (start.descriptors, Names()) if start else _known(dataset, split, preprocessor, rows, experiment)
    )
    table = known.table(dataset)
    sources = with_pseudo_tasks(sources, preprocessor, rows, free, experiment.seed)
    notes = [*filter(None, [names.note]), *table.notes, *sources.notes]
    return _Ground(dataset, split, cells, preprocessor, rows, targets, sources, known, table, notes)


def _known(
    dataset: Dataset, split: Split, preprocessor: Preprocessor, rows: Batch, experiment: Experiment
) -> tuple[Descriptors, Names]:
    """What a model can be told of classes, as far as the training rows tell; no names where later parts
    have other classes."""
    if dataset.pooled:
        return Descriptors(), Names()
    part, column = dataset.rows(split.train), dataset.schema.role("describe")
    encoder = preprocessor.encoders.frozen.get(str(column))
    reader = Reader.fit(part, experiment.model.by_kind(), encoder)
    names = Names()
    if not split.unseen_classes and dataset.schema.target is not None:
        features = preprocessor.features(rows.take(torch.from_numpy(split.train)))
        names = found_names(part, features, experiment.data.names)
    return Descriptors(reader, tuple(fingerprint(name) for name in names.names)), names


def _won(
    experiment: Experiment, ground: _Ground, contest: Contest
) -> tuple[Entrant, Trained, tuple[Placed, ...]]:
    """The best of several learners and fusions by validation tasks."""
    budget, network = experiment.train.part(1 - experiment.train.refit).budget, experiment.model
    fusions = [network.fusion] if "fusion" in network.model_fields_set else ["mean", "attention"]

    def enter(candidate: Candidate) -> Entrant:
        said = experiment.of(candidate, budget)
        return Entrant(_initial(said, ground, generic=candidate.generic), said.train, candidate)

    entrants = candidates(len(ground.preprocessor.modalities), ground.targets.kind, fusions)
    if network.decoders:  # generic features have no shared space to decode from
        entrants = [candidate for candidate in entrants if not candidate.generic]
    return contest.won(entrants, budget, enter)


def _initial(experiment: Experiment, ground: _Ground, *, generic: bool = False) -> MetaModel:
    torch.manual_seed(experiment.seed)
    roles, network = ground.dataset.schema.to_roles(), experiment.model
    learner = experiment.build_learner()
    if generic:
        return generic_model(ground.preprocessor, learner, roles, ground.targets)
    return initial_model(
        ground.preprocessor,
        learner,
        roles,
        fusion=network.fusion,
        dim=network.dim,
        decoders=network.decoders,
        impute=network.impute,
        targets=ground.targets,
        descriptors=ground.known,
    )


class _Kept:
    """Hands on the best model so far of a run, whichever candidate's it is."""

    def __init__(
        self,
        experiment: Experiment,
        ground: _Ground,
        start: MetaModel | None,
        keep: Callable[[MetaModel], None],
    ) -> None:
        self.experiment, self.ground, self.start, self.keep = experiment, ground, start, keep
        self.best = -math.inf

    def __call__(self, entrant: Entrant, params: Params, progress: Progress) -> None:
        if progress.accuracy is None or progress.accuracy <= self.best:
            return
        self.best = progress.accuracy
        ground, score = self.ground, SCORES[self.ground.targets.kind]
        outcome = {
            "steps": progress.step + (_steps_before(self.start) if self.start else 0),
            "seconds": round(progress.elapsed, 1),
            "ended": "unfinished",
            "split_by": ground.split.by,
            "unseen_classes": ground.split.unseen_classes,
            "score": score,
            f"valid_{score}": progress.accuracy,
            "valid_ci95": progress.ci95,
            "valid_episodes": self.experiment.train.valid_episodes,
        }
        record = _plain(_said(self.experiment, entrant).model_dump())
        record |= {"outcome": outcome, "split": ground.split.to_dict()}
        seen = _seen(ground.dataset, ground.split)
        self.keep(replace(entrant.model, params=params, seen=seen, record=record))


def _said(experiment: Experiment, entrant: Entrant) -> Experiment:
    """The options under which an entrant was trained."""
    return experiment.of(entrant.candidate, entrant.options.budget) if entrant.candidate else experiment


def _steps_before(start: MetaModel) -> int:
    """The steps of the runs that a model comes from."""
    return int(start.record.get("outcome", {}).get("steps", 0))


def _untrained_model(ground: _Ground) -> MetaModel:
    roles = ground.dataset.schema.to_roles()
    return generic_model(ground.preprocessor, learners["per_modality"](), roles, ground.targets)


def _replaceable(experiment: Experiment) -> bool:
    """Whether a model without weights may stand for what was asked for: not for a fixed number of steps, and
    not where the shared space itself was trained for."""
    train, network = experiment.train, experiment.model
    wanted = network.decoders or network.impute or train.align or train.translate or train.reconstruct
    return train.steps is None and not wanted


def _about_untrained(rival: Untrained, replaced: bool) -> str:
    if replaced:
        return f"{rival}: the untrained model is kept. Train longer (--budget), or on more tasks"
    return f"{rival}: training did not pay. Train longer (--budget, train.steps), or on more tasks"


def _seen(dataset: Dataset, split: Split) -> Seen:
    rows = np.concatenate([split.train, split.valid])

    def names(values: np.ndarray) -> frozenset[str]:
        return frozenset(fingerprint(v) for v in set(values[rows]) if v is not None)

    classes = names(dataset.labels()) if dataset.schema.target and not dataset.pooled else frozenset()
    return Seen(classes, names(dataset.tasks()), names(dataset.groups()))


def _outcome(
    trained: Trained, experiment: Experiment, split: Split, began: float, score: str
) -> dict[str, Any]:
    best = max(trained.history, key=lambda p: p.accuracy or 0.0, default=None)
    outcome: dict[str, Any] = {
        "steps": trained.steps,
        "seconds": round(time.perf_counter() - began, 1),
        "ended": trained.ended,
        "split_by": split.by,
        "unseen_classes": split.unseen_classes,
        "torch": torch.__version__,
        "balance": [asdict(tally) for tally in trained.balance],
        "joint": [
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
            "valid_episodes": experiment.train.valid_episodes,
        }
    return outcome


def _learned_last(refit: int, recall: dict[float, float]) -> Iterator[str]:
    """What came after the choice by validation tasks."""
    if refit:
        yield f"refit: {refit} more steps with the validation tasks among the others; the validation score is from before"
    trust = max(recall, key=lambda trust: recall[trust], default=0.0)
    if trust:
        yield (
            f"bridges between modalities at trust {trust:g}: recall on validation rows {100 * recall[0.0]:.1f} % without, "
            f"{100 * recall[trust]:.1f} % with them"
        )


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """Options as JSON values: of an encoder that is an object, its type."""
    for name, said in record["model"]["encoders"].items():
        if not isinstance(said, str):
            record["model"]["encoders"][name] = f"<{type(said).__name__}>"
    return record
