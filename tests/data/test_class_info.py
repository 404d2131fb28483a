"""What is known of classes besides their rows: descriptions, zero-shot, and names that tasks share."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import metamodal as mm
from metamodal.adaptation import adapt
from metamodal.artifact import load_artifact, save_artifact
from metamodal.data.class_info import ClassInfo, DescriptionReader, shared_names
from metamodal.data.dataset import read_table
from metamodal.data.tasks.episodes import Draw
from metamodal.errors import DataError, OptionError
from metamodal.evaluation.baselines.training_rows import TrainingRows
from metamodal.evaluation.evaluating import evaluate
from metamodal.evaluation.protocol import Protocol
from metamodal.mappings.class_encoder import ClassEncoder
from metamodal.meta.learners.per_modality import PerModality
from metamodal.meta.learners.prototypes import Prototypes
from metamodal.meta.learners.ridge import Ridge
from metamodal.nesting import nested
from metamodal.outputs import CLASSIFICATION
from metamodal.training.episodes.class_info import with_dropout, without_rows
from metamodal.types import Batch, Setting, Space

WORDS = ("striped", "hoofed", "winged", "furry", "marine", "nocturnal")
BRIEF = {
    "steps": 150,
    "budget": 120.0,
    "episodes__way": 10,
    "validation__count": 2,
    "validation__episodes": 30,
}


def animals(classes: int = 48, rows: int = 6) -> pd.DataFrame:
    """Classes that are sets of properties: their vectors add up, their descriptions name them."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(2, len(WORDS), 12))
    found = []
    for k in range(classes):
        bits = [(k + 5) * 37 % 64 >> i & 1 for i in range(len(WORDS))]
        traits = " and ".join(w for w, bit in zip(WORDS, bits) if bit) or "plain"
        u, v = ((np.array(bits) - 0.5) @ m for m in mixing)
        found += [
            {
                "u": (u + rng.normal(0, 1.2, 12)).tolist(),
                "v": (v + rng.normal(0, 1.8, 12)).tolist(),
                "traits": traits,
                "animal": f"animal{k:02}",
            }
            for _ in range(rows)
        ]
    return pd.DataFrame(found)


def wards(tasks: int = 40, rows: int = 8, *, shared: bool = True) -> pd.DataFrame:
    """Four classes in every task, noisy; their means are the same everywhere, or each task's own."""
    found = []
    for t in range(tasks):
        rng = np.random.default_rng([3, t])
        means = np.random.default_rng(5 if shared else [5, t]).normal(size=(4, 8))
        found += [
            {"x": (means[k] + rng.normal(0, 1.2, 8)).tolist(), "ward": f"ward{t}", "case": f"case{k}"}
            for k in range(4)
            for _ in range(rows)
        ]
    return pd.DataFrame(found)


@pytest.fixture(scope="module")
def zoo():
    """A model that was trained on described classes, its table, and the rows of five unseen classes."""
    data = read_table(animals(), target="animal", describe="traits")
    learner = mm.MetaLearner(learner="ridge", model__dim=16, train=nested(BRIEF)).fit(data)
    test = data.frame.iloc[data.split().test]
    return learner, data, test[test["animal"].isin(sorted(test["animal"].unique())[:5])]


@pytest.fixture(scope="module")
def clinic():
    """A model that was trained on tasks that share their class names."""
    data = read_table(wards(), target="case", task="ward")
    train = nested(BRIEF | {"steps": 250, "optimiser__lr": 5e-3})
    return mm.MetaLearner(learner="ridge", model__dim=16, train=train).fit(data), data


def right(predictor, rows: pd.DataFrame, label: str) -> float:
    return float((predictor.predict(rows.drop(columns=label)) == rows[label].to_numpy()).mean())


def descriptions(rows: pd.DataFrame) -> dict[str, str]:
    return rows.groupby("animal")["traits"].first().to_dict()


class Rows:
    """An embedding that is the rows themselves."""

    output = CLASSIFICATION

    def __call__(self, params, batch):
        return batch.inputs["x"]


@pytest.mark.parametrize("shot", [1, 4])
def test_a_described_class_is_the_adaptive_mixture_of_am3(shot: int):
    g = torch.Generator().manual_seed(0)
    z, e = torch.randn(3 * shot, 5, generator=g), torch.randn(3, 5, generator=g)
    weight, bias = torch.randn(5, generator=g), torch.tensor(0.3)
    known = torch.tensor([True, True, False])
    params = {"learner.gate.weight": weight, "learner.gate.bias": bias}
    support = Batch(
        {"x": z},
        {"x": torch.ones(3 * shot).bool()},
        torch.eye(3).repeat_interleave(shot, 0),
        {"embedding": e, "known": known},
    )
    means, _ = Prototypes().adapt(Rows(), params, support)
    for k in range(3):
        mean = z[k * shot : (k + 1) * shot].mean(0)
        mixed = torch.sigmoid(np.log(shot) - (weight @ e[k] + bias)) if known[k] else 1.0
        torch.testing.assert_close(means[k], mixed * mean + (1 - mixed) * e[k])


def test_a_class_without_rows_is_its_descriptor():
    e = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    params = {"learner.gate.weight": torch.zeros(5), "learner.gate.bias": torch.tensor(0.0)}
    class_info = {"embedding": e, "known": torch.ones(2).bool()}
    nothing = Batch({"x": torch.zeros(1, 5)}, {"x": torch.zeros(1).bool()}, torch.zeros(1, 2), class_info)
    means, _ = Prototypes().adapt(Rows(), params, nothing)
    torch.testing.assert_close(means, e)


class Mean:
    """An embedding that is the mean of the modalities that a row has."""

    output = CLASSIFICATION

    def __call__(self, params, batch):
        there = torch.stack([batch.present[m] for m in batch.inputs], -1).float()
        z = torch.stack(list(batch.inputs.values()), -1)
        return (z * there[..., None, :]).sum(-1) / there.sum(-1).clamp(min=1)[..., None]


def test_a_description_speaks_for_a_class_without_rows_and_not_for_one_that_a_modality_does_not_see():
    """Class 0 shows `a` alone, class 1 `b` alone, class 2 and 3 nothing; training knew the name of 3 and, if at all, of 1."""
    g = torch.Generator().manual_seed(0)
    z, e = {m: torch.randn(2, 5, generator=g) for m in "ab"}, torch.randn(4, 5, generator=g)
    present = {"a": torch.tensor([True, False]), "b": torch.tensor([False, True])}
    learner = PerModality(Ridge())
    params = dict(
        learner.parameters(Setting(("a", "b"), 5, model={"model.class_encoder.description.weight": e}))
    )
    params = {f"learner.{k}": v for k, v in params.items()}
    query = Batch(
        {m: torch.randn(3, 5, generator=g) for m in "ab"},
        {m: torch.ones(3).bool() for m in "ab"},
        torch.zeros(3, 4),
    )

    def votes(**name: torch.Tensor) -> torch.Tensor:
        class_info = {"embedding": e, "known": torch.ones(4).bool()} | name
        state, *_ = learner.adapt(Mean(), params, Batch(z, present, torch.eye(4)[:2], class_info))
        return learner.votes(Mean(), params, state, query)

    spoken = votes().abs().amax(0) > 0
    assert spoken.tolist() == [[True, False, True], [False, True, True], [True] * 3, [True] * 3]
    known = votes(name=torch.tensor([-1, 1, -1, 0])).abs().amax(0) > 0
    assert known.tolist() == [[True, False, True], [True, True, True], [True] * 3, [True] * 3]


def test_what_is_not_told_has_no_influence_on_a_descriptor():
    class_encoder = ClassEncoder(Space("description", (7,)), 3, 4)
    text, texts = torch.randn(2, 3, 7), torch.tensor([[True, False, True], [False, False, True]])
    name = torch.tensor([[0, -1, -1], [2, -1, 1]])
    found = class_encoder({"description": text, "described": texts, "name": name})
    other = class_encoder(
        {"description": torch.where(texts[..., None], text, 9.0), "described": texts, "name": name}
    )
    assert torch.equal(found["embedding"], other["embedding"])
    assert found["known"].tolist() == [[True, False, True], [True, False, True]]
    assert not found["embedding"][:, 1].any()
    torch.testing.assert_close(
        found["embedding"][1, 2], class_encoder.description(text[1, 2:])[0] + class_encoder.names[1]
    )


def test_only_a_model_that_knows_descriptions_has_a_gate():
    assert "gate.weight" not in Prototypes().parameters(Setting(("x",), 4))
    setting = Setting(("x",), 4, model={"model.class_encoder.names": torch.zeros(2, 4)})
    assert Prototypes().parameters(setting)["gate.weight"].shape == (4,)


def test_unseen_classes_are_told_apart_by_their_descriptions_alone(zoo):
    learner, _, rows = zoo
    predictor = learner.adapt(describe=descriptions(rows))
    assert predictor.labels == tuple(sorted(descriptions(rows)))
    assert right(predictor, rows.drop(columns="traits"), "animal") > 0.2 + 0.3


def test_rows_that_only_describe_are_descriptions(zoo):
    learner, _, rows = zoo
    said = descriptions(rows)
    only = pd.DataFrame({"animal": list(said), "traits": list(said.values())})
    query = rows.drop(columns=["animal", "traits"])
    expected = learner.adapt(describe=said).predict_proba(query)
    found = learner.adapt(only).predict_proba(query)
    pd.testing.assert_frame_equal(found, expected, atol=1e-4)
    absent = only.assign(u=None, v=None)
    pd.testing.assert_frame_equal(learner.adapt(absent).predict_proba(query), expected, atol=1e-4)


def test_a_described_class_joins_those_that_have_rows(zoo):
    learner, _, rows = zoo
    said = descriptions(rows)
    rest = rows[rows.groupby("animal").cumcount() >= 2].drop(columns="traits")
    found = []
    for new in said:
        shown = rows[(rows["animal"] != new) & (rows.groupby("animal").cumcount() < 2)]
        predictor = learner.adapt(shown, describe={new: said[new]})
        assert predictor.labels == tuple(sorted(said))
        found.append(
            (right(predictor, rest, "animal"), right(predictor, rest[rest["animal"] == new], "animal"))
        )
    overall, of_new = np.mean(found, axis=0)
    assert overall > 0.6
    assert of_new > 0.3


def test_a_saved_model_is_told_the_same(zoo, tmp_path):
    learner, _, rows = zoo
    learner.save(tmp_path / "model")
    said = descriptions(rows)
    query = rows.drop(columns=["animal", "traits"])
    again = load_artifact(tmp_path / "model")
    assert again.class_info == learner.model.class_info
    predictor = learner.adapt(describe=said)
    expected = predictor.predict_proba(query)
    pd.testing.assert_frame_equal(
        adapt(again, None, describe=said).predict_proba(query), expected, check_exact=True
    )
    save_artifact(predictor, tmp_path / "predictor")
    kept = load_artifact(tmp_path / "predictor")
    pd.testing.assert_frame_equal(kept.predict_proba(query), expected, check_exact=True)


def test_evaluation_at_shot_0_beats_chance_and_says_so(zoo):
    learner, data, _ = zoo
    (found,) = evaluate(learner.model, data, [Protocol(5, 0, episodes=60, baselines=True)])
    assert found.whole.class_info
    assert found.whole.accuracy[0] - found.whole.accuracy[1] > 0.2 + 0.2
    assert found.to_dict()["protocol"]["shot"] == 0
    assert found.baselines == ()


def test_evaluation_shows_the_same_episodes_without_descriptions(zoo):
    learner, data, _ = zoo
    (found,) = evaluate(learner.model, data, [Protocol(5, 1, episodes=60)])
    blind = found.results[-1]
    assert (blind.modalities, blind.class_info) == (found.whole.modalities, False)
    assert found.whole.accuracy[0] > blind.accuracy[0] > 0.4


def test_shot_0_without_descriptions_is_an_error(trained):
    learner, data = trained
    with pytest.raises(OptionError, match="has none of these classes. Train it with --describe C"):
        list(evaluate(learner.model, data, [Protocol(4, 0, episodes=5)]))
    with pytest.raises(OptionError, match="trained without descriptions"):
        learner.adapt(describe={"a": "one", "b": "two"})
    with pytest.raises(DataError, match="the support has no class. Give rows of at least two"):
        learner.adapt()


def test_a_row_without_modality_and_without_description_is_an_error(zoo):
    learner, _, rows = zoo
    few = rows.groupby("animal").head(1).reset_index(drop=True)
    few.loc[1, ["u", "v", "traits"]] = None
    with pytest.raises(DataError, match="row 2: every modality is empty"):
        learner.adapt(few)


def test_rows_of_a_class_that_disagree_go_by_the_most_common_description():
    frame = pd.DataFrame(
        {
            "x": range(5),
            "label": ["a", "a", "a", "b", "b"],
            "description": ["round", "square", "square", None, "thin"],
        }
    )
    data = read_table(frame, target="label", describe="description")
    table = ClassInfo(DescriptionReader.fit(data, {}, None)).table(data)
    assert table.notes == ("1 classes have rows whose descriptions differ: the most common is used",)
    same = frame.assign(description=["square", "square", "square", "thin", "thin"])
    expected = ClassInfo(DescriptionReader.fit(data, {}, None)).table(
        read_table(same, target="label", describe="description")
    )
    torch.testing.assert_close(
        table.of(torch.arange(5))["description"], expected.of(torch.arange(5))["description"]
    )


@pytest.mark.parametrize("kind", ["text", "tabular", "embedding"])
def test_words_values_and_vectors_describe_classes(kind: str):
    cells = {
        "text": ["red", "blue"],
        "tabular": [{"legs": 4}, {"legs": 2}],
        "embedding": [[1.0, 0.0], [0.0, 2.0]],
    }
    frame = pd.DataFrame({"x": [1.0, 2.0], "label": ["a", "b"], "description": cells[kind]})
    data = read_table(frame, target="label", describe="description")
    reader = DescriptionReader.fit(data, {}, None)
    assert reader.kind == kind
    again = ClassInfo.from_dict(json.loads(json.dumps(ClassInfo(reader).to_dict())))
    assert again.reader == reader
    class_info = ClassInfo(reader).of(["b", "c"], {"b": cells[kind][1]})
    assert class_info["described"].tolist() == [True, False]
    assert class_info["description"].shape[0] == 2


def test_a_class_is_not_described_by_a_sound():
    frame = pd.DataFrame({"x": [1.0, 2.0], "label": ["a", "b"], "description": [[[1.0, 2.0]], [[3.0, 4.0]]]})
    with pytest.raises(OptionError, match="--describe description: its cells are series"):
        read_table(frame, target="label", describe="description")


def test_training_forgets_as_much_as_it_is_told():
    g = torch.Generator().manual_seed(0)
    class_info = {"described": torch.ones(4000, 6).bool(), "name": torch.arange(6).expand(4000, 6)}
    less = with_dropout(class_info, 0.5, g)
    for known in (less["described"], less["name"] >= 0):
        assert known.all(1).float().mean() == pytest.approx(0.5 + 0.5 * 0.1, abs=0.04)
        assert (~known).all(1).float().mean() == pytest.approx(0.5 / 3, abs=0.06)
    assert torch.equal(with_dropout(class_info, 0.0, g)["described"], class_info["described"])
    known = torch.rand(4000, 6, generator=g) < 0.5
    lost = without_rows(known, 0.3, g)
    assert not (lost & ~known).any()
    assert 0.15 < lost.any(1).float().mean() < 0.3
    assert not without_rows(known, 0.0, g).any()


def test_names_that_tasks_share_predict_like_a_fit_to_all_training_rows(clinic):
    learner, data = clinic
    assert len(learner.model.class_info.names) == 4
    assert "know" in learner.model.record["outcome"]["notes"][0]
    protocols = [Protocol(4, shot, episodes=150, baselines=shot == 1) for shot in (1, 0)]
    one, none = evaluate(learner.model, data, protocols)
    blind = next(r for r in one.results if not r.class_info)
    of_all = [b for b in one.baselines if b.trained_on == "training rows"]
    baseline = next(b for b in of_all if b.features == "untrained")
    assert one.whole.accuracy[0] > blind.accuracy[0] + 0.05
    assert one.whole.accuracy[0] > baseline.accuracy[0] - 0.08
    assert none.whole.accuracy[0] > baseline.accuracy[0] - 0.08


def test_no_name_stands_in_the_artifact(clinic, tmp_path):
    clinic[0].save(tmp_path / "model")
    record = json.loads((tmp_path / "model" / "config.json").read_text())
    assert len(record["class_info"]["names"]) == 4
    assert "case1" not in json.dumps(record)


def test_names_of_another_target_mean_nothing(clinic):
    learner, data = clinic
    few = data.frame.groupby("case").head(2)
    query = data.frame.drop(columns=["case", "ward"]).tail(20)
    other = read_table(few.rename(columns={"case": "outcome"}), target="outcome")
    renamed = read_table(few.assign(case="new " + few["case"]), target="case")
    pd.testing.assert_frame_equal(
        learner.adapt(other).predict_proba(query),
        learner.adapt(renamed).predict_proba(query).rename(columns=lambda c: c.removeprefix("new ")),
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("shared", "said", "names"),
    [(True, "auto", 4), (False, "auto", 0), (False, "shared", 4), (True, "own", 0)],
)
def test_equal_names_count_where_rows_of_other_tasks_agree(shared: bool, said: str, names: int):
    data = read_table(wards(shared=shared), target="case", task="ward")
    x = torch.tensor(np.stack(data.frame["x"]), dtype=torch.float32)
    features = Batch({"x": x}, {"x": torch.ones(len(x)).bool()}, torch.zeros(len(x), 0))
    assert len(shared_names(data, features, said).names) == names


def test_the_baseline_of_training_rows_is_sklearn_s_regression_on_all_of_them():
    rng = np.random.default_rng(0)
    labels = np.array(["a", "b", "c"] * 20, dtype=object)
    x = rng.normal(size=(60, 4)) + np.eye(4)[np.arange(60) % 3]
    query = rng.normal(size=(1, 9, 4))

    def batch(values: np.ndarray) -> Batch:
        shape = values.shape[:-1]
        inputs = {"x": torch.tensor(values, dtype=torch.float32)}
        return Batch(inputs, {"x": torch.ones(shape).bool()}, torch.zeros(*shape, 3))

    draw = Draw(
        *[torch.zeros(1, 1).long()] * 4, (("c", "new", "a"),), ("t",), *[torch.zeros(1, 3).long()] * 2
    )
    found = TrainingRows({"untrained": batch(x)}, labels, np.zeros(60, dtype=bool)).class_logits(
        "logistic_regression", "untrained", batch(query), draw
    )[0]
    peer = LogisticRegression(C=10.0, max_iter=300).fit(x, labels).predict_log_proba(query[0])
    np.testing.assert_allclose(found[:, [0, 2]], peer[:, [2, 0]], atol=1e-3)
    assert (found[:, 1] == -50).all()


def test_the_baseline_of_hundreds_of_classes_is_solved_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(600, 200))
    labels = np.array([f"c{k:03d}" for k in range(600)] * 5, dtype=object)
    x = torch.tensor(np.tile(centres, (5, 1)) + 0.5 * rng.normal(size=(3000, 200)), dtype=torch.float32)
    rows = Batch({"x": x}, {"x": torch.ones(3000).bool()}, torch.zeros(3000, 3))
    query = Batch(
        {"x": torch.tensor(centres[None, :3]).float()}, {"x": torch.ones(1, 3).bool()}, torch.zeros(1, 3, 3)
    )
    draw = Draw(
        *[torch.zeros(1, 1).long()] * 4, (("c002", "c000", "c001"),), ("t",), *[torch.zeros(1, 3).long()] * 2
    )

    def iterates(*_: object) -> None:
        raise AssertionError("a fit of 600 classes by iteration takes minutes")

    monkeypatch.setattr("sklearn.linear_model.LogisticRegression.fit", iterates)
    found = TrainingRows({"untrained": rows}, labels, np.arange(3000) >= 2400).class_logits(
        "logistic_regression", "untrained", query, draw
    )[0]
    assert found.argmax(-1).tolist() == [1, 2, 0]


def test_the_command_line_adapts_to_descriptions(zoo, cli, tmp_path):
    learner, data, rows = zoo
    learner.save(tmp_path / "model")
    data.frame.to_parquet(tmp_path / "all.parquet")
    said = descriptions(rows)
    pd.DataFrame({"animal": list(said), "traits": list(said.values())}).to_csv(tmp_path / "classes.csv")
    rows.drop(columns=["animal", "traits"]).to_parquet(tmp_path / "query.parquet")
    two = tmp_path / "one", tmp_path / "two"
    assert cli("adapt", tmp_path / "model", "--classes", tmp_path / "classes.csv", "--out", two[0]).code == 0
    assert cli("adapt", tmp_path / "model", tmp_path / "classes.csv", "--out", two[1]).code == 0
    answers = [cli("predict", folder, tmp_path / "query.parquet").out.splitlines() for folder in two]
    labels = [[line.split(",")[0] for line in lines] for lines in answers]
    assert labels[0] == labels[1]
    found = cli(
        "evaluate", tmp_path / "model", tmp_path / "all.parquet", "--shot", 0, "--episodes", 20, "--json"
    )
    document = json.loads(found.out)
    assert document["protocol"]["shot"] == 0
    assert document["results"][0]["class_information"]


def test_the_command_line_names_what_is_wrong_with_descriptions(zoo, cli, tmp_path):
    zoo[0].save(tmp_path / "model")
    out = ("--out", tmp_path / "predictor")
    assert "Give a table of labelled rows, or --classes FILE" in cli("adapt", tmp_path / "model", *out).err
    twice = tmp_path / "twice.csv"
    twice.write_text("animal,traits\na,round\na,square\n")
    found = cli("adapt", tmp_path / "model", "--classes", twice, *out)
    assert (found.code, "twice.csv row 2, column traits: 'a' is described twice" in found.err) == (3, True)
    twice.write_text("animal,said\na,round\n")
    assert (
        "no column 'traits'. Name the describe column"
        in cli("adapt", tmp_path / "model", "--classes", twice, *out).err
    )
    assert cli("adapt", "none", "--classes", twice, *out).code == 2
