"""The option tree, and what runs one: a table and options in, a trained model out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from metamodal.config import Options, component
from metamodal.data.dataset import Dataset, read_table
from metamodal.data.descriptors import Descriptors, Reader
from metamodal.data.encode import Preprocessor
from metamodal.data.encoders import Encoders, open_encoders
from metamodal.data.names import Names, found_names
from metamodal.data.reading import Cells, read_cells
from metamodal.data.schema import Roles
from metamodal.data.splits import Plan, Split
from metamodal.errors import DataError
from metamodal.meta.learners import learners
from metamodal.predictor import MetaModel, Seen, fingerprint, initial_model, untrained
from metamodal.training.loop import Progress, Trained, meta_train
from metamodal.training.options import TrainOptions
from metamodal.training.sources import free_rows, labelled_sources, with_pseudo_tasks
from metamodal.training.told import Told
from metamodal.types import Batch, Learner

__all__ = ["DataOptions", "Experiment", "ModelOptions", "Run", "run", "untrained_for"]


_PLAN = ("split_by", "shares", "folds", "fold", "inner", "names")


class DataOptions(Options):
    """The table and the roles of its columns."""

    table: str | None = Field(None, description="a table file, or glyphs")
    target: str | None = Field(None, description="the column with the label")
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
    learner: str | dict[str, Any] = Field("per_modality", description="a name, or a record with kind")
    train: TrainOptions = TrainOptions()

    def build_learner(self) -> Learner:
        return component(learners, self.learner, "learner")


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
    split = dataset.split(experiment.seed)
    sources = labelled_sources(dataset, split, experiment.train.unlabelled)
    free = free_rows(dataset, split, sources)
    learner = experiment.build_learner()
    network = experiment.model
    encoders = (
        open_encoders(network.encoders, network.tune, dataset.schema)
        if start is None
        else start.preprocessor.encoders
    )
    cells = read_cells(dataset, unreadable=experiment.data.unreadable, encoders=encoders)
    if start is None:
        preprocessor = Preprocessor.fit(cells.rows(free[0]), network.by_kind(), encoders)
        rows = preprocessor.encode(cells)
        features = preprocessor.features(rows.take(torch.from_numpy(split.train)))
        names = _names(dataset, split, features, experiment.data.names)
        torch.manual_seed(experiment.seed)
        roles = dataset.schema.to_roles()
        known = _descriptors(dataset, split, network, encoders, names)
        model = initial_model(
            preprocessor, learner, roles, fusion=network.fusion, dim=network.dim, descriptors=known
        )
    else:
        model, names = start, Names()
        rows = model.preprocessor.encode(cells)
    table = model.descriptors.table(dataset)
    sources = with_pseudo_tasks(sources, model.preprocessor, rows, free, experiment.seed)
    trained = meta_train(
        model.engine,
        model.preprocessor,
        rows,
        sources,
        experiment.train,
        seed=experiment.seed + (1 if start else 0),
        start=start.params if start else None,
        told=None if table.empty else Told(table, model.descriptors.fitted),
        watch=watch,
    )
    record = _plain(experiment.model_dump())
    outcome = _outcome(trained, experiment, split, began) | {
        "notes": [*filter(None, [names.note]), *table.notes, *sources.notes]
    }
    record |= {"outcome": outcome, "split": split.to_dict()}
    model = replace(model, params=trained.params, seen=_seen(dataset, split), record=record)
    return Run(model, cells, split, trained)


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


def _descriptors(
    dataset: Dataset, split: Split, network: ModelOptions, encoders: Encoders, names: Names
) -> Descriptors:
    """What a model can be told of classes, as far as the training rows tell."""
    part = dataset.rows(split.train)
    column = dataset.schema.role("describe")
    reader = Reader.fit(part, network.by_kind(), encoders.frozen.get(str(column)))
    return Descriptors(reader, tuple(fingerprint(name) for name in names.names))


def _names(dataset: Dataset, split: Split, features: Batch, said: str) -> Names:
    """Class names that training tasks share; none where later parts have other classes."""
    unknown = split.unseen_classes or dataset.schema.target is None
    return Names() if unknown else found_names(dataset.rows(split.train), features, said)


def _seen(dataset: Dataset, split: Split) -> Seen:
    rows = np.concatenate([split.train, split.valid])

    def names(values: np.ndarray) -> frozenset[str]:
        return frozenset(fingerprint(v) for v in set(values[rows]) if v is not None)

    labels = names(dataset.labels()) if dataset.schema.target else frozenset()
    return Seen(labels, names(dataset.tasks()), names(dataset.groups()))


def _outcome(trained: Trained, experiment: Experiment, split: Split, began: float) -> dict[str, Any]:
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
            "valid_accuracy": best.accuracy,
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
