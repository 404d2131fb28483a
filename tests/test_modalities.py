"""The contract of every kind of modality, and what is particular to each."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from conftest import png
from metamodal.data.dataset import read_table
from metamodal.data.encode import Preprocessor, _tuples
from metamodal.data.modalities import Embedding, Image, Series, Tabular, Text, modalities
from metamodal.data.modalities.protocol import CellError
from metamodal.data.reading import read_cells
from metamodal.errors import DataError, MetamodalError, OptionError

RNG = np.random.default_rng(0)
GOOD = {
    "image": [png(RNG.integers(0, 255, (20, 16), dtype=np.uint8)) for _ in range(6)],
    "series": [RNG.normal(size=(n, 3)).tolist() for n in (5, 9, 30, 2, 1, 12)],
    "text": ["a cat", "ein Hund", "ένα πουλί", "一条鱼", "a cat and a dog", "."],
    "tabular": [{"a": float(i), "b": "xyz"[i % 3], "c": None if i % 2 else True} for i in range(6)],
    "embedding": [RNG.normal(size=7).tolist() for _ in range(6)],
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


def test_features_are_vectors_of_length_one_at_most(kind: str):
    modality, values = fitted(kind)
    features = modality.features(modality.tensor(values))
    assert features.dim() == 2
    assert features.isfinite().all()
    assert (features.norm(dim=1) <= 1 + 1e-5).all()


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
    again = modalities[kind](**_tuples(record))
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


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_png_is_read_or_refused_but_never_crashes(at: int, byte: int):
    data = bytearray(GOOD["image"][0])
    data[at % len(data)] = byte
    try:
        Image.read(bytes(data), BASE)
    except CellError as error:
        assert "Replace the cell or leave it empty" in str(error) or "Shrink it" in str(error)


def encoded(picture: PIL.Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def test_a_truncated_image_is_refused():
    whole = encoded(PIL.Image.fromarray(RNG.integers(0, 255, (64, 64), dtype=np.uint8)), "PNG")
    with pytest.raises(CellError, match="not a readable image"):
        Image.read(whole[: len(whole) // 2], BASE)


def test_exif_rotation_is_applied():
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:, :4] = 255
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    turned = Image.read(encoded(PIL.Image.fromarray(pixels), "PNG", exif=exif), BASE)
    assert turned.shape == (16, 8)
    assert turned[:3].mean() > 250
    assert turned[8:].mean() < 5


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_pixel_mode_reads_to_its_grey_levels(mode: str):
    grey = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)
    picture = PIL.Image.fromarray(grey)
    if mode == "I;16":
        picture = PIL.Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        picture = picture.convert(mode)
    read = Image.read(encoded(picture, "TIFF" if mode in ("CMYK", "I;16") else "PNG"), BASE)
    expected = np.where(grey > 127, 255, 0) if mode == "1" else grey
    tolerance = 130 if mode == "1" else 2  # black and white is dithered
    assert read.shape == (8, 8)
    assert np.abs(read.astype(int) - expected).mean() <= tolerance


def test_what_is_transparent_is_white():
    clear = PIL.Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert (Image.read(encoded(clear, "PNG"), BASE) == 255).all()


def test_an_image_beyond_the_cap_is_refused_before_it_is_decoded():
    data = bytearray(encoded(PIL.Image.new("L", (1, 1)), "PNG"))
    data[16:24] = (40_000).to_bytes(4, "big") * 2
    crc = __import__("zlib").crc32(data[12:29])
    data[29:33] = crc.to_bytes(4, "big")
    with pytest.raises(CellError, match="above the cap"):
        Image.read(bytes(data), BASE)


def test_a_path_is_relative_to_the_table(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(GOOD["image"][0])
    assert Image.read("a.png", tmp_path).shape == (20, 16)
    with pytest.raises(CellError, match="'b.png' does not exist \\(paths are relative to the table\\)"):
        Image.read("b.png", tmp_path)


def test_a_constant_speed_change_of_a_series_resamples_to_the_same_course():
    t = np.linspace(0, 1, 200)[:, None]
    slow, fast = np.sin(6 * t), np.sin(6 * t[::2])
    series = Series.fit([slow, fast], length=50)
    a, b = series.tensor([slow, fast])[:, 0]
    assert (a - b).abs().max() < 0.05


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([[1.0, 2.0], [3.0]], "one length"),
        ([[1.0], [float("nan")]], "step 1, channel 0 is nan"),
        (["C", "A"], "steps are words"),
        ([], "is no series"),
    ],
)
def test_a_bad_series_says_what_is_wrong(cell, message: str):
    with pytest.raises(CellError, match=message):
        Series.read(cell, BASE)


def test_a_series_of_other_channels_is_refused():
    series = Series.fit([np.zeros((4, 3))])
    with pytest.raises(CellError, match="2 channels where the others have 3"):
        series.tensor([np.zeros((4, 2), np.float32)])


def test_equal_texts_are_equal_and_like_texts_are_near():
    text = Text.fit(GOOD["text"])
    x = text.tensor(["the red house", "the red houses", "quantum flux"])
    assert x[0] @ x[1] > 0.8
    assert abs(x[0] @ x[2]) < 0.3


def test_an_absent_number_an_unseen_and_an_absent_category_are_zeros():
    tabular = Tabular.fit([{"n": 1.0, "c": "a"}, {"n": 3.0, "c": "b"}])
    assert tabular.tensor([{"n": None, "c": "z"}, {}]).abs().sum() == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "inf"])
def test_a_number_that_is_not_finite_is_refused(value):
    with pytest.raises(CellError, match="Give a finite number"):
        Tabular.read({"x": value}, BASE)


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


def test_a_kind_that_cannot_be_read_yet_says_so(shapes):
    frame = shapes.copy()
    frame["clip"] = [b"RIFF1234WAVEfmt " + bytes([i]) for i in range(len(frame))]
    with pytest.raises(OptionError, match="column clip: audio cannot be read by this version"):
        read_cells(read_table(frame, target="label"))


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
