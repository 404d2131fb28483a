"""Rows of a table as the learner reads them, and as the vectors that baselines are fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metamodal.data.dataset import Dataset
from metamodal.data.features.reading import Cells
from metamodal.data.tasks.splits import rows_of
from metamodal.device import CPU
from metamodal.evaluation.baselines.training_rows import TrainingRows
from metamodal.model import MetaModel
from metamodal.types import Batch

__all__ = ["Encoding", "training_rows"]


@dataclass(frozen=True)
class Encoding:
    """How a model encodes rows of a table, whose cells may have been read already.

    `compared` says that there are baselines, which read vectors.
    """

    model: MetaModel
    dataset: Dataset
    cells: Cells | None
    unreadable: str
    compared: bool

    def raw(self, rows: np.ndarray) -> Batch:
        """Rows as tensors, with their targets where these are labels or numbers."""
        model, part = self.model, self.dataset.rows(rows)
        read = (
            self.cells.rows(rows)
            if self.cells is not None
            else model.preprocessor.read(part, self.unreadable)
        )
        raw = model.preprocessor.encode(read)
        if not model.targets.has_classes:
            raw = raw.labelled(model.targets.encode(part))
        return raw

    def of(self, raw: Batch) -> tuple[Batch, dict[str, Batch]]:
        """Rows as the learner reads them, and as vectors by what made them: none if nothing is compared."""
        model, spaces = self.model, {}
        if model.generic or self.compared:
            spaces["untrained"] = model.preprocessor.features(raw)
        tokens = model.tokens(spaces["untrained"] if model.generic else raw).to(CPU)
        if not model.generic and model.engine.learner.reads == "tokens":
            spaces["learned"] = tokens
        return tokens, spaces if self.compared else {}


def training_rows(encoding: Encoding, test: np.ndarray) -> TrainingRows | None:
    """The labelled rows of the table that the model was trained on, or an untrained one would be; maybe none.

    Args:
        test: rows of the table that are tested on, which are no training rows.
    """
    model, dataset = encoding.model, encoding.dataset
    recorded = model.record.get("split")
    if recorded and recorded["keys"] == dataset.keys().digest():
        train, valid = (rows_of(recorded["rows"][part]) for part in ("train", "valid"))
    elif model.generic:
        train, valid = dataset.split().train, np.arange(0)
    else:
        return None
    rows, chose = np.concatenate([train, valid]), np.arange(len(train) + len(valid)) >= len(train)
    rows, chose = rows[new := ~np.isin(rows, test)], chose[new]
    _, spaces = encoding.of(encoding.raw(rows)) if (~chose).any() else (None, {})
    return TrainingRows(spaces, dataset.labels()[rows], chose) if spaces else None
