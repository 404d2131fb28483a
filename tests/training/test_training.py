"""Meta-training learns, is seeded, keeps the best, and survives an interrupt."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from metamodal.data.dataset import read_table
from metamodal.data.features.digests import fingerprint
from metamodal.data.tasks.episodes import Task
from metamodal.errors import DataError, OptionError
from metamodal.estimator import MetaLearner
from metamodal.evaluation.evaluating import evaluate
from metamodal.evaluation.protocol import Protocol
from metamodal.experiment import Experiment, run
from metamodal.nesting import merged, nested
from metamodal.options import parse
from metamodal.training.episodes.shapes import together
from metamodal.training.loop.progress import Progress

BRIEF = {"steps": 12, "budget": 120.0, "episodes__way": 8, "validation__count": 3, "validation__episodes": 10}


def experiment(**changes) -> Experiment:
    return parse(
        Experiment, {"model": {"dim": 16}, "train": merged(nested(BRIEF), changes.pop("train", {}))} | changes
    )


@pytest.fixture(scope="module")
def data(shapes: pd.DataFrame):
    return read_table(shapes, target="label")


def accuracy(model, data) -> float:
    (found,) = evaluate(model, data, [Protocol(4, 1, episodes=100)], rows=data.split().test)
    return found.whole.accuracy[0]


@pytest.mark.parametrize(
    "learner",
    [
        "per_modality",
        "ridge",
        "prototypes",
        "matching",
        "convex",
        "in_context",
        "modulated",
        "anil",
        {"kind": "maml", "steps": 2},
    ],
)
def test_training_beats_chance_and_the_untrained_self_on_unseen_classes(hidden, learner):
    data = read_table(hidden, target="label")
    heavy = isinstance(learner, dict)
    before = accuracy(
        run(experiment(learner=learner, train={"steps": 1, "optimiser": {"lr": 1e-9}}), data).model, data
    )
    steps = 100 if heavy else 120
    after = accuracy(run(experiment(learner=learner, train={"steps": steps}), data).model, data)
    assert after > 0.25 + 0.2
    assert after > before + 0.03


@pytest.mark.parametrize("fusion", ["mean", "attention"])
def test_the_same_seed_gives_the_same_weights_and_another_others(data, fusion: str):
    def weights(seed: int) -> dict[str, torch.Tensor]:
        return run(experiment(seed=seed, model={"dim": 16, "fusion": fusion}), data).model.params

    one, two, three = weights(0), weights(0), weights(1)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert any(not torch.equal(one[k], three[k]) for k in one)


def test_the_best_validated_weights_are_kept(data):
    seen: list[Progress] = []
    done = run(experiment(train={"steps": 30, "validation": {"count": 6}}), data, seen.append)
    validated = [p for p in seen if p.validated]
    best = max(validated, key=lambda p: p.accuracy)
    assert len(validated) == 6
    assert validated[-1].best == best.accuracy
    assert done.model.record["outcome"]["valid_accuracy"] == best.accuracy
    assert [p.step for p in done.trained.history] == [p.step for p in validated]


def test_training_stops_when_nothing_improves(data):
    done = run(
        experiment(
            train={"steps": 200, "validation": {"count": 100, "patience": 2}, "optimiser": {"lr": 1e-12}}
        ),
        data,
    )
    assert done.trained.ended == "no improvement"
    assert done.trained.steps < 20


def test_an_interrupt_keeps_what_was_learned_so_far(data):
    def interrupt(progress: Progress) -> None:
        if progress.step == 6:
            raise KeyboardInterrupt

    done = run(experiment(), data, interrupt)
    assert done.trained.ended == "interrupted"
    assert done.trained.steps == 6
    assert all(v.isfinite().all() for v in done.model.params.values())


def test_test_rows_have_no_influence_on_training(shapes: pd.DataFrame, data):
    test = data.split().test
    other = shapes.copy()
    rng = np.random.default_rng(0)
    for row in test:
        other.at[row, "vector"] = rng.normal(size=6).tolist()
        other.loc[row, "size"] = 1e3
    one = run(experiment(), data).model
    two = run(experiment(), read_table(other, target="label")).model
    assert one.preprocessor == two.preprocessor
    assert all(torch.equal(one.params[k], two.params[k]) for k in one.params)


def test_tasks_that_share_class_names_are_never_mixed():
    def task(name: str, classes: tuple[str, ...]) -> Task:
        rows = tuple(np.arange(2) for _ in classes)
        return Task(name, classes, rows, rows)

    apart = together([task("north", ("a", "b")), task("south", ("c",))])
    assert [t.classes for t in apart] == [("a", "b", "c")]
    shared = [task("north", ("a", "b")), task("south", ("a", "b"))]
    assert together(shared) == shared


def test_training_goes_on_from_a_model(data):
    first = run(experiment(), data)
    second = run(experiment(train={"steps": 1, "optimiser": {"lr": 1e-9}}), data, start=first.model)
    for k, v in second.model.params.items():
        torch.testing.assert_close(v, first.model.params[k], atol=1e-5, rtol=1e-5)


def test_what_was_seen_is_recorded(data):
    split = data.split()
    seen = run(experiment(), data).model.seen
    labels = data.labels()
    names = set(labels[split.train]) | set(labels[split.valid])
    assert seen.classes == {fingerprint(n) for n in names}
    assert not seen.classes & {fingerprint(n) for n in labels[split.test]}
    assert not seen.classes & names


def test_too_little_data_to_train_on_is_an_error():
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "label": ["a", "b", "c"]})
    with pytest.raises(DataError, match="no task of the training part has two classes of two or more rows"):
        run(experiment(), read_table(frame, target="label"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train__budgett": 3}, "train.budgett: no such option. Did you mean 'budget'?"),
        ({"train": {"optimiser": {"lr": -1.0}}}, "train.optimiser.lr=-1.0: input should be greater than 0"),
        ({"train": {"budget": "long"}}, "train.budget='long': input should be a valid number"),
        ({"learner": "mamml"}, "'mamml': no such learner. Did you mean 'maml'?"),
    ],
)
def test_a_wrong_option_is_an_error_with_a_suggestion(options: dict, message: str):
    with pytest.raises(OptionError) as caught:
        MetaLearner(**options)
    assert message in str(caught.value)


def test_parameters_come_and_go_as_in_scikit_learn():
    learner = MetaLearner(train__budget=5.0, seed=3)
    params = learner.get_params()
    assert params["train__budget"] == 5.0
    assert params["seed"] == 3
    learner.set_params(train__optimiser__lr=0.01, learner="ridge")
    assert MetaLearner(**learner.get_params()).get_params() == learner.get_params()
    assert learner.get_params()["train__optimiser__lr"] == 0.01
    with pytest.raises(OptionError, match="no such option"):
        learner.set_params(train__lrr=0.1)
