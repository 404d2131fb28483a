"""Refit: training goes on with the validation tasks, and what these have settled stays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from metamodal.data.dataset import Dataset, read_table
from metamodal.errors import OptionError
from metamodal.experiment import Experiment, Run, run
from metamodal.model import MetaModel
from metamodal.nesting import nested
from metamodal.options import parse
from metamodal.training.after import STAGES, Report, Work
from metamodal.training.loop.progress import Progress

TRAIN = {
    "steps": 20,
    "episodes__way": 5,
    "validation__count": 1,
    "validation__episodes": 40,
    "final_fit": 0.5,
}


def wards(tasks: int = 8, shift: float = 0.0) -> pd.DataFrame:
    """The same six classes in every ward; those of the last wards are moved by `shift`."""
    rng, found = np.random.default_rng(0), []
    for ward in range(tasks):
        part = "train" if ward < tasks - 4 else "valid" if ward < tasks - 2 else "test"
        for k in range(6):
            centre = np.random.default_rng([5, k]).normal(size=(2, 8)) + shift * (part == "test")
            for _ in range(6):
                u, v = centre + rng.normal(0, 1.0, (2, 8))
                row = {"u": u.tolist(), "v": v.tolist(), "label": f"class{k}", "ward": f"ward{ward}"}
                found.append(row | {"part": part})
    return pd.DataFrame(found)


def table(frame: pd.DataFrame) -> Dataset:
    return read_table(frame, target="label", task="ward", split="part")


def trained(data: Dataset, watch=lambda progress: None, **train: object) -> Run:
    record = {"model": {"dim": 16}, "learner": "per_modality", "train": nested(TRAIN | train)}
    return run(parse(Experiment, record), data, watch)


def test_a_refit_takes_its_share_of_the_steps_and_validation_rows_move_the_weights():
    data, seen = table(wards()), []
    whole, plain = trained(data, seen.append), trained(data, steps=10, final_fit=0.0)
    outcome = whole.model.record["outcome"]
    assert (outcome["steps"], outcome["final_fit_steps"]) == (10, 10)
    assert (plain.model.record["outcome"]["steps"], plain.model.record["outcome"]["final_fit_steps"]) == (
        10,
        0,
    )
    assert any(note.startswith("final fit: 10 more steps") for note in outcome["notes"])
    assert [p.candidate for p in seen] == [""] * 10 + ["final fit"] * 10
    assert outcome["valid_accuracy"] == plain.model.record["outcome"]["valid_accuracy"]
    assert all(a.elapsed < b.elapsed for a, b in pairwise(seen))
    name = next(k for k in plain.model.params if k.endswith("straight.weight"))
    assert not torch.equal(whole.model.params[name], plain.model.params[name])


def test_test_rows_have_no_part_in_it_and_the_same_seed_gives_the_same():
    one, two = (trained(table(wards(shift=shift))).model.params for shift in (0.0, 3.0))
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_what_validation_settled_stays(monkeypatch: pytest.MonkeyPatch):
    caught, settled = {}, []

    def spied(work: Work, model: MetaModel) -> tuple[MetaModel, Report]:
        fitted, report = STAGES[-1](work, model)
        caught.update(before=model.params, after=fitted.params)
        settled.extend(name for name, trait in model.engine.traits.items() if trait.settled)
        return fitted, report

    monkeypatch.setattr("metamodal.experiment.runs.STAGES", (*STAGES[:-1], spied))
    trained(table(wards()), steps=40)
    before, after = caught["before"], caught["after"]
    assert len(settled) == 6 and any(
        before[name] > 0 for name in settled if name.endswith("class_prior.scale")
    )
    assert all(torch.equal(before[name], after[name]) for name in settled)
    memories = [name for name in before if name.endswith("class_prior.weight")]
    assert all(not torch.equal(before[name], after[name]) and after[name].any() for name in memories)


def test_an_interrupt_leaves_what_was_there_before_the_refit():
    def interrupts(progress: Progress) -> None:
        if progress.candidate == "final fit" and progress.step == 3:
            raise KeyboardInterrupt

    data = table(wards())
    stopped = trained(data, interrupts, fallback=False).model
    plain = trained(data, steps=10, final_fit=0.0, fallback=False).model
    assert stopped.record["outcome"]["ended"] == "interrupted"
    assert stopped.record["outcome"]["final_fit_steps"] == 0
    assert all(torch.equal(stopped.params[k], plain.params[k]) for k in plain.params)


def test_numbers_keep_the_caution_that_validation_settled():
    rng = np.random.default_rng(0)
    rows = [
        {"x": rng.normal(size=4).tolist(), "y": float(rng.normal() + ward), "ward": f"ward{ward}"}
        for ward in range(12)
        for _ in range(8)
    ]
    data = read_table(pd.DataFrame(rows), target="y", task="ward")
    record = {"model": {"dim": 16}, "learner": "ridge", "train": nested(TRAIN)}
    whole = run(parse(Experiment, record), data).model
    record["train"] = nested(TRAIN | {"steps": 10, "final_fit": 0.0})
    plain = run(parse(Experiment, record), data).model
    assert torch.equal(whole.params["learner.log_penalty"], plain.params["learner.log_penalty"])
    assert any(not torch.equal(whole.params[k], plain.params[k]) for k in plain.params)


def test_without_labels_to_validate_by_there_is_nothing_to_go_on_with(hidden: pd.DataFrame):
    data = read_table(hidden.drop(columns="label"))
    with pytest.raises(OptionError, match="train.final_fit=0.5: no validation task has labels"):
        run(parse(Experiment, {"model": {"dim": 16}, "learner": "ridge", "train": nested(TRAIN)}), data)
