"""The option tree, and what runs one: a table and options in, a trained model out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from metamodal.config import Options, component
from metamodal.data.dataset import Dataset, read_table
from metamodal.data.descriptors import ClassTable, Descriptors, Reader
from metamodal.data.encode import Preprocessor
from metamodal.data.encoders import Encoders, open_encoders
from metamodal.data.names import Names, found_names
from metamodal.data.reading import Cells, read_cells
from metamodal.data.roles import Roles
from metamodal.data.splits import Plan, Split
from metamodal.data.targets import Targets
from metamodal.errors import DataError
from metamodal.evaluation.metrics import SCORES
from metamodal.meta.learners import learners
from metamodal.predictor import MetaModel, Seen, fingerprint, generic_model, initial_model, untrained
from metamodal.training.loop import meta_train
from metamodal.training.material import Material
from metamodal.training.options import TrainOptions
from metamodal.training.progress import Progress, Trained
from metamodal.training.search import Candidate, Placed, candidates, halved
from metamodal.training.sources import Sources, free_rows, labelled_sources, with_pseudo_tasks
from metamodal.training.told import Told
from metamodal.types import Batch, Learner, Params

__all__ = ["DataOptions", "Experiment", "ModelOptions", "Run", "run", "untrained_for"]


_PLAN = ("split_by", "shares", "folds", "fold", "inner", "names")


class DataOptions(Options):
    """The table and the roles of its columns."""

    table: str | None = Field(None, description="a table file, or glyphs")
    target: str | list[str] | None = Field(
        None, description="the column with the label, or several with labels or numbers"
    )
    target_kind: Literal["auto", "classes", "labels", "numbers"] = Field(
        "auto", description="what the target is; auto: as its cells tell"
    )
    task: str | None = Field(None, description="the column whose values are tasks")
    group: str | None = Field(None, description="the column of the entity whose rows belong together")
    split: str | None = Field(None, description="the column that says train, valid or test")
    time: str | None = Field(None, description="the column of the moment that a row is of")
    split_by: Literal["auto", "task", "class", "group", "row", "time"] = Field(
        "auto", description="what a split keeps whole, or time; auto: the first that the table has"
    )
    shares: list[float] = Field(
        [0.6, 0.2, 0.2], min_length=3, max_length=3, description="of training, validation and test in a split"
    )
    folds: int = Field(0, ge=0, description="parts of a cross-validation instead of shares")
    fold: int = Field(0, ge=0, description="the part to test on")
    inner: int = Field(0, ge=0, description="of the other parts the one to validate on")
    describe: str | None = Field(
        None, description="a column that describes the class: words, values, a vector"
    )
    names: Literal["auto", "shared", "own"] = Field(
        "auto", description="whether tasks' equal class names mean the same class; auto: if rows agree"
    )
    use: list[str] | None = Field(None, description="the modalities; by default all columns of use")
    kinds: dict[str, str] = Field({}, description="kinds of columns that should not be inferred")
    root: str | None = Field(None, description="the folder that paths start from; by default the table's own")
    triples: str | None = Field(None, description="a table of head, relation, tail for entities in graphs")
    unreadable: Literal["error", "absent"] = Field(
        "error", description="what a cell that cannot be read is: an error, or absent"
    )

    def read(self) -> Dataset:
        """The table with its roles."""
        if self.table is None:
            raise DataError("no table is named. Give a table file, or the word glyphs.")
        said = self.model_dump(exclude={"table", "unreadable", *_PLAN})
        return read_table(self.table, **said, plan=self.plan)

    @property
    def plan(self) -> Plan:
        """How rows are shared out."""
        return Plan(self.split_by, tuple(self.shares), self.folds, self.fold, self.inner)


class ModelOptions(Options):
    """The shared space and how modalities become tensors."""

    dim: int = Field(128, ge=8, description="width of the shared space")
    fusion: str = Field("mean", description="mean or attention")
    image_size: int = Field(32, ge=8, le=128, description="side of an image in pixels")
    series_length: int = Field(96, ge=8, description="points that a series is resampled to")
    encoders: dict[str, Any] = Field(
        {}, description="pretrained encoders by modality: minilm, a folder, or package.module:name"
    )
    tune: list[str] = Field([], description="modalities whose pretrained encoder is trained along")
    text_buckets: int = Field(2048, ge=64, description="hash buckets of a text's n-grams")
    audio_rate: int = Field(16000, ge=2000, le=96000, description="highest samples a second of a sound")
    audio_seconds: float = Field(5.0, gt=0, le=600, description="longest part of a sound that is heard")
    audio_mels: int = Field(48, ge=8, le=256, description="mel bands of a sound")
    video_frames: int = Field(8, ge=2, le=32, description="frames of a clip, evenly spaced")
    video_size: int = Field(32, ge=8, le=64, description="side of a clip's frame in pixels")
    graph_nodes: int = Field(32, ge=2, le=512, description="most nodes of a graph that are kept")
    points: int = Field(256, ge=8, le=4096, description="most points of a cloud that are kept")

    def by_kind(self) -> dict[str, dict[str, Any]]:
        """The options of each kind's `fit`."""
        return {
            "image": {"size": self.image_size},
            "series": {"length": self.series_length},
            "text": {"buckets": self.text_buckets},
            "audio": {"rate": self.audio_rate, "seconds": self.audio_seconds, "mels": self.audio_mels},
            "video": {"frames": self.video_frames, "size": self.video_size},
            "graph": {"nodes": self.graph_nodes},
            "points": {"count": self.points},
        }


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
    """What a run of an experiment left: the model, its cells, split and history."""

    def __init__(self, model: MetaModel, cells: Cells, split: Split, trained: Trained) -> None:
        self.model, self.cells, self.split, self.trained = model, cells, split, trained


def run(
    experiment: Experiment,
    dataset: Dataset | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    start: MetaModel | None = None,
) -> Run:
    """Meta-train on a table's training rows, choosing by its validation rows.

    Test rows are opened, so that an unreadable cell is known at once, but nothing is learned of them.

    Args:
        start: a model to go on from; its preprocessing stays as it is.
    """
    began = time.perf_counter()
    dataset = experiment.data.read() if dataset is None else dataset
    if start is not None:
        dataset = dataset.of_kind(start.targets.kind)
    split = dataset.split(experiment.seed)
    sources = labelled_sources(dataset, split, experiment.train.unlabelled)
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
    course = _Course(experiment, dataset, preprocessor, rows, targets, sources, watch, known, table)
    searching = experiment.searches and not start and not sources.blind
    chosen, trained, board = course.searched() if searching else course.run(start)
    said = chosen.experiment
    record = _plain(said.model_dump())
    outcome = _outcome(trained, said, split, began, SCORES[targets.kind])
    outcome |= {"leaderboard": [place.to_dict() for place in board]}
    outcome["notes"] = [*filter(None, [names.note]), *table.notes, *sources.notes]
    record |= {"outcome": outcome, "split": split.to_dict()}
    model = replace(chosen.model, params=trained.params, seen=_seen(dataset, split), record=record)
    return Run(model, cells, split, trained)


@dataclass(frozen=True)
class _Entrant:
    """A model in training, and the experiment that it is of."""

    experiment: Experiment
    model: MetaModel


@dataclass(frozen=True)
class _Course:
    """What all candidates share: the table's rows as tensors, its tasks, who watches, what is known of classes."""

    experiment: Experiment
    dataset: Dataset
    preprocessor: Preprocessor
    rows: Batch
    targets: Targets
    parts: Sources
    watch: Callable[[Progress], None]
    known: Descriptors
    table: ClassTable

    def run(self, start: MetaModel | None = None) -> tuple[_Entrant, Trained, tuple[Placed, ...]]:
        """The experiment as it is, from a model to go on from or from scratch."""
        entrant = _Entrant(self.experiment, start or self.initial(self.experiment))
        return entrant, self.trained(entrant, start.params if start else None, self.watch), ()

    def searched(self) -> tuple[_Entrant, Trained, tuple[Placed, ...]]:
        """The best of several learners and fusions by validation tasks."""
        said = self.experiment.model.model_fields_set
        fusions = [self.experiment.model.fusion] if "fusion" in said else ["mean", "attention"]
        entrants = candidates(len(self.preprocessor.modalities), self.targets.kind, fusions)
        began = time.perf_counter()

        def trial(
            candidate: Candidate, seconds: float, state: tuple[_Entrant, Trained] | None
        ) -> tuple[float, float, tuple[_Entrant, Trained]]:
            experiment = self.experiment.of(candidate, seconds)
            model = state[0].model if state else self.initial(experiment, generic=candidate.generic)
            entrant = _Entrant(experiment, model)
            watch = _placed(self.watch, candidate.name, self.experiment.train.budget, began)
            trained = self.trained(entrant, state[1].params if state else None, watch)
            score, ci95 = _validated(trained)
            return score, ci95, (entrant, trained)

        found = halved(entrants, self.experiment.train.budget, trial)
        entrant, trained = found.state
        return entrant, trained, found.board if len(found.board) > 1 else ()

    @cached_property
    def features(self) -> Batch:
        """The rows as generic features."""
        return self.preprocessor.features(self.rows)

    def initial(self, experiment: Experiment, *, generic: bool = False) -> MetaModel:
        torch.manual_seed(experiment.seed)
        roles, network = self.dataset.schema.to_roles(), experiment.model
        learner = experiment.build_learner()
        if generic:
            return generic_model(self.preprocessor, learner, roles, self.targets)
        return initial_model(
            self.preprocessor,
            learner,
            roles,
            fusion=network.fusion,
            dim=network.dim,
            targets=self.targets,
            descriptors=self.known,
        )

    def trained(self, entrant: _Entrant, start: Params | None, watch: Callable[[Progress], None]) -> Trained:
        options, generic = entrant.experiment.train, entrant.model.generic
        if generic:  # features cannot be turned or varied as what they were computed of
            options = options.model_copy(update={"variants": False, "augment": False})
        told = None if generic or self.table.empty else Told(self.table, self.known.fitted)
        material = Material(
            entrant.model.engine,
            self.preprocessor,
            self.features if generic else self.rows,
            self.parts.labelled if generic else self.parts,
            options,
            self.experiment.seed + (1 if start else 0),
            told,
        )
        return meta_train(material, start=start, watch=watch)


def _validated(trained: Trained) -> tuple[float, float]:
    """The best validation score with its interval; the worst there is where none was taken."""
    scores = [(p.accuracy, p.ci95) for p in trained.history if p.accuracy is not None]
    score, ci95 = max(scores, key=lambda pair: pair[0], default=(-math.inf, None))
    return score, math.nan if ci95 is None else ci95


def _placed(
    watch: Callable[[Progress], None], name: str, budget: float, began: float
) -> Callable[[Progress], None]:
    """A candidate's progress as part of the whole search's."""

    def shown(progress: Progress) -> None:
        elapsed = time.perf_counter() - began
        watch(replace(progress, elapsed=elapsed, left=max(0.0, budget - elapsed), candidate=name))

    return shown


def untrained_for(
    dataset: Dataset,
    learner: Learner | None = None,
    unreadable: str = "error",
    encoders: Encoders | None = None,
) -> MetaModel:
    """The model `none` for a table to be evaluated on: scaled by rows outside the test part."""
    split = dataset.split()
    rest = np.concatenate([split.train, split.valid]) if len(split.test) else np.arange(0)
    rows = dataset.rows(rest) if len(rest) else dataset
    return untrained(rows, learner or learners["per_modality"](), unreadable, encoders)


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
    }
    if best is not None:
        outcome |= {
            "score": score,
            f"valid_{score}": best.accuracy,
            "valid_ci95": best.ci95,
            "valid_episodes": experiment.train.valid_episodes,
        }
    return outcome


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """Options as JSON values: of an encoder that is an object, its type."""
    for name, said in record["model"]["encoders"].items():
        if not isinstance(said, str):
            record["model"]["encoders"][name] = f"<{type(said).__name__}>"
    return record


def roles_of(options: DataOptions) -> Roles:
    """The roles that data options name."""
    said = options.model_dump(exclude={"table", "root", "unreadable", *_PLAN})
    return Roles(**said | {"use": tuple(options.use) if options.use else None})
