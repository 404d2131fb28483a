"""A table prepared for training: its rows as tensors, its tasks, and what is known of its classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from metamodal.data.dataset import Dataset
from metamodal.data.descriptors import Descriptors, Reader
from metamodal.data.features.digests import fingerprint
from metamodal.data.features.encode import Preprocessor
from metamodal.data.features.encoders import open_encoders
from metamodal.data.features.reading import Cells, read_cells
from metamodal.data.names import Names, found_names
from metamodal.data.schema.targets import Targets
from metamodal.data.tasks.splits import Split
from metamodal.errors import OptionError, suggestion
from metamodal.experiment.options import Experiment
from metamodal.model import MetaModel
from metamodal.training.context import EncodedTable
from metamodal.training.episodes.class_info import ClassInfo
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
    descriptors: Descriptors
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
    descriptors, names = (
        (start.descriptors, Names())
        if start
        else _descriptors(dataset, split, preprocessor, rows, experiment)
    )
    classes = descriptors.table(dataset)
    pools = with_pseudo_tasks(pools, preprocessor, rows, free, experiment.seed)
    info = None if classes.empty else ClassInfo(classes, descriptors.fitted)
    encoded = EncodedTable(preprocessor, rows, pools, info, experiment.seed)
    notes = (*filter(None, [names.note]), *classes.notes, *pools.notes)
    return Prepared(dataset, split, cells, targets, descriptors, encoded, notes)


def _descriptors(
    dataset: Dataset, split: Split, preprocessor: Preprocessor, rows: Batch, experiment: Experiment
) -> tuple[Descriptors, Names]:
    """The class information of the training rows; no names where the later parts have other classes."""
    if not dataset.has_classes:
        return Descriptors(), Names()
    part, column = dataset.rows(split.train), dataset.schema.role("describe")
    encoder = preprocessor.encoders.frozen.get(str(column))
    reader = Reader.fit(part, experiment.model.by_kind, encoder)
    names = Names()
    if not split.unseen_classes and dataset.schema.target is not None:
        features = preprocessor.features(rows.take(torch.from_numpy(split.train)))
        names = found_names(part, features, experiment.data.names)
    return Descriptors(reader, tuple(fingerprint(name) for name in names.names)), names
