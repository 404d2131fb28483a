"""The embedded letters: what the table promises, and what its cache survives."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from metamodal.data import glyphs
from metamodal.data.features.cache import cache_folder
from metamodal.data.glyphs import drawing
from metamodal.errors import DataError


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METAMODAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        return glyphs.read_glyphs()


@pytest.fixture
def few_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glyphs, "_is_wanted", lambda character: character in "aOოԱ")


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of the tables drawn, not read, in this test."""
    seeds: list[int] = []
    draw = glyphs._drawn
    monkeypatch.setattr(glyphs, "_drawn", lambda seed: seeds.append(seed) or draw(seed))
    return seeds


def pixels(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image)))


def test_every_role_is_a_column(table):
    roles = {**glyphs.GLYPHS_ROLES}
    modalities = roles.pop("use")
    assert set(table.columns) == {*modalities, *roles.values(), "face"}
    assert not table.isna().any(axis=None)


def test_there_are_many_classes_of_at_least_eight_rows(table):
    classes = table.groupby("script")["character"].nunique()
    least = {"Latin": 800, "Greek": 250, "Cyrillic": 180, "Georgian": 70, "Armenian": 70}
    assert all(classes[script] >= count for script, count in least.items())
    assert 1_500 < classes.sum() < 1_800
    assert table.groupby("character").size().min() >= 8
    assert not table.duplicated(["character", "face"]).any()


def test_a_script_is_in_one_split(table):
    splits = table.groupby("split")["script"].agg(lambda s: sorted(set(s)))
    assert splits.to_dict() == {
        "train": ["Greek", "Latin"],
        "valid": ["Cyrillic"],
        "test": ["Armenian", "Georgian"],
    }


def test_a_name_describes_its_character(table):
    names = table.groupby("character")["name"].unique()
    assert names["Ж"] == ["CYRILLIC CAPITAL LETTER ZHE"]
    assert names.map(len).eq(1).all()


def test_an_image_is_small_and_grey_with_ink_and_paper(table):
    images = np.stack([pixels(image) for image in table["image"]])
    assert images.shape[1:] == (32, 32)
    assert images.dtype == np.uint8
    assert (np.percentile(images, 1, axis=(1, 2)) < 128).all()
    assert (np.median(images, axis=(1, 2)) > 64).all()


def test_an_outline_lies_inside_the_frame(table):
    for outline in table["outline"]:
        points = np.array(outline)
        assert 8 <= len(points) <= 64
        assert points[:, :2].min() > 0
        assert points[:, :2].max() < 1


def test_the_contours_of_an_outline_are_numbered_in_order(table):
    for outline in table["outline"]:
        pens = [point[2] for point in outline]
        assert pens == sorted(pens)
        assert set(pens) == set(range(int(pens[-1]) + 1))


def test_points_are_even_along_a_contour(table):
    letter = table[(table["character"] == "o") & (table["face"] == "DejaVu Sans")]
    points = np.array(letter["outline"].item())
    for pen in (0, 1):
        contour = points[points[:, 2] == pen, :2]
        steps = np.hypot(*(contour - np.roll(contour, 1, axis=0)).T)
        assert steps.std() < 0.1 * steps.mean()


@pytest.mark.parametrize("character", ["l", "O", "Ж", "Ơ"])
def test_outline_and_image_show_the_same_drawing(table, character):
    for row in table[table["character"] == character].itertuples():
        image = pixels(row.image) < 128
        outline = np.array(row.outline)
        edges = Image.new("L", (32, 32))
        for pen in np.unique(outline[:, 2]):
            contour = outline[outline[:, 2] == pen, :2] * 32 - 0.5
            ImageDraw.Draw(edges).polygon(contour.ravel().tolist(), outline=1, fill=1)
        assert (image & ~(np.asarray(edges) > 0)).mean() < 0.02


def test_metrics_are_those_of_the_drawing(table):
    for row in table.iloc[::50].itertuples():
        outline = np.array(row.outline)[:, :2]
        box = [row.metrics["width"], row.metrics["height"]]
        np.testing.assert_allclose(np.ptp(outline, axis=0), box, atol=0.06)
        assert row.metrics["ink"] == pytest.approx(1 - pixels(row.image).mean() / 255, abs=0.06)


def test_a_round_letter_stays_roughly_round(table):
    letter = table[(table["character"] == "O") & ~table["face"].str.contains("Mono")]
    metrics = pd.DataFrame(letter["metrics"].tolist())
    assert (metrics["width"] / metrics["height"]).between(0.6, 1.6).all()


def test_metrics_vary_within_a_class(table):
    metrics = pd.DataFrame(table["metrics"].tolist())
    assert list(metrics) == ["width", "height", "advance", "ink"]
    for _, rows in metrics.groupby(table["character"]):
        assert (rows.nunique() > len(rows) / 2).all()


def test_no_face_draws_two_letters_of_a_script_alike():
    seen = set()
    for character, by_face in glyphs._told_apart(glyphs._glyphs()).items():
        for face, glyph in by_face.items():
            x, y = glyph.vertices.T
            corners = frozenset(zip((x - x.min()).round(3), y.round(3), strict=True))
            assert (glyphs._script(character), face, corners) not in seen
            seen.add((glyphs._script(character), face, corners))


@pytest.mark.parametrize("character", ["\ufb01", "\u2090", "\u1f71", "\u017f", "\u0559", "א", "1", "\x00"])
def test_what_is_no_letter_of_its_own_is_left_out(character):
    assert not glyphs._is_wanted(character)


def test_overlapping_contours_leave_no_hole():
    square = np.array([[0.1, 0.1], [0.6, 0.1], [0.6, 0.6], [0.1, 0.6]])
    lines = drawing._Lines(np.concatenate([square, square + 0.25]), np.array([0, 4]), np.array([0]))
    (coverage,) = drawing._coverages(lines)
    assert coverage[15, 15] == 1
    assert coverage.mean() == pytest.approx(2 * 0.5**2 - 0.25**2, abs=0.03)


def test_a_contour_against_the_other_is_a_hole():
    square = np.array([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]])
    hole = 0.5 + (square[::-1] - 0.5) / 2
    lines = drawing._Lines(np.concatenate([square, hole]), np.array([0, 4]), np.array([0]))
    (coverage,) = drawing._coverages(lines)
    assert coverage[16, 16] == 0
    assert coverage.mean() == pytest.approx(0.64 - 0.16, abs=0.03)


@pytest.mark.parametrize("by", [-0.05, 0.0, 0.05])
@pytest.mark.parametrize("way", [1, -1])
def test_thickening_moves_every_edge_outward(by, way):
    angle = way * np.linspace(0, 2 * np.pi, 60, endpoint=False)
    circle = 0.3 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lines = drawing._Lines(circle, np.array([0]), np.array([0]))
    thick = drawing._thickened(lines, np.array([by]))
    np.testing.assert_allclose(np.hypot(*thick.points.T), 0.3 + by, atol=1e-6)


def test_curves_are_drawn_as_curves():
    # y = x² from -1 to 1 is a quadratic Bézier with its middle at (0, -1).
    vertices = np.array([[-1.0, 1], [0, -1], [1, 1], [-1, 1]])
    lines = drawing._traced([drawing.Glyph(vertices, np.array([1, 3, 3, 2]), 1.0)])
    x, y = lines.points[:5].T
    np.testing.assert_allclose(x, [-1, -0.5, 0, 0.5, 1])
    np.testing.assert_allclose(y, x**2)
    np.testing.assert_allclose(lines.points[5:, 1], 1)


def test_a_contour_of_one_point_is_no_contour():
    vertices = np.array([[0.0, 0], [0, 0], [0, 0], [1, 0], [0, 1], [0, 0]])
    lines = drawing._traced([drawing.Glyph(vertices, np.array([1, 2, 1, 2, 2, 2]), 1.0)] * 2)
    assert lines.contours.tolist() == [0, 12]
    assert lines.drawings.tolist() == [0, 1]


@pytest.mark.usefixtures("few_letters")
def test_the_same_seed_gives_the_same_table(tmp_path: Path):
    first, second = (glyphs.read_glyphs(3, tmp_path / name) for name in "ab")
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.usefixtures("few_letters")
def test_another_seed_gives_other_drawings_of_the_same_letters(tmp_path: Path):
    first, second = (glyphs.read_glyphs(seed, tmp_path) for seed in (0, 1))
    assert (first["character"] == second["character"]).all()
    for column in ("image", "outline", "metrics"):
        assert all(not np.array_equal(a, b) for a, b in zip(first[column], second[column], strict=True))


@pytest.mark.usefixtures("few_letters")
def test_a_row_does_not_depend_on_the_other_rows(tmp_path: Path, table: pd.DataFrame):
    alone = glyphs.read_glyphs(0, tmp_path)
    among = table[table["character"].isin(set("aOოԱ"))].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, among)


@pytest.mark.usefixtures("few_letters")
def test_the_cache_is_read_the_second_time(tmp_path: Path, drawings: list[int]):
    drawn, read = glyphs.read_glyphs(0, tmp_path), glyphs.read_glyphs(0, tmp_path)
    assert drawings == [0]
    pd.testing.assert_frame_equal(drawn, read)
    assert read["outline"][0].shape[1] == 3
    assert [p.suffix for p in tmp_path.iterdir()] == [".parquet"]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 3
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


DAMAGE = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "one byte flipped": flipped,
    "another file": lambda content: b"not a table",
}


@pytest.mark.usefixtures("few_letters")
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_cache_is_drawn_again(tmp_path: Path, drawings: list[int], damage):
    sound = glyphs.read_glyphs(0, tmp_path)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    file.write_bytes(damage(content))
    pd.testing.assert_frame_equal(glyphs.read_glyphs(0, tmp_path), sound)
    assert file.read_bytes() == content
    assert drawings == [0, 0]


@pytest.mark.usefixtures("few_letters")
def test_a_table_of_other_columns_is_no_cache(tmp_path: Path, drawings: list[int]):
    glyphs.read_glyphs(0, tmp_path)
    (file,) = tmp_path.iterdir()
    pd.DataFrame({"image": [b""]}).to_parquet(file)
    assert len(glyphs.read_glyphs(0, tmp_path)) > 1
    assert drawings == [0, 0]


@pytest.mark.usefixtures("few_letters")
def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert len(glyphs.read_glyphs(0, blocked / "cache")) > 0


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"METAMODAL_CACHE": "/own", "XDG_CACHE_HOME": "/shared"}, "/own"),
        ({"XDG_CACHE_HOME": "/shared"}, "/shared/metamodal"),
        ({"HOME": "/home/ada"}, "/home/ada/.cache/metamodal"),
        ({"XDG_CACHE_HOME": "here"}, "/dev/null/metamodal"),
    ],
)
def test_the_cache_folder_is_the_most_particular_named(monkeypatch, environment, expected):
    for name in ("METAMODAL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def test_missing_fonts_are_reported(monkeypatch, tmp_path: Path):
    monkeypatch.setattr("matplotlib.get_data_path", lambda: str(tmp_path))
    with pytest.raises(DataError, match=r"DejaVuSans\.ttf: does not exist \(install matplotlib"):
        glyphs.read_glyphs(0, tmp_path)
