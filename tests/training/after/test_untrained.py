"""The untrained model as a candidate: compared on the same episodes, within a share of the budget."""

from __future__ import annotations

import pytest
import torch

import metamodal as mm
from conftest import shapes_table
from metamodal.experiment import Experiment, run
from metamodal.options import parse
from metamodal.training.selection.validation import ValidationEpisodes


@pytest.mark.parametrize(("share", "pieces"), [(0.0, 1), (100.0, 3)])
def test_no_episodes_are_begun_after_the_share_of_the_budget(share: float, pieces: int, monkeypatch):
    monkeypatch.setattr("metamodal.training.after.stage._SHARE", share)
    seen, parts = ValidationEpisodes.evidence, []

    def counting(self, params, episodes, engine=None, part=slice(None)):
        found, rows = seen(self, params, episodes, engine, part)
        if part != slice(None):
            parts.append(part.start)
            whole, every = seen(self, params, episodes, engine)
            at = slice(part.start * self.queried.shape[1], part.stop * self.queried.shape[1])
            torch.testing.assert_close(found, whole[at], equal_nan=True)
            torch.testing.assert_close(rows, every[at])
        return found, rows

    monkeypatch.setattr(ValidationEpisodes, "evidence", counting)
    train = {"budget": 0.2, "validation": {"count": 1, "episodes": 80}}
    data = mm.read_table(shapes_table()[["vector", "size", "label"]], target="label")
    done = run(parse(Experiment, {"learner": "ridge", "model": {"dim": 8}, "train": train}), data)
    assert sorted(set(parts)) == [0, 32, 64][:pieces]
    assert done.model.record["outcome"]["untrained"] is not None
