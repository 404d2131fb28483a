"""Points and graphs: no order among points or nodes; and the neighbourhoods of a knowledge graph."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

import media
from metamodal.data.dataset import read_table
from metamodal.data.features.encode import Preprocessor, read_cells
from metamodal.data.modalities import Graph, Points
from metamodal.data.modalities.protocol import CellError
from metamodal.data.tables.triples import Triples
from metamodal.errors import DataError, OptionError
from metamodal.mappings.encoders import encoders

BASE = Path(__file__).parent
RNG = np.random.default_rng(0)
CLOUD = RNG.normal(size=(30, 3)).astype(np.float32)


def cloud(cell):
    return Points.read(cell, BASE)


def graph(cell):
    return Graph.read(cell, BASE)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(30)))
def test_the_order_of_points_does_not_matter(order: list[int]):
    for count in (64, 12):
        points = Points.fit([cloud(CLOUD)], count=count)
        one, two = points.tensor([cloud(CLOUD)]), points.tensor([cloud(CLOUD[order])])
        assert torch.equal(one, two)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(16)))
def test_encoder_and_features_of_points_do_not_see_their_order(order: list[int]):
    torch.manual_seed(0)
    points = Points.fit([cloud(CLOUD)], count=16)
    x = points.tensor([cloud(CLOUD), cloud(CLOUD[:9])])
    shuffled = x[:, order]
    encoder = encoders["points"](points.shape, 16)
    torch.testing.assert_close(encoder(x), encoder(shuffled), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(points.features(x), points.features(shuffled), atol=1e-5, rtol=1e-4)


def test_place_and_size_of_a_cloud_are_taken_out_and_the_size_is_kept_beside():
    small, large = cloud(CLOUD), cloud(CLOUD * 10 + [5, -3, 2])
    points = Points.fit([small, large])
    x = points.tensor([small, large])
    torch.testing.assert_close(x[0, :, :3], x[1, :, :3], atol=1e-4, rtol=0)
    assert x[0, 0, -2] < 0 < x[1, 0, -2]
    torch.testing.assert_close(x[0, :, :3].square().sum(1).mean(), torch.tensor(1.0))


def test_points_far_apart_are_kept_of_a_large_cloud():
    crowd = np.concatenate([RNG.normal(0, 0.01, (500, 3)), np.eye(3) * 4])
    points = Points.fit([cloud(crowd)], count=8)
    kept = points.tensor([cloud(crowd)])[0, :, :3]
    assert (kept.norm(dim=1) > 3).sum() == 3


BOX = trimesh.creation.box()


@pytest.mark.parametrize(
    "cell",
    [
        CLOUD,
        CLOUD.tolist(),
        media.npy(CLOUD),
        media.ply(CLOUD),
        media.ply(CLOUD, binary=False),
        "\n".join(" ".join(map(str, p)) for p in CLOUD).encode(),
        ("30\n" + "\n".join(",".join(map(str, p)) for p in CLOUD)).encode(),
    ],
)
def test_every_form_of_cloud_is_the_same_cloud(cell):
    np.testing.assert_allclose(cloud(cell), cloud(CLOUD), atol=1e-5)


@pytest.mark.parametrize("name", ["ply", "off", "obj", "stl", "stl_ascii"])
def test_a_mesh_gives_points_on_its_surface_the_same_each_time(name: str):
    data = BOX.export(file_type=name)
    data = data.encode() if isinstance(data, str) else data
    points = cloud(data)
    assert len(points) == 2048
    np.testing.assert_allclose(np.abs(points).max(1), 0.5, atol=1e-5)
    assert np.array_equal(points, cloud(data))


def test_without_trimesh_a_mesh_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(OptionError, match=r"pip install 'metamodal\[points\]'"):
        cloud(media.ply(CLOUD))
    assert len(cloud(media.npy(CLOUD))) == 30


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (media.ply(CLOUD)[:-40], "not a readable PLY file"),
        (media.ply(CLOUD, binary=False).rsplit(b"\n", 9)[0], "cut short: .* of 30 points are there"),
        (b"ply\nformat ascii 1.0\nelement vertex 999999999\nend_header\n", "999999999 points in"),
        (b"1 2 3\n4 5\n", "no lines of as many numbers"),
        ([[1.0, 2.0], [3.0]], "one length"),
        ([[1.0], [2.0]], "is no point cloud"),
        ([[1.0, float("nan")]], "point 0, column 1 is nan"),
        ([], "is no point cloud"),
    ],
)
def test_a_bad_cloud_says_what_is_wrong(cell, message: str):
    with pytest.raises(CellError, match=message):
        cloud(cell)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cloud", "points"),
        ("point_cloud", "points"),
        ("Lidar_2", "points"),
        ("keypoints", "series"),
        ("x", "series"),
    ],
)
def test_a_column_of_steps_is_points_only_if_its_name_says_so(name: str, kind: str):
    frame = pd.DataFrame({name: [RNG.normal(size=(n, 3)).tolist() for n in (4, 5, 6)]})
    column = read_table(frame).schema.columns[0]
    assert column.kind == kind
    assert ("by its name, points" in column.evidence) == (kind == "points")


WHEEL = media.wheel(7)


def reordered(cell: dict, order: list[int]) -> dict:
    place = {old: new for new, old in enumerate(order)}
    edges = [[place[i], place[j], w] for i, j, w in cell["edges"]]
    return cell | {"nodes": [cell["nodes"][i] for i in order], "edges": edges}


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(8)))
def test_encoder_and_features_of_graphs_do_not_see_the_order_of_nodes(order: list[int]):
    torch.manual_seed(0)
    values = [graph(WHEEL), graph(reordered(WHEEL, order)), graph(media.wheel(3))]
    fitted = Graph.fit(values, nodes=10)
    x = fitted.tensor(values)
    encoder = encoders["graph"](fitted.shape, 16)
    for of in (encoder, fitted.features):
        one, two, other = of(x)
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(one, other, atol=1e-3)


def test_a_graph_s_row_holds_features_mask_and_adjacency():
    cell = {"nodes": [[1.0], [3.0]], "edges": [[0, 1, 2.0], [1, 1, 4.0]]}
    fitted = Graph.fit([graph(cell), graph(cell | {"nodes": [[1.0], [3.0], [2.0]]})])
    x = fitted.tensor([graph(cell)])[0]
    assert x.shape == (3, 3 + 1 + 3)
    np.testing.assert_allclose(x[:2, 0], [-1.118, 1.118], atol=1e-3)
    np.testing.assert_allclose(x[:2, 1:3], np.log1p([[1, 0], [1, 2]]), atol=1e-5)
    assert x[:, 3].tolist() == [1, 1, 0]
    np.testing.assert_allclose(x[:, 4:], np.array([[0, 2, 0], [0, 4, 0], [0, 0, 0]]) / 3, atol=1e-6)
    assert x[2].abs().sum() == 0


def test_of_a_larger_graph_the_nodes_with_most_edges_are_kept():
    fitted = Graph.fit([graph(media.wheel(3))])
    x = fitted.tensor(
        [graph({"nodes": [[0.0, float(i)] for i in range(9)], "edges": [[i, 8] for i in range(8)]})]
    )
    assert x.shape[1] == 4
    assert (x[0, :, -1] > 0).tolist() == [True, True, True, False]


def test_labels_are_one_hot_and_a_count_alone_makes_a_graph():
    labelled = [graph({"nodes": ["C", "C", "O"], "edges": [[0, 1], [1, 2]]})]
    fitted = Graph.fit(labelled)
    assert fitted.labels == ("C", "O")
    x = fitted.tensor([graph({"nodes": ["O", "N"], "edges": []})])[0]
    assert x[:2, :3].tolist() == [[0, 1, 0], [0, 0, 1]]
    bare = Graph.fit([graph({"nodes": 4, "edges": [[0, 3]]})])
    assert bare.shape == (4, 2 + 1 + 4)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"nodes": 2, "edges": [[0, 2]]}, r"edge 0 is \[0.0, 2.0\], and the nodes are 0 to 1"),
        ({"nodes": 2, "edges": [[0, -1]]}, "edge 0 is"),
        ({"nodes": 2, "edges": [[0, 0.5]]}, "edge 0 is"),
        ({"nodes": 2, "edges": [[0, 1, float("nan")]]}, "the weight of edge 0 is nan"),
        ({"nodes": 2, "edges": [[0]]}, r"must be \[i, j\]"),
        ({"nodes": 2, "edges": [["a", "b"]]}, r"must be \[i, j\]"),
        ({"nodes": 2, "edges": [[0, 1]], "types": []}, "0 types for 1 edges"),
        ({"nodes": 0, "edges": []}, "0 nodes"),
        ({"nodes": 10**9, "edges": []}, "1000000000 nodes"),
        ({"nodes": [[1.0], [2.0, 3.0]], "edges": []}, "as many numbers each"),
        ({"nodes": [[1.0], [float("inf")]], "edges": []}, "finite"),
        ({"edges": [[0, 1]]}, "a graph needs nodes"),
        ({"nodes": 2}, "a graph needs edges"),
        ("x", "str is no graph"),
    ],
)
def test_a_bad_graph_says_what_is_wrong(cell, message: str):
    with pytest.raises(CellError, match=message):
        graph(cell)


FAMILY = [
    ("ann", "parent", "bob"),
    ("bob", "parent", "cid"),
    ("bob", "likes", "ann"),
    ("dan", "likes", "ann"),
]


def test_a_neighbourhood_starts_at_its_entity_and_reaches_two_steps():
    found = Triples(FAMILY).around("cid", frozenset())
    assert found.centre == 0
    assert found.size == 3  # cid, bob, ann; dan is three steps off
    assert found.features[:, 0].tolist() == [1, 0, 0]
    assert found.edges.tolist() == [[1, 0], [1, 2], [2, 1]]


def test_edges_to_the_row_s_other_entities_are_left_out():
    triples = Triples(FAMILY)
    open_, hidden = triples.around("ann", frozenset()), triples.around("ann", frozenset({"bob"}))
    assert (open_.size, hidden.size) == (4, 2)
    assert hidden.features[0, 1:].sum() < open_.features[0, 1:].sum()


@pytest.fixture
def family(tmp_path: Path) -> Path:
    path = tmp_path / "family.csv"
    pd.DataFrame(FAMILY, columns=["head", "relation", "tail"]).to_csv(path, index=False)
    return path


KINDS = {"head": "graph", "tail": "graph"}


def test_a_table_of_entities_is_read_with_its_triples(family: Path):
    data = read_table(family, target="relation", kinds=KINDS, triples=str(family))
    cells = read_cells(data)
    x = Preprocessor.fit(cells).encode(cells)
    assert x.inputs["head"].isfinite().all()
    assert data.schema.to_roles().triples == str(family)
    assert cells.values["head"][0].size == 2  # ann without bob: dan


def test_entities_without_triples_name_the_option(family: Path):
    with pytest.raises(OptionError, match="Name the file of their relations: --triples FILE"):
        read_cells(read_table(family, target="relation", kinds=KINDS))
    with pytest.raises(OptionError, match="no column is a graph. Pass --kind COLUMN=graph"):
        read_table(family, target="relation", triples=str(family))


def test_an_unknown_entity_is_an_error_with_a_suggestion(family: Path):
    frame = pd.DataFrame({"head": ["ann", "bobb"], "label": ["a", "b"]})
    data = read_table(frame, target="label", kinds={"head": "graph"}, triples=str(family))
    with pytest.raises(
        DataError, match="row 2, column head: 'bobb' is no entity of family.csv. Did you mean 'bob'?"
    ):
        read_cells(data)


def test_only_train_rows_of_a_split_are_known_and_columns_must_be_there(tmp_path: Path):
    path = tmp_path / "t.csv"
    frame = pd.DataFrame(FAMILY, columns=["head", "relation", "tail"])
    frame.assign(split=["train"] * 3 + ["test"]).to_csv(path, index=False)
    data = read_table(path, target="relation", kinds=KINDS, triples="t.csv", split="split")
    assert data.triples.entities == {"ann", "bob", "cid"}
    frame.rename(columns={"tail": "tial"}).to_csv(path, index=False)
    with pytest.raises(DataError, match="triples need a column 'tail'. Did you mean 'tial'?"):
        read_table(frame, kinds={"head": "graph"}, triples=str(path))


def test_the_real_triples_encode(shared):
    table = str(shared / "kg_umls.parquet")
    data = read_table(table, target="relation", split="split", kinds=KINDS, triples=table)
    rows = data.train.rows(np.arange(300))
    cells = read_cells(rows)
    batch = Preprocessor.fit(cells).encode(cells)
    for name in KINDS:
        assert batch.present[name].all()
        assert batch.inputs[name].isfinite().all()
