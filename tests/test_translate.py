"""Decoders, what is lost in them, and translation: from any modalities to any other."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from conftest import png
from metamodal.artifact import load_artifact, save_artifact
from metamodal.config import parse
from metamodal.data.dataset import read_table
from metamodal.data.modalities import modalities
from metamodal.data.modalities.protocol import Invertible
from metamodal.experiment import Experiment, run
from metamodal.mappings.decoders import decoders
from metamodal.mappings.model import Model, build_model
from metamodal.mappings.objectives import reconstruction, translation
from metamodal.predictor import MetaModel
from metamodal.types import Batch, Space

SHAPES = {"image": (3, 20, 20), "series": (3, 17), "tabular": (5,), "embedding": (7,)}


def read(kind: str, cells: list, **options):
    values = [modalities[kind].read(cell, Path()) for cell in cells]
    fitted = modalities[kind].fit(values, **options)
    return fitted, fitted.tensor(values)


def again(fitted, x: Tensor) -> Tensor:
    return fitted.tensor([type(fitted).read(cell, Path()) for cell in fitted.cells(x)])


def test_what_has_a_decoder_can_be_turned_back_into_cells():
    assert set(decoders) == {"image", "series", "tabular", "embedding"}
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
    return build_model(spaces, fusion="attention", dim=16, decoders=decoders)


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
    stacked = tokens.take(torch.arange(6).reshape(2, 3))
    again = net(stacked, stage="decode")["text"]["image"]
    torch.testing.assert_close(again.flatten(0, 1), found["text"]["image"])


def test_decoders_change_nothing_of_the_rest_of_a_model():
    with_them, without = model().state_dict(), model(decoders=False).state_dict()
    assert all(torch.equal(v, with_them[k]) for k, v in without.items())
    assert {k.split(".")[0] for k in set(with_them) - set(without)} == {"decoders"}
    assert model(decoders=False)(rows(), stage="decode") == dict.fromkeys([*SHAPES, "text"], {})


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


def translating(hidden, steps: int = 150) -> MetaModel:
    """A model with decoders, trained to translate by a loop of this test."""
    data = read_table(hidden, target="label")
    brief = {"steps": 1, "budget": 60.0, "way": 5, "valid_episodes": 2}
    tree = {"learner": "prototypes", "model": {"dim": 16, "decoders": True}, "train": brief}
    trained = run(parse(Experiment, tree), data).model
    batch = trained.inputs(data)
    params = {k: v.clone().requires_grad_() for k, v in trained.params.items()}
    optimiser = torch.optim.Adam(params.values(), lr=3e-3)
    for _ in range(steps):
        decoded = trained.engine.decode(params, trained.engine.tokens(params, batch))
        said = (decoded, batch.inputs, batch.present)
        loss = translation(*said) + 0.1 * reconstruction(*said)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    from dataclasses import replace

    return replace(trained, params={k: v.detach() for k, v in params.items()})


def test_a_model_with_decoders_decodes_the_same_bits_after_loading(shapes, tmp_path: Path):
    data = read_table(shapes, target="label")
    brief = {"steps": 2, "budget": 60.0, "way": 5, "valid_episodes": 2}
    tree = {"learner": "prototypes", "model": {"dim": 16, "decoders": True}, "train": brief}
    first = run(parse(Experiment, tree), data).model
    loaded = load_artifact(save_artifact(first, tmp_path / "m"))
    assert isinstance(loaded, MetaModel)
    inputs = first.inputs(data.rows(np.arange(10)))
    one, two = (m.engine.decode(m.params, m.engine.tokens(m.params, inputs)) for m in (first, loaded))
    assert {b for of in one.values() for b in of} == {"photo", "sound", "vector", "tabular"}
    assert all(torch.equal(x, two[a][b]) for a, of in one.items() for b, x in of.items())
