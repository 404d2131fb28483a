"""Decoders, what is lost in them, and translation: from any modalities to any other."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from conftest import png
from metamodal.adaptation import adapt
from metamodal.artifact import load_artifact, save_artifact
from metamodal.components import component
from metamodal.data.dataset import read_table
from metamodal.data.modalities import modalities
from metamodal.data.modalities.protocol import Invertible
from metamodal.errors import DataError, OptionError
from metamodal.estimator import MetaLearner
from metamodal.experiment import Experiment, run
from metamodal.mappings.decoders import decoders
from metamodal.mappings.fusion import fusions
from metamodal.mappings.model import Model, NetworkSpec, build_model
from metamodal.mappings.objectives import reconstruction, translation
from metamodal.model import MetaModel
from metamodal.options import parse
from metamodal.types import Batch, Space

BRIEF = {
    "learner": "prototypes",
    "train": {"steps": 2, "budget": 60.0, "episodes": {"way": 5}, "validation": {"episodes": 2}},
}
SHAPES = {"image": (3, 20, 20), "series": (3, 17), "tabular": (5,), "embedding": (7,)}


def read(kind: str, cells: list, **options):
    values = [modalities[kind].read(cell, Path()) for cell in cells]
    fitted = modalities[kind].fit(values, **options)
    return fitted, fitted.tensor(values)


def again(fitted, x: Tensor) -> Tensor:
    return fitted.tensor([type(fitted).read(cell, Path()) for cell in fitted.cells(x)])


def test_what_has_a_decoder_can_be_turned_back_into_cells():
    assert {kind for kind in modalities if hasattr(modalities[kind], "cells")} == set(decoders)


@pytest.mark.parametrize("kind", list(SHAPES))
def test_a_decoder_gives_the_shape_it_is_asked_for_row_by_row(kind: str):
    torch.manual_seed(0)
    decoder, z = decoders[kind](SHAPES[kind], 16), torch.randn(5, 16)
    x = decoder(z)
    assert x.shape == (5, *SHAPES[kind])
    torch.testing.assert_close(decoder(z[2:3])[0], x[2], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("side", [8, 9, 31, 32, 33, 100, 128])
def test_pictures_and_series_come_in_any_size(side: int):
    z = torch.zeros(1, 16)
    assert decoders["image"]((1, side, side), 16)(z).shape == (1, 1, side, side)
    assert decoders["series"]((2, side), 16)(z).shape == (1, 2, side)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_decoded_picture_is_the_picture(channels: int):
    rng = np.random.default_rng(0)
    shape = (16, 16) if channels == 1 else (16, 16, 3)
    pixels = [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(4)]
    fitted, x = read("image", [png(p) for p in pixels], size=16)
    assert isinstance(fitted, Invertible)
    for cell, wanted in zip(fitted.cells(x), pixels):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(cell))), wanted)
    assert fitted.cells(100 * x), "values beyond black and white are cut"


def test_decoded_numbers_dates_and_words_are_in_their_own_units():
    cells = [
        {"age": 40.0, "born": "1980-02-29", "ward": "north"},
        {"age": 61.0, "born": "1961-11-03", "ward": "south"},
        {"age": None, "born": None, "ward": None},
        {"age": 55.0, "born": "1970-01-01", "ward": "north"},
    ]
    fitted, x = read("tabular", cells)
    for found, wanted in zip(fitted.cells(x), cells):
        assert found == {**wanted, "age": wanted["age"] and pytest.approx(wanted["age"])}
    halved = fitted.cells(0.6 * x)[0]
    assert halved["age"] == pytest.approx(40) and halved["ward"] == "north"
    assert fitted.cells(0.4 * x)[0] == {"age": None, "born": None, "ward": None}


def test_a_decoded_moment_has_its_time_where_the_clock_plays_a_part():
    cells = [{"at": f"2024-05-{day:02}T{hour:02}:30:00"} for day, hour in ((1, 3), (9, 15), (20, 22))]
    fitted, x = read("tabular", cells)
    assert [c["at"][:15] for c in fitted.cells(x)] == [c["at"][:15] for c in cells]


def test_a_decoded_vector_is_in_its_own_unit():
    vectors = [[1.0, 20.0, 5.0], [2.0, 30.0, 5.0], [4.0, 10.0, 5.0]]
    fitted, x = read("embedding", vectors)
    np.testing.assert_allclose(fitted.cells(x), vectors, rtol=1e-5)


@pytest.mark.parametrize("form", ["steps", "gaps", "timed", "symbols"])
def test_a_decoded_series_reads_as_the_tensor_it_was_decoded_from(form: str):
    rng = np.random.default_rng(0)
    cells = []
    for steps in (40, 60, 90):
        t = np.linspace(0, 6, steps)
        values = np.stack([10 + np.sin(t + rng.normal()), 100 * np.cos(t)], 1).tolist()
        if form == "gaps":
            values[3][0] = None
        if form == "symbols":
            values = ["abc"[int(v)] for v in np.abs(np.sin(t)) * 2.9]
        cells.append({"time": t.tolist(), "values": values} if form == "timed" else values)
    fitted, x = read("series", cells, length=32)
    assert isinstance(fitted.cells(x)[0], dict) == (form == "timed")
    back = again(fitted, x)
    kept = len(fitted.centre)
    tolerance = 0.12 if form != "symbols" else 1e-6
    assert (back[:, :kept] - x[:, :kept]).abs().mean() < 0.03
    assert ((back[:, :kept] - x[:, :kept]).abs() > tolerance).float().mean() < 0.1
    torch.testing.assert_close(back[:, -1], x[:, -1], atol=0.05, rtol=0)


def model(decoders: bool = True) -> Model:
    torch.manual_seed(0)
    spaces = {k: (k, Space(k, s)) for k, s in SHAPES.items()} | {"text": ("text", Space("text", (32,)))}
    return build_model(spaces, NetworkSpec(component(fusions, "attention"), 16, decoders=decoders))


def rows(n: int = 6) -> Batch:
    g = torch.Generator().manual_seed(0)
    inputs = {k: torch.randn(n, *s, generator=g) for k, s in {**SHAPES, "text": (32,)}.items()}
    return Batch(inputs, {k: torch.ones(n).bool() for k in inputs}, torch.zeros(n, 0))


def test_a_model_decodes_every_token_and_embedding_into_what_can_be_decoded():
    net, batch = model(), rows()
    tokens = net(batch, stage="encode")
    found = net(tokens, stage="decode")
    assert set(found) == {*SHAPES, "text"}
    for of in found.values():
        assert {m: tuple(x.shape) for m, x in of.items()} == {m: (6, *s) for m, s in SHAPES.items()}
    whole = Batch({"all": net(batch)}, {"all": torch.ones(6).bool()}, batch.targets)
    assert net(whole, stage="decode")["all"]["image"].shape == (6, 3, 20, 20)
    some = net(tokens.only(["text"]), stage="decode", targets=("series", "text"))
    assert {a: list(of) for a, of in some.items()} == {"text": ["series"]}
    assert torch.equal(some["text"]["series"], found["text"]["series"])
    stacked = tokens.take(torch.arange(6).reshape(2, 3))
    again = net(stacked, stage="decode")["text"]["image"]
    torch.testing.assert_close(again.flatten(0, 1), found["text"]["image"])


def test_decoders_change_nothing_of_the_rest_of_a_model():
    with_them, without = model().state_dict(), model(decoders=False).state_dict()
    assert all(torch.equal(v, with_them[k]) for k, v in without.items())
    assert {k.split(".")[0] for k in set(with_them) - set(without)} == {"decoders"}
    assert model(decoders=False)(rows(), stage="decode") == {m: {} for m in (*SHAPES, "text")}


def by_hand(decoded, inputs, present, pairs) -> float:
    errors = []
    for a, b in pairs:
        both = [i for i in range(6) if present[a][i] and present[b][i]]
        if both:
            seen = np.stack([inputs[b][i].numpy() for i in range(6) if present[b][i]])
            square = np.mean([np.square((decoded[a][b][i] - inputs[b][i]).numpy()).mean() for i in both])
            errors.append(square / np.square(seen - seen.mean(0)).mean())
    return float(np.mean(errors))


def test_losses_are_errors_relative_to_variance_over_the_cells_that_are_there():
    g = torch.Generator().manual_seed(1)
    inputs = {"a": 10 * torch.randn(6, 3, generator=g), "b": torch.randn(6, 2, 4, generator=g)}
    decoded = {m: {k: x + torch.randn(x.shape, generator=g) for k, x in inputs.items()} for m in (*"ab", "c")}
    present = {
        "a": torch.tensor([1, 1, 1, 0, 0, 1]).bool(),
        "b": torch.tensor([1, 0, 1, 1, 1, 1]).bool(),
        "c": torch.zeros(6).bool(),
    }
    found = reconstruction(decoded, inputs, present)
    assert float(found) == pytest.approx(
        by_hand(decoded, inputs, present, [("a", "a"), ("b", "b")]), rel=1e-5
    )
    between = translation(decoded, inputs, present)
    assert float(between) == pytest.approx(
        by_hand(decoded, inputs, present, [("a", "b"), ("b", "a")]), rel=1e-5
    )
    spoiled = {
        m: torch.where(present[m].view(-1, *[1] * (x.dim() - 1)), x, torch.nan) for m, x in inputs.items()
    }
    assert reconstruction(decoded, spoiled, present) == found
    assert translation(decoded, spoiled, present) == between
    nothing = {m: torch.zeros(6).bool() for m in present}
    assert reconstruction(decoded, inputs, nothing) == translation(decoded, inputs, nothing) == 0


def test_an_answer_of_the_mean_scores_one():
    x = {"a": torch.randn(50, 4, generator=torch.Generator().manual_seed(0))}
    there = {"a": torch.ones(50).bool()}
    mean = {"a": {"a": x["a"].mean(0).expand(50, -1)}}
    assert float(reconstruction(mean, x, there)) == pytest.approx(1, rel=1e-5)


def test_gradients_stop_at_rows_without_both():
    net, batch = model(), rows()
    present = batch.present | {"image": torch.tensor([1, 1, 0, 1, 1, 1]).bool()}
    batch = batch._replace(
        inputs=batch.inputs | {"image": batch.inputs["image"].index_fill(0, torch.tensor([2]), torch.nan)},
        present=present,
    )
    decoded = net(net.encode(batch), stage="decode")
    loss = translation(decoded, batch.inputs, present) + reconstruction(decoded, batch.inputs, present)
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
    assert all(p.grad.abs().sum() > 0 for p in net.decoders.parameters())


def paired_table(rows: int = 120, seed: int = 0) -> pd.DataFrame:
    """Rows whose picture, series, vector, numbers and note all tell of the same three hidden numbers."""
    rng = np.random.default_rng(seed)
    across, down = np.meshgrid(np.arange(12), np.arange(12))
    t, found = np.linspace(0, 1, 24), []
    for i in range(rows):
        a, b, c = rng.uniform(-1, 1, 3)
        blob = np.exp(-(np.square(across - 5.5 - 4 * a) + np.square(down - 5.5 - 4 * b)) / 6)
        found.append(
            {
                "photo": png((255 * blob).astype(np.uint8)),
                "course": np.stack([10 + 5 * (a + c * t), 100 * (b - a * t)], 1).tolist(),
                "vector": (np.array([a, b, c, a - b, b + c, a + c]) * 3 + rng.normal(0, 0.05, 6)).tolist(),
                "age": 50 + 20 * a,
                "ward": "north" if b > 0 else "south",
                "note": f"{'low' if a < 0 else 'high'} {'soft' if b < 0 else 'loud'} {i}",
                "label": f"class{i % 12:02}",
            }
        )
    return pd.DataFrame(found)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return paired_table()


@pytest.fixture(scope="module")
def translator(table: pd.DataFrame) -> MetaModel:
    """A model with decoders that a loop of this module taught to translate, and to bring tokens of one row
    together."""
    data = read_table(table, target="label", use=["photo", "course", "vector", "age", "ward", "note"])
    trained = run(parse(Experiment, BRIEF | {"model": {"dim": 32, "decoders": True}}), data).model
    batch = trained.inputs(data)
    params = {k: v.clone().requires_grad_() for k, v in trained.params.items()}
    optimiser = torch.optim.Adam(params.values(), lr=3e-3)
    g = torch.Generator().manual_seed(0)
    for _ in range(100):
        some = batch.take(torch.randperm(len(table), generator=g)[:32])
        tokens = trained.engine.tokens(params, some)
        said = (trained.engine.decode(params, tokens), some.inputs, some.present)
        units = [F.normalize(z, dim=1) for z in tokens.inputs.values()]
        apart = sum(F.cross_entropy(10 * u @ v.mT, torch.arange(len(u))) for u in units for v in units)
        loss = translation(*said) + 0.2 * reconstruction(*said) + 0.02 * apart
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return replace(trained, params={k: v.detach() for k, v in params.items()})


@pytest.fixture(scope="module")
def saved(translator: MetaModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_artifact(translator, tmp_path_factory.mktemp("translator") / "model")


@pytest.fixture(scope="module")
def new_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "new.parquet"
    paired_table(40, seed=1).drop(columns="label").to_parquet(path)
    return path


def test_numbers_and_words_of_new_rows_come_from_their_picture(translator, table):
    new = paired_table(40, seed=1)
    found = translator.translate(new[["photo"]], "photo", "tabular")
    assert found.how == ["decoded"] * 40
    columns = found.columnwise()
    assert set(columns) == {"age", "ward"}
    error = np.mean(np.square(np.array(columns["age"]) - new["age"]))
    assert error < 0.3 * np.var(new["age"])
    assert np.mean(np.array(columns["ward"]) == new["ward"]) > 0.8


@pytest.mark.parametrize("target", ["photo", "course", "vector"])
def test_what_is_decoded_is_nearer_to_the_truth_than_the_mean_is(translator, target: str):
    new = paired_table(40, seed=1)
    source = "vector" if target != "vector" else "course"
    found = translator.translate(new[[source]], source, target)
    kind = {"photo": "image", "course": "series", "vector": "embedding"}[target]

    def tensor(cells) -> Tensor:
        return translator.preprocessor.fitted[target].tensor(
            [modalities[kind].read(cell, Path()) for cell in cells]
        )

    truth, told = tensor(new[target]), tensor(found.cells)
    assert float((told - truth).square().mean()) < 0.5 * float(truth.var(0).mean())


def test_several_sources_are_fused_and_any_of_them_will_do(translator):
    new = paired_table(40, seed=1)[["photo", "vector"]].astype(object)
    new.loc[:9, "photo"] = None
    new.loc[5:19, "vector"] = None
    found = translator.translate(new, ["photo", "vector"], "course")
    assert [h for i, h in enumerate(found.how) if not 5 <= i <= 9] == ["decoded"] * 35
    assert found.how[5:10] == found.cells[5:10] == [None] * 5
    alone = translator.translate(new, "vector", "course")
    assert alone.how[:5] == ["decoded"] * 5 and alone.how[5:20] == [None] * 15


def test_a_target_among_the_sources_comes_back_as_it_is_and_only_gaps_are_filled(translator):
    new = paired_table(10, seed=1)[["photo", "vector"]].astype(object)
    new.loc[3, "vector"] = None
    found = translator.translate(new, ["photo", "vector"], "vector")
    assert found.how == ["given"] * 3 + ["decoded"] + ["given"] * 6
    for i in (0, 1, 2, 4):
        assert found.cells[i] == new["vector"][i]
    assert len(found.cells[3]) == 6


def test_what_cannot_be_decoded_is_the_nearest_candidate_s(translator, table):
    new = paired_table(40, seed=1)
    found = translator.translate(new[["vector"]], "vector", "note", against=table, top=3)
    assert found.how == ["retrieved"] * 40
    assert [len(m) for m in found.matches] == [3] * 40
    data = read_table(table, target="label")
    kept = translator.preprocessor
    queries, cells = (
        F.normalize(
            translator.engine.tokens(translator.params, kept.encode(kept.read(rows))).inputs[m], dim=1
        )
        for rows, m in ((read_table(new, target="label"), "vector"), (data, "note"))
    )
    for i, matches in enumerate(found.matches):
        scores = (cells @ queries[i]).detach().numpy()
        order = np.argsort(-scores)[:3]
        assert [m.row for m in matches] == [j + 1 for j in order]
        np.testing.assert_allclose([m.score for m in matches], scores[order], atol=1e-5)
        assert found.cells[i] == table["note"][order[0]]
    right = [a.split()[:2] == b.split()[:2] for a, b in zip(found.cells, new["note"])]
    assert np.mean(right) > 0.5, "a quarter by chance"


def test_a_row_is_no_candidate_of_its_own(translator, table):
    found = translator.translate(table, "vector", "note")
    assert all(match.row != i + 1 for i, row in enumerate(found.matches) for match in row)
    assert [len(row) for row in found.matches] == [5] * len(table)
    among = translator.translate(table, "vector", "note", against=table, top=1)
    assert np.mean([row[0].row == i + 1 for i, row in enumerate(among.matches)]) > 0.1


def test_a_number_of_candidates_asks_for_candidates(translator, table):
    found = translator.translate(table.head(20), "photo", "vector", top=2)
    assert found.how == ["retrieved"] * 20
    assert all(found.cells[i] == table["vector"][row[0].row - 1] for i, row in enumerate(found.matches))


def test_only_the_cells_that_are_needed_are_opened(translator):
    new = paired_table(5, seed=1)[["photo", "vector"]].astype(object)
    new.loc[2, "photo"] = b"no picture"
    assert translator.translate(new, "vector", "course").how == ["decoded"] * 5
    with pytest.raises(DataError, match="row 3, column photo"):
        translator.translate(new, "photo", "course")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_the_command_writes_cells_that_can_be_read(cli, translator, saved, new_rows, tmp_path, suffix):
    out = tmp_path / f"out.{suffix}"
    frames = {}
    for target in ("photo", "course", "tabular", "note"):
        done = cli("translate", saved, new_rows, "--from", "vector", "--to", target, "--out", out)
        assert done.code == 0, done.err
        assert done.out == ""
        if suffix == "parquet":
            frames[target] = pd.read_parquet(out)
        else:
            frames[target] = pd.read_csv(out) if suffix == "csv" else pd.read_json(out, lines=True)
        assert len(frames[target]) == 40
    photo = frames["photo"]["photo"][0]
    picture = photo if suffix == "parquet" else base64.b64decode(photo)
    assert Image.open(io.BytesIO(picture)).size == (12, 12)
    told = translator.translate(pd.read_parquet(new_rows), "vector", "photo")
    assert picture == told.cells[0]
    course = frames["course"]["course"][0]
    steps = json.loads(course) if suffix == "csv" else course
    count, channels = np.stack([np.asarray(s) for s in steps]).shape
    assert 20 <= count <= 28 and channels == 2
    assert list(frames["tabular"].columns) == ["age", "ward", "how"]
    assert list(frames["note"].columns) == ["note", "how", "candidates", "scores"]


def test_the_command_s_document_names_rows_and_candidates(cli, saved, new_rows):
    words = ["--from", "photo,vector", "--to", "note", "--against", new_rows, "--top", 2, "--json"]
    done = cli("translate", saved, new_rows, *words)
    assert done.code == 0
    document = json.loads(done.out)
    assert (document["from"], document["to"]) == (["photo", "vector"], "note")
    assert [row["row"] for row in document["rows"]] == list(range(1, 41))
    first = document["rows"][0]
    assert first["how"] == "retrieved" and len(first["candidates"]) == 2
    assert first["candidates"][0]["score"] >= first["candidates"][1]["score"]
    decoded = json.loads(
        cli("translate", saved, new_rows, "--from", "photo", "--to", "tabular", "--json").out
    )
    assert set(decoded["rows"][0]["cell"]) == {"age", "ward"}


def test_a_table_on_standard_output_is_csv(cli, saved, new_rows):
    done = cli("translate", saved, new_rows, "--from", "photo", "--to", "vector")
    assert list(pd.read_csv(io.StringIO(done.out)).columns) == ["vector", "how"]
    assert "train.losses.translate=1" in done.err, "the model's own training taught it nothing"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--from", "phoot", "--to", "note"], 2, ["--from phoot: no such modality", "'photo'"]),
        (["--from", "photo", "--to", "notes"], 2, ["--to notes: no such modality", "'note'"]),
        (["--from", "photo", "--to", "note", "--top", "0"], 2, ["--top 0", "1 or more"]),
        (["--from", ",", "--to", "note"], 2, ["--from: no modality is named"]),
        (
            ["--from", "note", "--to", "photo", "--against", "{bare}"],
            3,
            ["no row has photo to choose from"],
        ),
    ],
)
def test_a_wrong_translation_is_one_line_with_the_remedy(
    cli, saved, new_rows, tmp_path, arguments, code, words
):
    pd.read_parquet(new_rows)[["vector"]].to_parquet(tmp_path / "bare.parquet")
    said = [a.format(bare=tmp_path / "bare.parquet") for a in arguments]
    done = cli("translate", saved, new_rows, *said)
    assert (done.code, done.out) == (code, "")
    (line,) = done.err.splitlines()
    assert all(word in line for word in words), line


def test_a_model_that_cannot_translate_says_how_one_is_trained(
    cli, trained, shapes_file, new_rows, saved, tmp_path
):
    done = cli("translate", "none", shapes_file, "--from", "photo", "--to", "vector")
    assert done.code == 2
    assert "model.decoders=true train.losses.translate=1" in done.err
    folder = save_artifact(trained[0].model, tmp_path / "plain")
    done = cli("translate", folder, shapes_file, "--from", "note", "--to", "photo")
    assert done.code == 2
    assert "--to photo: this model has no decoder of it" in done.err
    assert "model.decoders=true train.losses.translate=1" in done.err and "--top K" in done.err
    assert cli("translate", folder, shapes_file, "--from", "note", "--to", "photo", "--top", 1).code == 0
    pd.read_parquet(new_rows)[["vector"]].to_parquet(tmp_path / "bare.parquet")
    done = cli("translate", saved, tmp_path / "bare.parquet", "--from", "photo,note", "--to", "vector")
    assert done.code == 3
    assert "no row has photo or note" in done.err
    generic = MetaLearner(data__target="label")._untrained(read_table(shapes_file, target="label"))
    with pytest.raises(OptionError, match="an untrained model has no shared space"):
        generic.translate(pd.read_parquet(shapes_file), "note", "photo")


def test_a_learner_that_moves_all_weights_leaves_decoders_alone(table):
    data = read_table(table, target="label", use=["vector", "age"])
    tree = {"learner": "meta_sgd", "model": {"dim": 8, "decoders": True}}
    model = run(parse(Experiment, BRIEF | tree), data).model
    assert any("decoders" in name for name in model.params)
    assert not any("decoders" in name for name in adapt(model, table.head(24)).state)
    assert not any(name.startswith("learner.") and "decoders" in name for name in model.params)
    assert model.translate(table, "vector", "age").how == ["decoded"] * len(table)


def test_a_model_with_decoders_decodes_the_same_bits_after_loading(shapes, tmp_path: Path):
    data = read_table(shapes, target="label")
    first = run(parse(Experiment, BRIEF | {"model": {"dim": 16, "decoders": True}}), data).model
    loaded = load_artifact(save_artifact(first, tmp_path / "m"))
    assert isinstance(loaded, MetaModel)
    inputs = first.inputs(data.rows(np.arange(10)))
    one, two = (m.engine.decode(m.params, m.engine.tokens(m.params, inputs)) for m in (first, loaded))
    assert {b for of in one.values() for b in of} == {"photo", "sound", "vector", "tabular"}
    assert all(torch.equal(x, two[a][b]) for a, of in one.items() for b, x in of.items())
