"""`encode` writes what would be computed in memory, whatever the size of chunks and shards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metamodal.data.dataset import read_table
from metamodal.data.features.encode import Preprocessor
from metamodal.data.features.reading import read_cells
from metamodal.data.features.shard_options import ShardOptions
from metamodal.data.features.shards import encode_table
from metamodal.data.roles import Roles
from metamodal.data.tables.source import open_source
from metamodal.errors import DataError, OutputError

ROLES = Roles(target="label")


@pytest.fixture
def gapped(shapes: pd.DataFrame) -> pd.DataFrame:
    frame = shapes.copy()
    frame["id"] = np.arange(len(frame)) % 7
    for column, step in (("photo", 5), ("note", 3), ("sound", 4)):
        frame.loc[::step, column] = None
    return frame


def _encode(frame: pd.DataFrame, out: Path, **options):
    settings = ShardOptions({}, {}, **options)
    return encode_table(open_source(frame), ROLES, out, settings)


@pytest.mark.parametrize("rows", [1, 37, 4096])
def test_shards_hold_the_features_that_a_model_computes_in_memory(
    gapped: pd.DataFrame, tmp_path: Path, rows: int
):
    done = _encode(gapped, tmp_path / "out", rows=rows)
    assert (done.rows, done.shards) == (len(gapped), -(-len(gapped) // rows))
    data = read_table(gapped, target="label")
    cells = read_cells(data)
    preprocessor = Preprocessor.fit(cells.rows(data.split().train))
    batch = preprocessor.features(preprocessor.encode(cells))
    found = open_source(tmp_path / "out").whole().frame
    assert found["label"].tolist() == gapped["label"].tolist()
    for name, expected in batch.inputs.items():
        assert [v is not None for v in found[name]] == batch.present[name].tolist()
        vectors = np.stack([v for v in found[name] if v is not None])
        np.testing.assert_allclose(vectors, expected[batch.present[name]].numpy(), atol=1e-6)
        assert vectors.shape[1] == done.widths[name]


def test_what_was_encoded_is_a_table_that_knows_its_roles(gapped: pd.DataFrame, tmp_path: Path):
    _encode(gapped, tmp_path / "out")
    data = read_table(tmp_path / "out")
    assert data.schema.target == "label"
    assert {k: kind for k, (kind, _) in data.schema.modalities.items()} == dict.fromkeys(
        ("photo", "sound", "note", "vector", "tabular"), "embedding"
    )


def test_a_second_run_computes_nothing_and_a_new_row_only_itself(gapped: pd.DataFrame, tmp_path: Path):
    gapped["note"] = gapped["note"] + " once"  # content that no other test has kept
    first = _encode(gapped, tmp_path / "a")
    again = _encode(gapped, tmp_path / "b")
    assert (again.computed, again.found) == (0, first.computed + first.found)
    for column in ("photo", "note", "tabular"):
        one, two = (open_source(tmp_path / name).whole().frame[column] for name in "ab")
        assert all((p is None and q is None) or np.array_equal(p, q) for p, q in zip(one, two))


def test_an_unreadable_cell_ends_it_and_leaves_nothing_behind(gapped: pd.DataFrame, tmp_path: Path):
    _encode(gapped, tmp_path / "out")
    before = sorted(p.name for p in tmp_path.iterdir())
    held = (tmp_path / "out" / "part-00000.parquet").read_bytes()
    gapped.loc[101, "photo"] = gapped.loc[101, "photo"][:50]
    with pytest.raises(DataError, match="DataFrame row 102, column photo: not a readable image"):
        _encode(gapped, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert (tmp_path / "out" / "part-00000.parquet").read_bytes() == held
    _encode(gapped, tmp_path / "out", unreadable="absent")
    assert open_source(tmp_path / "out").whole().frame["photo"][101] is None


def test_a_scalar_or_a_vector_that_does_not_fit_is_absent_in_the_shards_if_asked(
    gapped: pd.DataFrame, tmp_path: Path
):
    lines = gapped.astype(object)
    lines.at[101, "vector"], lines.at[103, "size"] = [1.0, 2.0], float("inf")
    roles, source = replace(ROLES, kinds={"vector": "embedding"}), open_source(lines)
    with pytest.raises(DataError, match=r"row 10[24], column (vector|size): "):
        encode_table(source, roles, tmp_path / "out", ShardOptions({}, {}))
    encode_table(source, roles, tmp_path / "out", ShardOptions({}, {}, "absent"))
    frame = open_source(tmp_path / "out").whole().frame
    assert frame["vector"][101] is None and frame["vector"][100] is not None
    assert frame["tabular"][103] is not None  # the row's other scalars are there


def test_a_folder_of_something_else_is_left_alone(gapped: pd.DataFrame, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("precious")
    (tmp_path / "metamodal.json").write_text('{"roles": {}}')  # a file of that name is no proof
    with pytest.raises(OutputError, match=r"did not write \(metamodal.json, mine.txt\)"):
        _encode(gapped, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metamodal.json", "mine.txt"]


def test_the_command_encodes_and_every_other_command_reads_what_it_wrote(
    shapes_file: Path, cli, tmp_path: Path
):
    out = tmp_path / "encoded"
    done = cli("encode", shapes_file, "--target", "label", "--out", out, "--rows", 50, "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["rows"] == 160 and document["shards"] == 4
    evaluated = cli("evaluate", "none", out, "--episodes", 10, "--json")
    assert json.loads(evaluated.out)["results"][0]["accuracy"]["mean"] > 0.5
    assert (
        cli(
            "train", out, "--out", tmp_path / "run", "--quiet", "train.steps=2", "train.validation.count=1"
        ).code
        == 0
    )


def test_kinds_are_fitted_to_training_rows_alone(tmp_path: Path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "v": [(rng.normal(size=3) + 100 * (i // 40)).tolist() for i in range(80)],
            "label": [f"c{i // 4}" for i in range(80)],
            "split": ["train"] * 40 + ["test"] * 40,
        }
    )
    encode_table(
        open_source(frame), Roles(target="label", split="split"), tmp_path / "o", ShardOptions({}, {})
    )
    vectors = np.stack(open_source(tmp_path / "o").whole().frame["v"][:40].tolist())
    assert (vectors > 0).any() and (vectors < 0).any()  # centred on the first forty, not between both halves
