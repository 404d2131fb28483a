"""Adapting and predicting with any subset of modalities, in Python."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch

import metamodal as mm
from conftest import shapes_table
from metamodal.errors import ArtifactError, DataError, OptionError


def support_and_query(shapes: pd.DataFrame, classes=(16, 17, 18, 19), shot: int = 3):
    names = [f"class{k:02}" for k in classes]
    rows = shapes[shapes["label"].isin(names)]
    few = rows.groupby("label").cumcount() < shot
    return rows[few], rows[~few]


def accuracy(predictor, query: pd.DataFrame) -> float:
    return float((predictor.predict(query.drop(columns="label")) == query["label"].to_numpy()).mean())


@pytest.mark.parametrize("use_trained", [True, False])
def test_a_handful_of_rows_makes_a_predictor(trained, shapes, use_trained: bool):
    learner = trained[0] if use_trained else mm.MetaLearner(data__target="label")
    support, query = support_and_query(shapes)
    predictor = learner.adapt(support)
    assert accuracy(predictor, query) > 0.6
    proba = predictor.predict_proba(query)
    assert list(proba.columns) == list(predictor.labels) == sorted(support["label"].unique())
    assert proba.index.equals(query.index)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
    assert (proba.idxmax(axis=1).to_numpy() == predictor.predict(query)).all()


@pytest.mark.parametrize("columns", [["photo"], ["sound", "vector"], ["note"], ["size", "colour"], ["size"]])
def test_any_subset_of_the_modalities_will_do(trained, shapes, columns: list[str]):
    support, query = support_and_query(shapes)
    keep = [*columns, "label"]
    predictor = trained[0].adapt(support[keep])
    assert len(predictor.predict(query[keep])) == len(query)


def test_cells_may_be_missing_in_support_and_query(trained, shapes):
    support, query = (f.copy() for f in support_and_query(shapes))
    support.loc[support.index[::2], "photo"] = None
    query.loc[query.index[1::2], "vector"] = None
    query["note"] = None
    assert accuracy(trained[0].adapt(support), query) > 0.5


def test_a_picture_may_come_in_any_form(trained, shapes, tmp_path, monkeypatch):
    support, query = support_and_query(shapes)
    support, query = support[["photo", "label"]], query[["photo"]].head(6)
    predictor = trained[0].adapt(support)
    pictures = [PIL.Image.open(io.BytesIO(b)) for b in query["photo"]]
    monkeypatch.chdir(tmp_path)
    for i, p in enumerate(pictures):
        p.save(f"{i}.png")
    expected = predictor.predict_proba(query).to_numpy()
    for cells in (pictures, [np.asarray(p) for p in pictures], [f"{i}.png" for i in range(6)]):
        frame = pd.DataFrame({"photo": pd.Series(cells, dtype=object)})
        np.testing.assert_allclose(predictor.predict_proba(frame).to_numpy(), expected, atol=1e-6)


def test_a_query_row_does_not_depend_on_the_others(trained, shapes):
    support, query = support_and_query(shapes)
    predictor = trained[0].adapt(support)
    together = predictor.predict_proba(query).to_numpy()
    alone = np.concatenate([predictor.predict_proba(query.iloc[[i]]).to_numpy() for i in range(5)])
    np.testing.assert_allclose(alone, together[:5], atol=1e-4)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda f: f.drop(columns="label"), DataError, "the label column 'label' is missing"),
        (
            lambda f: f[f["label"] == "class16"],
            DataError,
            "one class only ('class16'). Give rows of at least two.",
        ),
        (
            lambda f: f.assign(label=[None, *f["label"][1:]]),
            DataError,
            "row 1, column label: the label is empty",
        ),
        (
            lambda f: f[["label"]].assign(other=1),
            DataError,
            "none of the model's columns is there (photo, sound",
        ),
        (lambda f: f.iloc[:0], DataError, "the table has no rows"),
    ],
)
def test_a_bad_support_is_an_error_with_the_remedy(trained, shapes, change, error, message: str):
    support, _ = support_and_query(shapes)
    with pytest.raises(error) as caught:
        trained[0].adapt(change(support))
    assert message in str(caught.value)


def test_a_query_row_without_any_modality_is_an_error(trained, shapes):
    support, query = support_and_query(shapes)
    predictor = trained[0].adapt(support)
    query = query.drop(columns="label").reset_index(drop=True)
    query.loc[3] = None
    with pytest.raises(DataError, match="row 4: every modality is empty"):
        predictor.predict(query)


def test_a_dict_of_columns_is_not_taken_for_one_row_of_vectors(trained, shapes):
    columns = {"size": [1.0, 2.0, 3.0, 4.0], "label": ["x", "y", "x", "y"]}
    for learner in (mm.MetaLearner(data__target="label"), trained[0]):
        with pytest.raises(mm.OptionError, match=r"pd.DataFrame\(columns\), or \[row\]"):
            learner.adapt(columns)
        assert learner.adapt(pd.DataFrame(columns)).labels == ("x", "y")
    vectors = {"vector": [0.5, 1.5], "size": np.array([1.0, 2.0])}  # no label: one row, as it stands
    with pytest.raises(mm.DataError, match="size"):
        mm.MetaLearner(data__target="label").adapt(pd.DataFrame(columns)).predict(vectors)


def test_without_training_the_target_must_be_named(shapes):
    with pytest.raises(OptionError, match="which column is the label"):
        mm.MetaLearner().adapt(shapes)
    data = mm.read_table(shapes, target="label")
    assert mm.MetaLearner().adapt(data).labels == tuple(sorted(shapes["label"].unique()))


def test_score_and_embed(trained, shapes):
    learner, data = trained
    assert learner.score(data.test, episodes=30, way=4) > 0.4
    assert mm.MetaLearner().score(data.test, episodes=30, way=4) > 0.4
    assert learner.embed(shapes.drop(columns="label").head(7)).shape == (7, 32)
    with pytest.raises(OptionError, match="nothing is trained yet to embed"):
        mm.MetaLearner().embed(shapes)


def test_a_frame_is_fitted_and_scored_as_the_data_set_of_its_options():
    frame = shapes_table(classes=10, rows=6)[["size", "vector", "label"]]
    options = {"seed": 1, "learner": "ridge", "model__dim": 16, "train__steps": 2}
    by_frame = mm.MetaLearner(data__target="label", data__split_by="row", **options).fit(frame)
    plan = by_frame.experiment.data.plan
    by_data = mm.MetaLearner(**options).fit(mm.read_table(frame, target="label", plan=plan))
    assert by_frame.model.seen == by_data.model.seen
    score = by_frame.score(frame, episodes=5)
    assert score == by_data.score(mm.read_table(frame, target="label"), episodes=5)
    for call in (mm.MetaLearner().fit, mm.MetaLearner().score):
        with pytest.raises(mm.OptionError, match="Pass read_table"):
            call(frame)
    for call in (by_frame.fit, by_frame.score, by_frame.adapt):
        with pytest.raises(mm.OptionError, match="a file is read by read_table"):
            call("rows.csv")


def test_fitting_leaves_the_callers_random_states_as_they_were(shapes):
    torch.manual_seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    mm.MetaLearner(data__target="label", learner="ridge", model__dim=16, train__steps=2).fit(shapes)
    mm.Classifier().fit(shapes[["size"]], shapes["label"]).predict(shapes[["size"]])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


def test_a_table_of_fewer_classes_than_asked_for_is_scored_by_those_it_has():
    few = mm.read_table(shapes_table(classes=3, rows=6)[["size", "vector", "label"]], target="label")
    assert mm.MetaLearner().score(few, episodes=20) == mm.MetaLearner().score(few, episodes=20, way=3)


def test_a_saved_learner_is_loaded_with_its_options(trained, tmp_path, shapes):
    trained[0].save(tmp_path / "model")
    again = mm.load(tmp_path / "model")
    assert again.get_params() == trained[0].get_params()
    support, query = support_and_query(shapes)
    pd.testing.assert_frame_equal(
        again.adapt(support).predict_proba(query),
        trained[0].adapt(support).predict_proba(query),
        check_exact=True,
    )


def test_the_public_names_are_exactly_the_promised_ones():
    promised = {
        "audit",
        "ArtifactError",
        "Classifier",
        "DataError",
        "Dataset",
        "Evaluation",
        "InputError",
        "MetaLearner",
        "MetamodalError",
        "MetamodalWarning",
        "OptionError",
        "OutputError",
        "Plan",
        "Predictor",
        "Protocol",
        "Regressor",
        "evaluate",
        "extend",
        "load",
        "read_table",
        "write_report",
    }
    assert set(mm.__all__) == promised
    assert all(getattr(mm, name) is not None for name in promised)
    with pytest.raises(AttributeError):
        mm.nonsense  # noqa: B018


def records_of(query: pd.DataFrame) -> list[dict]:
    return query.drop(columns="label").to_dict("records")


@pytest.mark.parametrize("use_trained", [True, False])
def test_prepared_rows_have_the_same_answers(trained, shapes, use_trained: bool):
    learner = trained[0] if use_trained else mm.MetaLearner(data__target="label")
    support, query = support_and_query(shapes)
    predictor = learner.adapt(support)
    rows = records_of(query)
    del rows[0]["photo"]
    rows[1]["note"] = None
    logits = predictor.logits(predictor.batch(rows))
    probabilities = predictor.predict_proba(pd.DataFrame(rows)).to_numpy()
    np.testing.assert_allclose(logits.softmax(1).numpy(), probabilities, atol=1e-6)


def test_a_prepared_row_names_columns_of_the_model_only(trained, shapes):
    support, query = support_and_query(shapes)
    rows = records_of(query)
    rows[1]["phot"] = rows[1].pop("photo")
    with pytest.raises(DataError, match="row 2: 'phot' is no column of the model. Did you mean 'photo'?"):
        trained[0].adapt(support).batch(rows)


def test_a_predictor_that_refers_to_its_model_is_small_and_answers_the_same(trained, shapes, tmp_path):
    support, query = support_and_query(shapes)
    trained[0].save(tmp_path / "model")
    predictor = trained[0].adapt(support)
    predictor.save(tmp_path / "whole")
    predictor.save(tmp_path / "small", model=tmp_path / "model")

    def size(name: str) -> int:
        return sum(f.stat().st_size for f in (tmp_path / name).rglob("*"))

    assert size("small") < size("whole") / 4
    expected = predictor.predict_proba(query)
    pd.testing.assert_frame_equal(mm.load(tmp_path / "small").predict_proba(query), expected)
    (tmp_path / "model").rename(tmp_path / "moved")
    with pytest.raises(ArtifactError, match="its model is not in .*--model DIR"):
        mm.load(tmp_path / "small")
    found = mm.load(tmp_path / "small", model=tmp_path / "moved")
    pd.testing.assert_frame_equal(found.predict_proba(query), expected)


def test_a_predictor_refers_to_its_own_model_alone(trained, shapes, tmp_path):
    support, _ = support_and_query(shapes)
    trained[0].save(tmp_path / "model")
    other = mm.MetaLearner(data__target="label", train={"steps": 1}, learner="ridge").fit(shapes)
    other.save(tmp_path / "other")
    predictor = trained[0].adapt(support)
    with pytest.raises(OptionError, match="not the folder of this predictor's model"):
        predictor.save(tmp_path / "small", model=tmp_path / "other")
    predictor.save(tmp_path / "small", model=tmp_path / "model")
    with pytest.raises(ArtifactError, match="digest differs"):
        mm.load(tmp_path / "small", model=tmp_path / "other")
    predictor.save(tmp_path / "whole")
    with pytest.raises(ArtifactError, match="does not refer to a model"):
        mm.load(tmp_path / "whole", model=tmp_path / "model")


def test_copies_of_a_predictor_share_its_model(trained, shapes):
    support, query = support_and_query(shapes)
    predictor = trained[0].adapt(support)
    copied, sent = copy.deepcopy(predictor), pickle.loads(pickle.dumps(predictor))
    assert copied.model is predictor.model
    for other in (copied, sent):
        pd.testing.assert_frame_equal(other.predict_proba(query), predictor.predict_proba(query))


def test_a_predictor_shows_how_much_each_modality_counts(shapes):
    support, _ = support_and_query(shapes)
    predictor = mm.MetaLearner(data__target="label", learner="per_modality").adapt(support)
    assert set(predictor.weights) == {*predictor.model.modalities, "joint"}
    assert sum(predictor.weights.values()) == pytest.approx(1)
    assert f"photo {predictor.weights['photo']:.2f}" in repr(predictor)
    fused = mm.MetaLearner(data__target="label", learner="ridge").adapt(support)
    assert fused.weights == {} and "photo" in repr(fused)
