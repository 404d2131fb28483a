"""All nine kinds in one table: meta-trained, adapted, and asked with any subset of them present."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import nine_kinds_table
from metamodal.adaptation import adapt
from metamodal.data.dataset import Dataset, read_table
from metamodal.data.features.encode import read_cells
from metamodal.data.modalities import modalities
from metamodal.data.tasks.episodes import Shape, draw_episodes, episodes_of, random_missing, tasks_of
from metamodal.estimator import MetaLearner
from metamodal.experiment import untrained_for
from metamodal.model import MetaModel
from metamodal.types import Batch, Episode

NAMES = {
    "photo": "image",
    "note": "text",
    "voice": "audio",
    "film": "video",
    "tabular": "tabular",
    "sound": "series",
    "net": "graph",
    "cloud": "points",
    "vector": "embedding",
}
COLUMNS = {name: [name] for name in NAMES} | {"tabular": ["size", "colour"]}
WAY, CHANCE = 5, 0.2


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return nine_kinds_table()


@pytest.fixture(scope="module")
def data(frame: pd.DataFrame) -> Dataset:
    return read_table(frame, target="label", kinds={"film": "video"})


@pytest.fixture(scope="module")
def model(data: Dataset) -> MetaModel:
    learner = MetaLearner(
        model__dim=32,
        train={
            "steps": 20,
            "budget": 60.0,
            "episodes": {"way": 6},
            "validation": {"count": 1, "episodes": 10},
        },
    )
    return learner.fit(data).model


@pytest.fixture(scope="module")
def unseen() -> Dataset:
    return read_table(nine_kinds_table(seed=1), target="label", kinds={"film": "video"})


@pytest.fixture(scope="module")
def rows(model: MetaModel, unseen: Dataset) -> Batch:
    return model.inputs(unseen)


def accuracy(model: MetaModel, data: Dataset, rows: Batch) -> float:
    """Mean accuracy in 25 episodes of 5 classes with one support row each."""
    tokens = model.tokens(rows)
    tasks = tasks_of(data.labels(), data.tasks(), data.groups(), np.arange(len(data)))
    draw = draw_episodes(tasks, Shape(WAY, 1, 4), 25, np.random.default_rng(0))
    episodes = episodes_of(tokens, draw, WAY)
    found = []
    for i in range(25):
        one = Episode(*(_at(part, i) for part in episodes))
        with torch.no_grad():
            state = model.engine.adapt(model.params, one.support)
            logits = model.engine.predict(model.params, state, one.query)
        found.append((logits.argmax(1) == one.query.targets.argmax(1)).float().mean())
    return float(torch.stack(found).mean())


def _at(batch: Batch, i: int) -> Batch:
    return Batch(
        {m: x[i] for m, x in batch.inputs.items()},
        {m: p[i] for m, p in batch.present.items()},
        batch.targets[i],
    )


def missing(rows: Batch, names) -> Batch:
    return rows.without({m: torch.ones(len(rows.targets)).bool() for m in names})


def test_the_table_has_every_registered_kind(data: Dataset):
    assert {m: kind for m, (kind, _) in data.schema.modalities.items()} == NAMES
    assert set(NAMES.values()) == set(modalities)


def test_the_whole_table_is_learned(model: MetaModel, unseen: Dataset, rows: Batch):
    assert accuracy(model, unseen, rows) > 0.8


@pytest.mark.parametrize("name", NAMES)
def test_any_modality_may_be_missing(model: MetaModel, unseen: Dataset, rows: Batch, name: str):
    assert accuracy(model, unseen, missing(rows, [name])) > 0.7


@pytest.mark.parametrize("name", NAMES)
def test_each_modality_alone_is_above_chance(model: MetaModel, unseen: Dataset, rows: Batch, name: str):
    assert accuracy(model, unseen, missing(rows, set(NAMES) - {name})) > CHANCE + 0.1


@pytest.mark.parametrize("seed", range(3))
def test_random_subsets_of_cells_are_enough(model: MetaModel, unseen: Dataset, rows: Batch, seed: int):
    generator = torch.Generator().manual_seed(seed)
    assert accuracy(model, unseen, random_missing(rows, 0.6, generator)) > CHANCE + 0.2


def test_garbage_in_absent_cells_changes_nothing(model: MetaModel, rows: Batch):
    generator = torch.Generator().manual_seed(0)
    rows = random_missing(rows, 0.5, generator)
    spoiled = {
        m: torch.where(rows.present[m].view(-1, *[1] * (x.dim() - 1)), x, float("nan"))
        for m, x in rows.inputs.items()
    }
    clean, dirty = model.tokens(rows), model.tokens(rows._replace(inputs=spoiled))
    for name in NAMES:
        assert torch.equal(clean.inputs[name], dirty.inputs[name])


@pytest.mark.parametrize("name", NAMES)
def test_a_predictor_serves_rows_with_one_modality_or_all_but_one(
    model: MetaModel, frame: pd.DataFrame, name: str
):
    support = frame[frame["label"].isin(["class00", "class05", "class10"])].groupby("label").head(2)
    predictor = adapt(model, support)
    others = [c for m, columns in COLUMNS.items() if m != name for c in columns]
    for columns in (COLUMNS[name], others):
        probabilities = predictor.predict_proba(frame[columns].head(4))
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_without_training_the_generic_features_of_all_kinds_do_as_well(data: Dataset, unseen: Dataset):
    model = untrained_for(data)
    rows = model.inputs(unseen)
    assert accuracy(model, unseen, rows) > 0.7
    for name in NAMES:
        assert accuracy(model, unseen, missing(rows, set(NAMES) - {name})) > CHANCE + 0.1, name


def test_a_file_that_lost_its_end_is_named_by_row_and_column(frame: pd.DataFrame):
    broken = frame.copy()
    broken.at[6, "voice"] = broken.at[6, "voice"][:-20]
    data = read_table(broken, target="label", kinds={"film": "video"})
    with pytest.raises(Exception, match="DataFrame row 7, column voice: "):
        read_cells(data)
    assert read_cells(data, unreadable="absent").values["voice"][6] is None
