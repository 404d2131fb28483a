"""An audit finds what was planted, cell by cell, and nothing in a table that is sound."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

import metamodal as mm
from conftest import shapes_table
from damaged import Damage, as_parquet, parquet_damages, photo, sound_frame, text_damages, wav, with_cell
from metamodal.app.parser import parser
from metamodal.data.audit import Audit, Balance, Finding
from metamodal.data.audit.labels import _chi_square, _holm, _tested
from metamodal.data.modalities import modalities
from metamodal.errors import MetamodalError, OptionError
from metamodal.reporting.audit_page import write_audit
from pages import Page

ONES = [
    *(
        "truncated JPEG",
        "truncated PNG",
        "huge PNG",
        "foreign bytes",
        "NaN",
        "infinity",
        "infinity in a vector",
    ),
    *("NaN in a vector", "label NA", "label None", "label of nothing", "repeated id", "truncated WAV"),
    *(
        "header-only WAV",
        "half an hour of FLAC",
        "wrong path",
        "path outside",
        "no path",
        "word among numbers",
    ),
    *("NaN as text", "infinity as text", "too many cells", "too few cells", "label in CSV", "no JSON"),
    *("no object", "two kinds"),
]


@pytest.fixture(scope="module")
def damages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Damage]:
    folder = tmp_path_factory.mktemp("damaged") / "tables"
    folder.mkdir()
    return parquet_damages(folder) | text_damages(folder)


def of(audit: Audit, what: str) -> list[Finding]:
    return [f for f in audit.findings if f.what == what]


@pytest.mark.parametrize("name", ONES)
def test_each_damage_is_told_with_its_row_and_column_and_nothing_else_is(cli, damages, name: str):
    damage = damages[name]
    if ("WAV" in name or "FLAC" in name) and "audio" not in modalities:
        pytest.skip("audio cannot be read by this version")
    done = cli("audit", damage.path, "--target", "kind", "--json")
    assert done.code == 3
    document = json.loads(done.out)
    assert document["ok"] is False
    (problem,) = document["problems"]
    assert (problem["what"], problem["row"], problem["column"]) == (damage.what, damage.row, damage.column)
    assert damage.words in problem["reason"]
    assert problem["remedy"]
    assert f"row {damage.row}: " in done.err
    unreadable = sum(c["unreadable"] for c in document["columns"])
    assert unreadable == (damage.what in ("kind", "unreadable"))


def test_every_bad_cell_is_listed_and_the_text_cuts_the_list(cli, tmp_path: Path):
    frame = sound_frame(40)
    for row in range(1, 31):
        frame = with_cell(frame, row, "photo", photo(row)[:200])
    frame = with_cell(with_cell(frame, 2, "size", "tall"), 3, "kind", "NA").drop(columns="size")
    path = as_parquet(frame, tmp_path / "t.parquet")
    done = cli("audit", path, "--target", "kind", "--json")
    problems = json.loads(done.out)["problems"]
    assert [p["row"] for p in problems if p["column"] == "photo"] == list(range(1, 31))
    assert [p["row"] for p in problems if p["column"] == "kind"] == [3]
    assert done.err.count("not a readable image") == 20
    assert "and 10 more" in done.err


def test_bad_cells_are_in_order_of_columns_and_rows_however_many_chunks_there_are():
    frame = pd.DataFrame({"a": ["x.png"] * 600, "b": ["y.png"] * 600, "c": range(600)})
    faults = [(f.problem.column, f.problem.row) for f in mm.audit(frame).faults]
    assert faults == [(c, row) for c in ("a", "b") for row in range(1, 601)]


def test_nothing_is_filled_in(damages):
    audit = mm.audit(damages["truncated JPEG"].path, target="kind")
    assert audit.dataset.frame["photo"].iloc[6] == photo(6)[:300]
    (photos,) = [s for s in audit.states if s.name == "photo"]
    assert (photos.present, photos.absent, photos.unreadable) == (23, 0, 1)


def test_the_other_rows_are_audited_where_one_cannot_be_parsed(damages):
    audit = mm.audit(damages["too many cells"].path, target="kind")
    assert len(audit.dataset) == 11
    assert audit.dataset.numbers.tolist() == [*range(1, 7), *range(8, 13)]
    assert all(s.present == 11 for s in audit.states)


def test_a_sound_table_has_no_problem_and_no_warning(cli, tmp_path: Path):
    frame = (
        shapes_table(classes=6, rows=12).drop(columns="sound").assign(colour=["red", "blue", "green"] * 24)
    )
    path = tmp_path / "t.parquet"
    frame.to_parquet(path)
    done = cli("audit", path, "--target", "label", "--json")
    document = json.loads(done.out)
    assert done.code == 0
    assert document["problems"] == document["findings"] == document["notes"] == []
    assert "problems: none" in done.err
    assert "warnings: none" in done.err


def test_several_infinities_are_limits_of_detection_and_one_is_a_bad_cell(tmp_path: Path):
    frame = with_cell(sound_frame(), 4, "size", math.inf)
    assert [f.problem.row for f in mm.audit(as_parquet(frame, tmp_path / "a.parquet")).faults] == [4]
    audit = mm.audit(as_parquet(with_cell(frame, 9, "size", -math.inf), tmp_path / "b.parquet"))
    assert audit.ok
    (finding,) = of(audit, "beyond_limits")
    assert finding.rows == ((4,), (9,))
    assert finding.facts == {"above": 1, "below": 1}


def test_ids_may_repeat_where_the_column_means_an_entity():
    frame = sound_frame().assign(
        patient_id=[f"p{i // 3}" for i in range(24)], patient=[i // 3 for i in range(24)]
    )
    assert mm.audit(frame, target="kind").ok
    repeated = with_cell(with_cell(frame, 9, "case_id", "case-000"), 12, "case_id", "case-000")
    faults = mm.audit(repeated, target="kind").faults
    assert [(f.what, f.problem.row, f.problem.column) for f in faults] == [
        ("id", 9, "case_id"),
        ("id", 12, "case_id"),
    ]


def test_planted_duplicates_are_found_and_only_they():
    frame = sound_frame(40)
    frame = with_cell(with_cell(frame, 30, "photo", frame["photo"][4]), 31, "photo", frame["photo"][4])
    frame = with_cell(
        with_cell(frame, 33, "photo", frame["photo"][9]), 35, "note", frame["note"][1].upper() + "!"
    )
    frame.loc[39] = frame.loc[20]
    audit = mm.audit(frame, target="kind")
    found = {(f.what, f.column): f.rows for f in audit.findings if "duplicate" in f.what}
    assert found == {
        ("duplicate_rows", None): ((21, 40),),
        ("duplicate_content", "photo"): ((5, 30, 31), (10, 33), (21, 40)),
        ("duplicate_content", "note"): ((2, 35), (21, 40)),
        ("duplicate_content", "vector"): ((21, 40),),
    }


def test_pictures_saved_anew_are_near_duplicates():
    frame = sound_frame(40)
    smaller = io.BytesIO()
    PIL.Image.open(io.BytesIO(frame["photo"][7])).resize((40, 40)).save(smaller, "PNG")
    frame = with_cell(with_cell(frame, 30, "photo", photo(3, quality=60)), 31, "photo", smaller.getvalue())
    (found,) = of(mm.audit(frame), "near_duplicates")
    assert sorted(found.rows) == [(4, 30), (8, 31)]


def test_sounds_saved_anew_are_near_duplicates():
    if "audio" not in modalities:
        pytest.skip("audio cannot be read by this version")
    clips = [wav(i) for i in range(40)]
    samples = np.frombuffer(clips[5][44:], "<i2")
    clips[30] = clips[5][:44] + (samples * 0.7).astype("<i2").tobytes()
    clips[31] = clips[8]
    audit = mm.audit(sound_frame(40).assign(clip=clips))
    assert [f.rows for f in of(audit, "near_duplicates")] == [((6, 31),)]
    assert [f.rows for f in of(audit, "duplicate_content")] == [((9, 32),)]


def test_a_picture_of_nothing_is_told():
    white = io.BytesIO()
    PIL.Image.new("L", (9, 9), 255).save(white, "PNG")
    frame = with_cell(with_cell(sound_frame(), 2, "photo", white.getvalue()), 5, "photo", white.getvalue())
    audit = mm.audit(frame)
    assert [f.rows for f in of(audit, "blank")] == [((2,), (5,))]
    assert not of(audit, "duplicate_content")


def test_a_group_or_a_content_in_two_parts_is_a_leak():
    frame = sound_frame(20).assign(
        part=["train"] * 10 + ["test"] * 10, patient=[*range(10), 3, 4, *range(12, 20)]
    )
    frame = with_cell(frame, 18, "photo", frame["photo"][1])
    audit = mm.audit(frame, target="kind", split="part", group="patient")
    assert [f.rows for f in of(audit, "group_in_two_parts")] == [((4, 11), (5, 12))]
    assert [f.rows for f in of(audit, "content_in_two_parts")] == [((2, 18),)]
    assert not of(mm.audit(frame.assign(part="train"), target="kind", split="part"), "content_in_two_parts")


def labelled(rows: int = 200, classes: int = 4) -> pd.DataFrame:
    """Vectors that tell the classes apart, and numbers and words that do not."""
    rng = np.random.default_rng(3)
    k = np.arange(rows) % classes
    centres = 6 * np.eye(classes, 8)
    return pd.DataFrame(
        {
            "vector": (centres[k] + rng.normal(0, 1, (rows, 8))).tolist(),
            "size": rng.normal(size=rows),
            "colour": rng.choice(["red", "green", "blue"], rows),
            "kind": np.array(["oak", "elm", "ash", "fir"])[k],
        }
    )


LEAKS = {
    "a code of the class": lambda frame: (
        frame["kind"].map({"oak": "q", "elm": "u", "ash": "f", "fir": "f"}) + frame["colour"]
    ),
    "a number": lambda frame: (
        frame["kind"].map({"oak": 0.0, "elm": 10.0, "ash": 20.0, "fir": 30.0}) + frame["size"]
    ),
    "there for one class": lambda frame: frame["size"].where(frame["kind"] == "elm"),
    "empty for one class": lambda frame: frame["size"].where(frame["kind"] != "elm"),
    "there for some of one class": lambda frame: frame["size"].where(
        (frame["kind"] == "elm") & (frame["size"] > 0)
    ),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_column_that_gives_the_label_away_is_found_and_no_other(name: str):
    frame = labelled()
    if name == "a code of the class":
        frame = frame[frame["kind"] != "fir"].reset_index(drop=True)
    audit = mm.audit(frame.assign(leak=LEAKS[name](frame)), target="kind")
    assert [f.column for f in of(audit, "gives_label_away")] == ["leak"]
    assert audit.ok


def test_absence_that_hangs_on_the_class_is_told_and_chance_is_not():
    frame, rng = labelled(400), np.random.default_rng(1)
    elm = frame["kind"] == "elm"
    there = frame["size"].where(rng.random(400) < np.where(elm, 0.9, 0.4))
    chance = frame["size"].where(np.arange(400) // 4 % 2 == 0)
    audit = mm.audit(frame.assign(there=there, chance=chance), target="kind")
    assert [f.column for f in of(audit, "missing_by_class")] == ["there"]
    told = {c.column: c for c in audit.coverage}
    assert set(told) == {"there", "chance"}
    assert told["there"].classes["elm"] == (int((there.notna() & elm).sum()), int(elm.sum()))


def test_the_tests_of_absence_agree_with_scipy():
    rng = np.random.default_rng(0)
    for classes in (2, 5):
        rows = rng.integers(40, 90, classes)
        there = rng.binomial(rows, 0.4)
        table = np.stack([there, rows - there])
        expected = stats.chi2_contingency(table, correction=False)
        assert _chi_square(there, rows) == pytest.approx(expected.statistic)
        assert _tested(there, rows, 0).p == pytest.approx(expected.pvalue)
    small = _tested(np.array([1, 6]), np.array([8, 9]), 0)
    assert small.p == pytest.approx(stats.fisher_exact([[1, 6], [7, 3]])[1])
    drawn = _tested(np.array([1, 6, 2, 3]), np.array([8, 9, 7, 6]), 0)
    assert drawn.name == "permutation"
    labels = np.repeat(np.arange(4), [8, 9, 7, 6])
    mask = np.concatenate([np.arange(n) < k for k, n in zip([1, 6, 2, 3], [8, 9, 7, 6])])
    observed = _chi_square(np.bincount(labels[mask], minlength=4), np.bincount(labels))
    shuffled = [
        _chi_square(np.bincount(labels[rng.permutation(mask)], minlength=4), np.bincount(labels))
        for _ in range(4000)
    ]
    assert drawn.p == pytest.approx(np.mean(np.array(shuffled) >= observed - 1e-9), abs=0.03)


def test_holm_multiplies_the_smallest_by_the_number_of_tests():
    assert _holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert _holm([]) == []


def test_flipped_labels_are_found():
    pytest.importorskip("cleanlab")
    frame, rng = labelled(800), np.random.default_rng(2)
    sound = frame["kind"].tolist()
    flipped = set(rng.choice(800, 40, replace=False).tolist())
    names = sorted(set(sound))
    frame["kind"] = [names[names.index(k) - 1] if i in flipped else k for i, k in enumerate(sound)]
    (finding,) = of(mm.audit(frame, target="kind"), "label_noise")
    found = {r - 1 for (r,) in finding.rows}
    assert len(found & flipped) >= 0.8 * len(flipped)
    assert len(found & flipped) >= 0.9 * len(found)
    suggested = [finding.facts["suggested"][str(i + 1)] == sound[i] for i in found & flipped]
    assert np.mean(suggested) >= 0.9
    assert not of(mm.audit(labelled(400), target="kind"), "label_noise")


def test_without_cleanlab_the_audit_says_what_to_install(monkeypatch):
    monkeypatch.setattr("metamodal.data.audit.noise.find_spec", lambda name: None)
    assert any(
        "pip install 'metamodal[audit]'" in note for note in mm.audit(labelled(40), target="kind").notes
    )


def test_without_a_target_the_labels_are_left_out_and_the_audit_says_so(cli, damages):
    done = cli("audit", damages["label NA"].path, "--json")
    document = json.loads(done.out)
    assert document["coverage"] == []
    assert any("--target" in note for note in document["notes"])
    assert "--target" in done.err
    assert done.code == 0


def test_small_uneven_and_oddly_written_classes_are_told():
    frame = labelled(120)
    frame["kind"] = ["oak"] * 60 + ["elm"] * 50 + ["Elm "] * 6 + ["ash"] * 3 + ["fir"]
    audit = mm.audit(frame, target="kind")
    (small,) = of(audit, "small_classes")
    assert small.facts == {"classes": 2, "lone": 1, "of": 5}
    assert len(of(audit, "labels_alike")) == 1
    (classes,) = [b for b in audit.balance if b.of == "classes"]
    assert classes.ratio == 60
    shares = np.array([60, 50, 6, 3, 1]) / 120
    assert classes.effective == pytest.approx(np.exp(stats.entropy(shares)))
    assert Balance("tasks", {"a": 5, "b": 5}).effective == pytest.approx(2)


def test_columns_that_never_differ_are_told():
    frame = sound_frame().assign(same="x", nothing=None, gap=[1.5, None] * 12)
    audit = mm.audit(frame)
    assert {f.column for f in of(audit, "constant")} == {"same", "gap"}
    assert [f.column for f in of(audit, "empty")] == ["nothing"]


def test_columns_not_in_use_are_not_opened(damages):
    audit = mm.audit(damages["truncated JPEG"].path, target="kind", use=["size"])
    assert audit.ok
    assert "photo: not opened, not named in --use" in audit.notes


def test_the_same_seed_gives_the_same_document():
    frame = labelled(100)
    first, second = (mm.audit(frame, target="kind", seed=4).to_dict() for _ in range(2))
    assert json.dumps(first) == json.dumps(second)


JUNK = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.text(max_size=12),
    st.binary(max_size=12),
    st.sampled_from(
        [b"\x89PNG\r\n\x1a\n", b"RIFF1234WAVEfmt ", "a.png", "x.wav", "..", "\0.png", "nan", "inf", "[1]"]
    ),
    st.lists(st.one_of(st.floats(), st.text(max_size=2), st.none()), max_size=3),
    st.dictionaries(st.text(max_size=2), st.floats(), max_size=2),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 12).flatmap(
        lambda n: st.lists(st.lists(JUNK, min_size=n, max_size=n), min_size=1, max_size=3)
    )
)
def test_states_add_up_and_junk_raises_nothing_but_our_own_errors(columns: list[list]):
    frame = pd.DataFrame({f"c{i}": pd.Series(cells, dtype=object) for i, cells in enumerate(columns)})
    for target in (None, "c0"):
        try:
            audit = mm.audit(frame, target=target)
        except MetamodalError:
            continue
        assert all(s.present + s.absent + s.unreadable == len(frame) for s in audit.states)
        assert all(f.problem.row is None or 1 <= f.problem.row <= len(frame) for f in audit.faults)
        json.dumps(audit.to_dict(), default=float)


def test_a_wrong_option_ends_with_2(cli, damages):
    path = damages["label NA"].path
    assert cli("audit", path, "--target", "knd").code == 2
    assert cli("audit", path, "--unreadable", "absent").code == 2
    assert cli("audit", "nowhere.csv").code == 3
    with pytest.raises(OptionError, match="Did you mean 'kind'"):
        mm.audit(path, target="knd")


def test_the_page_shows_bad_cells_and_pairs_and_asks_the_network_for_nothing(cli, tmp_path: Path):
    frame = with_cell(sound_frame(), 4, "photo", photo(3)[:200])
    frame = with_cell(with_cell(frame, 9, "photo", frame["photo"][1]), 6, "note", "<b>&")
    frame = with_cell(frame, 12, "kind", "N/A")
    path = as_parquet(frame, tmp_path / "t.parquet")
    done = cli("audit", path, "--target", "kind", "--html", tmp_path / "new" / "audit.html", "--quiet")
    assert (done.code, done.out, done.err) == (3, "", "")
    page = Page((tmp_path / "new" / "audit.html").read_text("utf-8"))
    assert page.open == []
    assert len(page.with_class("problem")) == 2
    assert any("row 2" in text and "row 9" in text for text in page.with_class("set"))
    assert "<b>&" not in page.raw.replace("<b>row", "")
    sources = [v for _, attributes, _ in page.elements for k, v in attributes.items() if k in ("src", "href")]
    assert sources
    assert all(v.startswith("data:image/") for v in sources)
    assert "http" not in page.raw.replace("http-equiv", "")


def test_the_page_of_an_empty_finding_list_says_none(tmp_path: Path):
    page = write_audit(tmp_path / "a.html", mm.audit(sound_frame())).read_text("utf-8")
    assert "none: the table can be used" in page


def test_the_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["audit", "--help"])
    assert "example: metamodal audit" in capsys.readouterr().out


REAL = {
    "chest_xray": {"target": "icu", "group": "patient"},
    "emoji": {"use": ["image"]},
    "sarcasm": {"target": "sarcasm"},
    "activity": {"target": "activity", "group": "subject"},
    "opinion_sentiment": {"target": "sentiment", "group": "video_id"},
    "environmental_sounds": {"target": "label", "split": "fold", "group": "freesound_id"},
    "emotional_speech": {"target": "emotion", "group": "speaker"},
    "sign_keypoints": {"target": "word"},
    "speaker_traits": {"target": "humorous"},
    "spoken_digits": {"target": "digit", "task": "speaker"},
    "kg_umls": {"target": "relation", "split": "split"},
    "omniglot_background": {"target": "character", "task": "alphabet"},
}


@pytest.fixture(scope="module")
def real(shared: Path):
    found: dict[str, Audit] = {}

    def audited(name: str) -> Audit:
        if name not in found:
            known = {"emoji": (0, 4021), "omniglot_background": (4600, 400), "sarcasm": (0, 690)}
            rows = known.get(name, (0, 300))
            found[name] = mm.audit(pq.read_table(shared / f"{name}.parquet").slice(*rows), **REAL[name])
        return found[name]

    return audited


@pytest.mark.parametrize("name", REAL)
def test_the_shared_tables_have_no_bad_cell(real, name: str):
    audit = real(name)
    faults = [
        f for f in audit.faults if "steps are words" not in f.problem.reason
    ]  # until symbols can be read
    assert not faults, str(faults[0].problem)


def test_what_the_readme_of_the_shared_tables_warns_of_is_found(real):
    assert [f.rows for f in of(real("omniglot_background"), "duplicate_content")] == [((203, 219),)]
    (pairs,) = of(real("emoji"), "duplicate_content")
    assert pairs.facts == {"sets": 9, "rows": 18}
    chest = real("chest_xray")
    assert {f.column for f in of(chest, "gives_label_away")} == {"icu_admission_offset", "icu_release_offset"}
    assert [f.column for f in of(chest, "beyond_limits")] == ["d_dimer"]
    assert "dominant_hand" in {f.column for f in of(real("activity"), "constant")}
    tells = {f.column: f.facts for f in of(real("sarcasm"), "value_tells_label")}
    assert tells["show"]["GOLDENGIRLS"] == {"class": "true", "of_it": 39, "rows": 40}


def test_a_data_set_is_audited_under_its_own_roles():
    frame = pd.DataFrame({"height": [1.0, float("inf"), 3.0, 4.0], "pet": ["cat", "dog"] * 2, "n": ["a"] * 4})
    data = mm.read_table(frame, target="pet", use=["height"])
    found = mm.audit(data)
    assert [str(fault.problem) for fault in found.faults] == [
        str(fault.problem) for fault in mm.audit(frame, target="pet", use=["height"]).faults
    ]
