"""A table prepared for training: its rows as tensors, its tasks, and what is known of its classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from metamodal.data.class_info import ClassInfo, DescriptionReader, SharedNames, shared_names
from metamodal.data.dataset import Dataset
from metamodal.data.features.digests import fingerprint
from metamodal.data.features.encode import Preprocessor
from metamodal.data.features.encoders import open_encoders
from metamodal.data.features.reading import Cells, read_cells
from metamodal.data.schema.targets import Targets
from metamodal.data.tasks.splits import Split
from metamodal.errors import OptionError, suggestion
from metamodal.experiment.options import Experiment
from metamodal.model import MetaModel
from metamodal.training.context import EncodedTable
from metamodal.training.episodes.class_info import EpisodeClassInfo
from metamodal.training.episodes.pools import free_rows, labelled_pools, with_pseudo_tasks
from metamodal.types import Batch

__all__ = ["Prepared", "prepared"]


@dataclass(frozen=True)
class Prepared:
    """A table with all that a model is built from and trained on."""

    dataset: Dataset
    split: Split
    cells: Cells
    targets: Targets
    class_info: ClassInfo
    encoded: EncodedTable
    notes: tuple[str, ...]


def prepared(experiment: Experiment, dataset: Dataset, start: MetaModel | None) -> Prepared:
    """The table, its preprocessing fitted to the training rows, or that of the model to continue from.

    Raises:
        OptionError: an option that does not fit the table.
        DataError: a cell that cannot be read, or no task to train or validate on.
    """
    if start is not None:
        dataset = dataset.of_kind(start.targets.kind)
    split = dataset.split(experiment.seed)
    train, network = experiment.train, experiment.model
    pools = labelled_pools(dataset, split, train.episodes.unlabelled)
    if train.final_fit and pools.blind:
        raise OptionError(
            f"train.final_fit={train.final_fit}: no validation task has labels to train on. Leave it out."
        )
    for name in network.networks:
        if name not in dataset.schema.modalities:
            raise OptionError(
                f"model.encoders.{name}: no such modality. {suggestion(name, dataset.schema.modalities)}"
            )
    free = free_rows(dataset, split, pools)
    targets = start.targets if start else Targets.fit(dataset, split.train)
    encoders = (
        start.preprocessor.encoders
        if start
        else open_encoders(network.pretrained, network.tune, dataset.schema)
    )
    cells = read_cells(dataset, unreadable=experiment.data.unreadable, encoders=encoders)
    preprocessor = (
        start.preprocessor if start else Preprocessor.fit(cells.rows(free[0]), network.by_kind, encoders)
    )
    rows = preprocessor.encode(cells)
    if not targets.has_classes:
        rows = rows.labelled(targets.encode(dataset))
    class_info, names = (
        (start.class_info, SharedNames())
        if start
        else _class_info(dataset, split, preprocessor, rows, experiment)
    )
    classes = class_info.table(dataset)
    pools = with_pseudo_tasks(pools, preprocessor, rows, free, experiment.seed)
    info = None if classes.empty else EpisodeClassInfo(classes, class_info.fitted)
    encoded = EncodedTable(preprocessor, rows, pools, info, experiment.seed)
    notes = (*filter(None, [names.note]), *classes.notes, *pools.notes)
    return Prepared(dataset, split, cells, targets, class_info, encoded, notes)


def _class_info(
    dataset: Dataset, split: Split, preprocessor: Preprocessor, rows: Batch, experiment: Experiment
) -> tuple[ClassInfo, SharedNames]:
    """The class information of the training rows; no names where the later parts have other classes."""
    if not dataset.has_classes:
        return ClassInfo(), SharedNames()
    part, column = dataset.rows(split.train), dataset.schema.role("describe")
    encoder = preprocessor.encoders.frozen.get(str(column))
    reader = DescriptionReader.fit(part, experiment.model.by_kind, encoder)
    names = SharedNames()
    if not split.unseen_classes and dataset.schema.target is not None:
        features = preprocessor.features(rows.take(torch.from_numpy(split.train)))
        names = shared_names(part, features, experiment.data.class_names)
    return ClassInfo(reader, tuple(fingerprint(name) for name in names.names)), names
