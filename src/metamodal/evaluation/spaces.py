"""Rows of a table as the learner reads them, and as the vectors that baselines read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metamodal.data.dataset import Dataset
from metamodal.data.features.reading import Cells
from metamodal.data.tasks.splits import rows_of
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
        tokens = model.tokens(spaces["untrained"] if model.generic else raw)
        if not model.generic and model.engine.learner.reads == "tokens":
            spaces["learned"] = tokens
        return tokens, spaces if self.compared else {}


def training_rows(model: MetaModel, dataset: Dataset) -> np.ndarray:
    """The labelled rows of this table that the model was trained on, or one would be; maybe none."""
    recorded = model.record.get("split")
    if model.generic:
        return dataset.split().train
    if recorded and recorded["keys"] == dataset.keys().digest():
        return rows_of(recorded["rows"]["train"])
    return np.arange(0)
