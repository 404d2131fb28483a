"""The contract of every kind of modality, and what is particular to each."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import media
from conftest import png
from metamodal import MetaLearner
from metamodal.data.dataset import read_table
from metamodal.data.features.encode import Preprocessor, fitted_from
from metamodal.data.features.reading import read_cells
from metamodal.data.modalities import Embedding, Text, modalities
from metamodal.errors import DataError, MetamodalError

RNG = np.random.default_rng(0)
GOOD = {
    "image": [png(RNG.integers(0, 255, (20, 16), dtype=np.uint8)) for _ in range(6)],
    "series": [RNG.normal(size=(n, 3)).tolist() for n in (5, 9, 30, 2, 1, 12)],
    "text": ["a cat", "ein Hund", "ένα πουλί", "一条鱼", "a cat and a dog", "."],
    "tabular": [{"a": float(i), "b": "xyz"[i % 3], "c": None if i % 2 else True} for i in range(6)],
    "embedding": [RNG.normal(size=7).tolist() for _ in range(6)],
    "audio": [
        media.sound(media.tone(300)),
        media.sound(media.tone(500, 0.2), form="FLAC"),
        media.sound(media.tone(700, 0.6, 16_000), 16_000, "OGG"),
        media.sound(media.tone(900), form="MP3"),
        {"array": media.tone(1100).tolist(), "sampling_rate": 8000},
        np.stack([media.tone(1300), media.tone(1500)], 1),
    ],
    "video": [
        media.clip(media.ball_of_frames(6)),
        media.gif(media.ball_of_frames(9, 20, 0, 1)),
        media.ball_of_frames(4, 16, -1),
        [png(frame) for frame in media.ball_of_frames(5, 12, 1, 1)],
        list(media.ball_of_frames(3, 16, -1, -1)),
        {"bytes": media.clip(media.ball_of_frames(20, 24, 1, -1), "webm", "libvpx-vp9"), "path": None},
    ],
    "points": [
        RNG.normal(size=(30, 3)),
        RNG.normal(size=(400, 3)).tolist(),
        media.ply(RNG.normal(size=(50, 3))),
        media.npy(RNG.normal(size=(20, 3))),
        b"0 0 1\n0 1 0\n1.5 0 0\n",
        b"v 0 0 0\nv 1 0 0\nv 0 2 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\n",
    ],
    "graph": [media.wheel(n) for n in (3, 5, 8, 2, 40)] + [media.wheel(4, 2.5)],
}
BASE = Path(__file__).parent


def fitted(kind: str):
    values = [modalities[kind].read(cell, BASE) for cell in GOOD[kind]]
    return modalities[kind].fit(values), values


@pytest.fixture(params=list(modalities))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def test_every_registered_kind_has_good_cells_here(kind: str):
    assert kind in GOOD


def test_a_tensor_has_the_promised_shape_and_is_finite(kind: str):
    modality, values = fitted(kind)
    x = modality.tensor(values)
    assert x.shape == (6, *modality.shape)
    assert x.dtype == torch.float32
    assert x.isfinite().all()


def test_rows_do_not_depend_on_each_other(kind: str):
    modality, values = fitted(kind)
    together = modality.tensor(values)
    for i, value in enumerate(values):
        torch.testing.assert_close(modality.tensor([value])[0], together[i])


def test_features_are_vectors_of_length_one_at_most_or_of_energies_little_more(kind: str):
    modality, values = fitted(kind)
    features = modality.features(modality.tensor(values))
    assert features.dim() == 2
    assert features.isfinite().all()
    assert (features.norm(dim=1) <= (1.5 if kind == "series" else 1) + 1e-5).all()


def test_augmentation_is_seeded_and_keeps_shape(kind: str):
    modality, values = fitted(kind)
    x = modality.tensor(values)
    one, two, three = (modality.augment(x, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert one.shape == x.shape
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
    assert one.isfinite().all()


def test_variants_are_distinct_and_the_first_is_the_identity(kind: str):
    modality, values = fitted(kind)
    x = modality.tensor(values)
    seen = [modality.variant(x, v) for v in range(modality.variants)]
    assert torch.equal(seen[0], x)
    for i, a in enumerate(seen):
        assert all(not torch.equal(a, b) for b in seen[:i])


def test_what_was_fitted_survives_json(kind: str):
    modality, values = fitted(kind)
    record = json.loads(json.dumps(dataclasses.asdict(modality)))
    again = fitted_from(kind, record)
    assert again == modality
    assert torch.equal(again.tensor(values), modality.tensor(values))


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=40),
    st.lists(st.one_of(st.floats(), st.text(max_size=3), st.none()), max_size=4),
    st.lists(st.lists(st.floats(width=32), max_size=3), max_size=4),
    st.dictionaries(st.text(max_size=3), st.one_of(st.none(), st.floats(), st.text(max_size=3)), max_size=3),
    st.fixed_dictionaries(
        {"nodes": st.one_of(st.integers(-1, 4), st.lists(st.floats(width=32), max_size=3))},
        optional={
            "edges": st.lists(st.lists(st.one_of(st.integers(-1, 4), st.floats()), max_size=3), max_size=4),
            "types": st.lists(st.text(max_size=2), max_size=3),
            "values": st.lists(st.one_of(st.floats(width=32), st.none()), max_size=3),
            "time": st.lists(st.one_of(st.floats(width=32), st.none()), max_size=3),
            "array": st.lists(st.floats(width=32), max_size=5),
            "sampling_rate": st.one_of(st.integers(), st.floats(), st.text(max_size=2)),
        },
    ),
    hnp.arrays(st.sampled_from([np.uint8, np.float32, np.int64]), hnp.array_shapes(max_dims=4, max_side=4)),
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(GOOD)), JUNK)
def test_junk_is_read_or_refused_but_never_crashes(kind: str, cell):
    modality, _ = fitted(kind)
    try:
        modality.tensor([modality.read(cell, BASE)])
    except MetamodalError as error:
        assert "\n" not in str(error)


def test_equal_texts_are_equal_and_like_texts_are_near():
    text = Text.fit(GOOD["text"])
    x = text.tensor(["the red house", "the red houses", "quantum flux"])
    assert x[0] @ x[1] > 0.8
    assert abs(x[0] @ x[2]) < 0.3


def test_embeddings_are_standardised_and_constant_dimensions_vanish():
    values = [np.array([i, 5.0, -2.0 * i], dtype=np.float32) for i in range(10)]
    x = Embedding.fit(values).tensor(values)
    torch.testing.assert_close(x.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.tensor([1.0, 0.0, 1.0]))


def test_an_unreadable_cell_is_an_error_with_its_place_and_absent_only_if_asked(shapes):
    frame = shapes.copy()
    frame.loc[4, "photo"] = frame.loc[4, "photo"][:60]
    data = read_table(frame, target="label")
    with pytest.raises(DataError, match="DataFrame row 5, column photo: not a readable image"):
        read_cells(data)
    cells = read_cells(data, unreadable="absent")
    assert cells.values["photo"][4] is None
    batch = Preprocessor.fit(cells).encode(cells)
    assert not batch.present["photo"][4]
    assert batch.present["photo"].sum() == len(frame) - 1


def test_a_cell_that_does_not_fit_the_others_is_named(shapes):
    frame = shapes[["vector", "label"]].copy()
    data = read_table(frame, target="label")
    preprocessor = Preprocessor.fit(read_cells(data))
    frame.at[7, "vector"] = [1.0, 2.0]
    odd = read_table(frame, target="label", kinds={"vector": "embedding"})
    with pytest.raises(DataError, match="row 8, column vector: 2 values where the others have 6"):
        preprocessor.encode(preprocessor.read(odd))


MISFITS = {
    "number": ("abc", "number is 'abc' where the training rows have numbers"),
    "flag": ("perhaps", "flag is 'perhaps' where"),
    "date": ("2024-02-31", "date is '2024-02-31' where the training rows have dates"),
    "price": ("1,045.16", "price is '1,045.16' where the training rows have numbers with decimal comma"),
    "vector": ([1.0, 2.0, 3.0], "3 values where the others have 4"),
    "steps": ([[1.0], [2.0]], "1 channels where the others have 2"),
}


@pytest.fixture(scope="module")
def misfitting():
    """A support of 12 rows, and a predictor of them."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=12),
            "flag": [True, False] * 6,
            "date": pd.date_range("2024-01-01", periods=12).astype(str),
            "price": [f"1.0{i + 10},{i}" for i in range(12)],
            "vector": list(rng.normal(size=(12, 4))),
            "steps": list(rng.normal(size=(12, 5, 2))),
            "y": ["a", "b"] * 6,
        }
    ).astype(object)
    return frame, MetaLearner(data__target="y", data__kinds={"vector": "embedding"}).adapt(frame)


@pytest.mark.parametrize("column", MISFITS)
def test_a_cell_that_does_not_fit_the_training_cells_is_absent_if_asked(misfitting, column: str):
    frame, predictor = misfitting
    cell, message = MISFITS[column]
    query, empty = frame.head(3).copy(), frame.head(3).copy()
    query.at[1, column], empty.at[1, column] = cell, None
    with pytest.raises(DataError, match=re.escape(f"row 2, column {column}: {message}")):
        predictor.predict(query)
    answers = predictor.predict_proba(query, unreadable="absent")
    assert answers.equals(predictor.predict_proba(empty)) and not answers.isna().any(axis=None)


def test_a_cell_that_cannot_be_read_takes_no_other_scalar_of_its_row_with_it(misfitting):
    frame, predictor = misfitting
    query, empty = frame.head(3).copy(), frame.head(3).copy()
    query.at[0, "number"], empty.at[0, "number"] = float("inf"), None
    query.at[0, "date"], empty.at[0, "date"] = [1], None
    answers = predictor.predict_proba(query, unreadable="absent")
    assert answers.equals(predictor.predict_proba(empty))


def test_a_row_of_nothing_but_misfits_says_which(misfitting):
    frame, predictor = misfitting
    query = frame.head(2).copy()
    for column, (cell, _) in MISFITS.items():
        query.at[1, column] = cell
    (_, reason) = predictor.answers(query, "absent").reasons
    assert reason is not None and all(f"column {c}: {m}" in reason for c, (_, m) in MISFITS.items())


def test_sizes_are_those_of_most_training_cells_and_not_of_the_first():
    vectors = [[1.0], *RNG.normal(size=(5, 3)).tolist()]
    assert Embedding.fit([np.array(v, np.float32) for v in vectors]).shape == (3,)
    for kind, cells in (
        ("series", [[[1.0]], *[[[1.0, 2.0]] * 3] * 3]),
        ("points", [np.ones((9, 2)), *[np.ones((9, 3))] * 3]),
    ):
        values = [modalities[kind].read(cell, Path()) for cell in cells]
        fitted = modalities[kind].fit(values)
        assert len(fitted.tensor(values[1:])) == 3
        with pytest.raises(DataError):
            fitted.tensor(values[:1])


def test_a_row_number_in_an_error_is_the_file_s_even_in_a_selection(shapes):
    frame = shapes.copy()
    frame.loc[30, "photo"] = b"\x89PNG\r\n\x1a\nbroken"
    data = read_table(frame, target="label").rows(np.arange(25, 40))
    with pytest.raises(DataError, match="row 31, column photo"):
        read_cells(data)


def test_a_preprocessor_survives_json(shapes):
    cells = read_cells(read_table(shapes, target="label"))
    first = Preprocessor.fit(cells)
    again = Preprocessor.from_dict(json.loads(json.dumps(first.to_dict())))
    for m, x in first.encode(cells).inputs.items():
        assert torch.equal(x, again.encode(cells).inputs[m])
