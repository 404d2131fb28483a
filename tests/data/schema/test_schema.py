"""Kinds and roles are inferred from the cells, with evidence, and refused where they cannot be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from conftest import png
from metamodal.data.audit import audit
from metamodal.data.dataset import open_table, read_table
from metamodal.data.features.encode import Preprocessor
from metamodal.data.features.reading import read_cells
from metamodal.data.roles import Roles
from metamodal.data.schema.targets import Targets
from metamodal.errors import DataError, MetamodalWarning, OptionError


def kinds(frame: pd.DataFrame, **roles) -> dict[str, str | None]:
    return {c.name: c.kind for c in read_table(frame, **roles).schema.columns}


def test_every_kind_is_inferred_from_its_cells(shapes: pd.DataFrame):
    assert kinds(shapes, target="label") == {
        "photo": "image",
        "sound": "series",
        "note": "text",
        "size": "tabular",
        "colour": "tabular",
        "vector": "embedding",
        "label": None,
    }


def test_every_column_has_evidence(shapes: pd.DataFrame):
    assert all(c.evidence for c in read_table(shapes, target="label").schema.columns)


def test_scalar_columns_are_one_modality_and_a_lone_one_keeps_its_name(shapes: pd.DataFrame):
    both = read_table(shapes, target="label").schema.modalities
    assert both["tabular"] == ("tabular", ("size", "colour"))
    alone = read_table(shapes, target="label", use=["size"]).schema.modalities
    assert alone == {"size": ("tabular", ("size",))}


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([b"\x89PNG\r\n\x1a\n123"] * 4, "image"),
        ([b"RIFF1234WAVEfmt "] * 4, "audio"),
        (["a/1.png", "a/2.jpg", "b/3.webp"], "image"),
        (["1.wav", "2.flac", "3.mp3"], "audio"),
        (["1.5", "2", "-3e4"], "tabular"),
        ([1, 2.5, 3], "tabular"),
        ([True, False, True], "tabular"),
        ([{"a": 1}, {"a": 2}, {"a": 3}], "tabular"),
        ([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "embedding"),
        ([[1.0, 2.0], [3.0], [5.0, 6.0, 7.0]], "series"),
        ([[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]], "series"),
        ([["C", "A"], ["T"]], "series"),
        ([np.zeros((4, 4, 3), np.uint8)] * 2, "image"),
        ([np.zeros((5, 4, 4, 3), np.uint8)] * 2, "video"),
        ([[b"\x89PNG\r\n\x1a\n123"] * 2, [b"\x89PNG\r\n\x1a\n"]], "video"),
        ([b"\x00\x00\x00\x1cftypisom1234"] * 2, "video"),
        ([b"\x00\x00\x00\x1cftypavif1234"] * 2, "image"),
        (["1.mp4", "clips/2.webm"], "video"),
        (["1.ply", "2.xyz"], "points"),
        ([b"ply\nformat ascii 1.0\n"] * 2, "points"),
        ([{"bytes": b"RIFF1234WAVEfmt ", "path": "1.wav"}, {"bytes": None, "path": "a/2.flac"}], "audio"),
        ([{"array": [0.0, 0.1], "sampling_rate": 8000}] * 2, "audio"),
        ([{"nodes": 2, "edges": [[0, 1]]}] * 2, "graph"),
        ([{"time": [0.0, 1.0], "values": [1.0, 2.0]}] * 2, "series"),
        ([{"time": 3, "values": 4}] * 2, "tabular"),
        ([[None, [1.0, 2.0]], [[3.0, None], [5.0, 6.0]]], "series"),
        (["2024-05-31", "2024-06-01T12:00:00Z"], "tabular"),
        ([pd.Timestamp("2024-05-31"), pd.Timestamp("2024-06-01")], "tabular"),
        (["a short remark on it", "and quite another one here"], "text"),
    ],
)
def test_a_kind_follows_from_the_form_of_the_cells(cells, kind: str):
    frame = pd.DataFrame({"x": pd.Series(cells, dtype=object)})
    assert kinds(frame)["x"] == kind


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ([5] * 50, "constant"),
        ([f"id{i}" for i in range(50)], "as an id does"),
        (["a long name for it", "another name of that"] * 25, "constant within each class"),
    ],
)
def test_columns_that_teach_nothing_are_left_out_with_a_warning(column: list, reason: str):
    labels = ["a", "b"] * (len(column) // 2)
    frame = pd.DataFrame({"x": column, "y": np.arange(len(column)) % 5, "label": labels})
    schema = read_table(frame, target="label").schema
    assert "x" not in schema.modalities
    (warning,) = schema.warnings
    assert reason in warning


def test_in_a_few_rows_a_column_may_tell_the_classes_apart_by_right():
    frame = pd.DataFrame(
        {"colour": ["red", "red", "yellow", "yellow"], "fruit": ["apple"] * 2 + ["banana"] * 2}
    )
    schema = read_table(frame, target="fruit").schema
    assert list(schema.modalities) == ["colour"]
    assert "constant within each class" in schema.warnings[0]


def test_a_class_constant_column_that_is_asked_for_is_used_with_a_warning():
    frame = pd.DataFrame({"x": ["one two three", "four five six"] * 4, "label": ["a", "b"] * 4})
    schema = read_table(frame, target="label", use=["x"]).schema
    assert list(schema.modalities) == ["x"]
    assert "give the label away" in schema.warnings[0]


def test_a_column_with_two_kinds_names_the_odd_cell():
    frame = pd.DataFrame({"x": pd.Series([1, 2, [3.0]], dtype=object)})
    with pytest.raises(DataError, match=r"row 3, column x: the column has two kinds .*\[3.0\]"):
        read_table(frame)


def test_numbers_with_a_few_words_among_them_are_two_kinds_and_a_given_kind_settles_it():
    frame = pd.DataFrame({"x": ["1"] * 9 + ["abc"]})
    with pytest.raises(DataError, match=r"row 10, column x: the column has two kinds"):
        read_table(frame)
    assert kinds(frame, kinds={"x": "text"})["x"] == "text"


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"target": "lable"}, "--target 'lable': no such column. Did you mean 'label'?"),
        ({"target": "label", "use": ["phot"]}, "--use 'phot': no such column. Did you mean 'photo'?"),
        (
            {"target": "label", "task": "label"},
            "--target and --task both name 'label'. Give a column one role.",
        ),
        ({"target": "label", "use": ["label"]}, "--use 'label': it is the target"),
        ({"kinds": {"photo": "imagee"}}, "no such kind. Did you mean 'image'?"),
    ],
)
def test_a_wrong_role_is_an_error_with_a_suggestion(shapes: pd.DataFrame, roles: dict, message: str):
    with pytest.raises(OptionError) as caught:
        read_table(shapes, **roles)
    assert message in str(caught.value)


def test_a_role_that_is_said_takes_its_column_from_what_was_known():
    known = Roles(target="letter", task="script", use=("image", "script"))
    assert Roles(target="script").over(known) == Roles(target="script", use=("image",))


def test_what_npy_files_hold_must_be_said_unless_the_name_does():
    for cells in ([b"\x93NUMPY\x01\x00", b"\x93NUMPY\x01\x00"], ["1.npy", "2.npy"]):
        with pytest.raises(DataError, match="column x: cannot tell what its .*. Pass --kind x=KIND"):
            read_table(pd.DataFrame({"x": cells}))
        assert kinds(pd.DataFrame({"x": cells}), kinds={"x": "image"})["x"] == "image"
        assert kinds(pd.DataFrame({"lidar": cells}))["lidar"] == "points"


def test_numbers_written_as_text_are_no_ids_be_they_all_different():
    frame = pd.DataFrame({"x": [f"{i / 7:.4f}" for i in range(60)], "label": ["a", "b"] * 30})
    assert list(read_table(frame, target="label").schema.modalities) == ["x"]


def test_roles_round_trip_through_the_schema(shapes: pd.DataFrame):
    schema = read_table(shapes, target="label", use=["photo", "size"]).schema
    roles = schema.to_roles()
    again = read_table(shapes, target=roles.target, use=roles.use, kinds=roles.kinds).schema
    assert again.modalities == schema.modalities


# Kinds of every column that shared/data/README.md lists; categories, numbers, booleans and ids are tabular.
REAL = {
    "omniglot_background": {"image": "image", "tabular": "character alphabet drawer"},
    "omniglot_evaluation_a": {"image": "image", "tabular": "character alphabet drawer"},
    "omniglot_strokes": {
        "image": "image",
        "series": "strokes",
        "tabular": "character alphabet subset split drawer",
    },
    "digits": {"image": "image", "tabular": "digit"},
    "spoken_digits": {"audio": "audio", "tabular": "digit speaker take"},
    "av_digits": {"image": "image image_degraded", "audio": "audio", "tabular": "digit speaker take"},
    "environmental_sounds": {
        "audio": "audio",
        "text": "author title licence",
        "tabular": "label fold freesound_id take",
    },
    "emotional_speech": {
        "audio": "audio",
        "text": "sentence sentence_english",
        "series": "syllables syllable_end",
        "tabular": "speaker sex age emotion sentence_code version",
    },
    "emoji": {
        "image": "image",
        "text": "name keywords",
        "tabular": "vendor codepoints group subgroup sentiment_negative sentiment_neutral sentiment_positive",
    },
    "activity": {
        "series": "phone watch",
        "tabular": "activity subject age gender height_cm weight_kg dominant_hand execution start_s orientation "
        "first_turn second_turn",
    },
    "opinion_sentiment": {
        "text": "text",
        "embedding": "audio video text_embedding",
        "tabular": "sentiment video_id segment feature_extractor_saw_label",
    },
    "speaker_traits": {
        "series": "audio video",
        "tabular": "confident passionate voice_pleasant dominant credible vivid expertise entertaining reserved "
        "trusting relaxed outgoing thorough nervous sentiment persuasive humorous",
    },
    "sarcasm": {"text": "utterance context context_speakers", "tabular": "speaker show sarcasm id"},
    "chest_xray": {
        "image": "image",
        "tabular": "projection crp d_dimer factor_xii ldh lymphocytes neutrophils pco2 po2 crp_offset sex patient "
        "icu admission_offset icu_admission_offset icu_release_offset death_offset dicom_modality image_id",
    },
    "sign_keypoints": {"series": "keypoints", "text": "word_english", "tabular": "word take"},
    "kg_wn18rr": {"tabular": "head relation tail split"},
    "kg_umls": {"tabular": "head relation tail split"},
}


@pytest.mark.parametrize("name", REAL)
def test_kinds_of_the_real_tables_are_those_their_readme_states(shared, name: str):
    found = {c.name: c.kind for c in read_table(shared / f"{name}.parquet").schema.columns}
    expected = {column: kind for kind, columns in REAL[name].items() for column in columns.split()}
    assert {c: found[c] for c in expected} == expected


def test_a_role_may_be_said_to_be_nobody_s(tmp_path):
    frame = pd.DataFrame({"size": [1.0, 2.0], "ward": ["a", "b"], "label": ["x", "y"]})
    known = Roles(target="label", task="ward")
    assert open_table(frame, Roles(), known).schema.role("task") == "ward"
    assert open_table(frame, Roles(task="-"), known).schema.role("task") is None
    assert open_table(frame, Roles(task="-")).schema.role("task") is None


def test_dirty_numbers_are_told_with_the_words_for_nothing_and_the_others():
    cells = ["1.5", "2", "3"] * 20 + ["NA"] * 8 + ["n/a", "free"]
    frame = pd.DataFrame({"price": cells, "y": ["a", "b"] * 35})
    remedy = "Pass --na NA,n/a if the cells are empty; fix 'free', or pass --kind price=text."
    with pytest.raises(DataError, match=rf"row 70, column price: .*this cell is 'free'\. {remedy}"):
        read_table(frame, target="y")
    faults = [str(fault.problem) for fault in audit(frame, target="y").faults]
    assert len(faults) == 10 and all(fault.endswith(remedy) for fault in faults)
    assert faults[-1].startswith("row 70, column price: 'free' is a word where 60 cells are numbers")
    assert faults[0].startswith("row 61, column price: 'NA' is a word where 60 cells are numbers")
    assert read_table(frame, target="y", na=["NA", "n/a", "free"]).schema.modalities["price"][0] == "tabular"


def test_a_cell_of_another_form_is_shown_in_the_audit():
    frame = pd.DataFrame({"x": pd.Series([*range(9), [3.0]], dtype=object), "y": ["a", "b"] * 5})
    (fault,) = audit(frame, target="y").faults
    assert str(fault.problem).startswith("row 10, column x: [3.0] is a vector where 9 cells are number")


def test_words_for_nothing_in_categories_and_texts_are_warned_of_with_counts():
    frame = pd.DataFrame(
        {
            "colour": ["red", "blue", "NA"] * 8,
            "note": [f"the quick fox {i}" if i % 4 else "N/A" for i in range(24)],
            "price": ["1", "2", "NA"] * 8,
            "y": ["a", "b"] * 12,
        }
    )
    found = {f.column: f for f in audit(frame, target="y").findings if f.what == "missing_words"}
    assert set(found) == {"colour", "note"}  # those among numbers are faults
    assert found["colour"].text == (
        "colour: 8 of 24 words may stand for an empty cell ('NA' 8×) and are read as words. "
        "Pass --na NA if the cells are empty"
    )
    assert found["note"].facts["words"] == {"N/A": 6}
    assert not [f for f in audit(frame, target="y", na=["NA", "N/A"]).findings if f.what == "missing_words"]


def test_rows_without_a_time_are_counted_in_a_warning_that_names_the_column():
    frame = pd.DataFrame(
        {
            "when": [f"2024-01-{i + 1:02}" if i % 4 else "" for i in range(24)],
            "x": range(24),
            "y": ["a", "b"] * 12,
        }
    )
    message = "column 'when': 6 of 24 rows have no time, and a split by time leaves them out"
    assert any(message in warning for warning in read_table(frame, target="y", time="when").schema.warnings)
    assert any(
        f.column == "when" and "6 of 24 rows" in f.text
        for f in audit(frame, target="y", time="when").findings
    )
    parts = frame.assign(part=["train", "valid", "test"] * 8)
    split = read_table(parts, target="y", time="when", split="part", use=["x"])
    assert not any("have no time" in warning for warning in split.schema.warnings)


@pytest.mark.parametrize(
    "cells",
    [
        [["a", "b"], [], ["c"]] * 4,
        [[1.0, 2.0], [], [3.0, 4.0]] * 4,
        ["one two three four", [], "five six seven eight"] * 4,
    ],
)
def test_an_empty_list_is_an_empty_cell(cells: list, tmp_path):
    frame = pd.DataFrame({"x": cells, "n": range(12), "y": ["a", "b", "c"] * 4})
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    for source in (frame, tmp_path / "t.jsonl"):
        table = read_table(source, target="y")
        assert [cell is None for cell in read_cells(table).values["x"]] == [False, True, False] * 4
        assert audit(source, target="y").ok
    (state,) = [s for s in audit(frame, target="y").states if s.name == "x"]
    assert (state.present, state.absent, state.unreadable) == (8, 4, 0)


def test_an_empty_list_of_labels_is_no_label_and_a_column_of_empty_lists_is_empty():
    frame = pd.DataFrame({"x": range(4), "e": [[]] * 4, "y": [["a"], [], ["b"], ["a", "b"]]})
    table = read_table(frame, target="y")
    assert table.schema.target_kind == "multilabel" and list(table.schema.modalities) == ["x"]
    assert Targets.fit(table, np.arange(4)).raw(table).tolist() == [[1, 0], [0, 0], [0, 1], [1, 1]]


def test_the_hint_of_a_lacking_column_is_none_of_the_model_s_targets():
    frame = pd.DataFrame(
        {"tags": ["a b c", "d e f", "g h i"] * 4, "n": range(12), "stars": [1.5, 2.5, 3.0] * 4}
    )
    table = read_table(frame, target="stars", kinds={"tags": "text"})
    preprocessor = Preprocessor.fit(read_cells(table))
    query = read_table(frame[["n", "stars"]].rename(columns={"stars": "tag"}))
    assert any("'tags' (is it 'tag'?)" in warning for warning in preprocessor.lacking(query))
    (warning,) = preprocessor.lacking(query, ["tag"])
    assert "columns that the model knows: 'tags'. They" in warning


@pytest.mark.parametrize("odd", [b"garbage", 3.5, "nofile.png", [1, 2], {"path": None}])
def test_a_cell_of_another_kind_counts_as_absent_where_unreadable_cells_do(odd):
    frame = pd.DataFrame(
        {
            "photo": [png(np.full((8, 8), 5 * i, np.uint8)) for i in range(40)],
            "y": [f"class{i % 4}" for i in range(40)],
        }
    )
    frame.at[3, "photo"] = odd
    with pytest.raises(DataError, match="row 4, column photo: the column has two kinds"):
        read_table(frame, target="y")
    words = (
        "column photo: 1 of 40 cells are of another kind than most and count as absent, the first in row 4"
    )
    with pytest.warns(MetamodalWarning, match=words):
        table = read_table(frame, target="y", unreadable="absent")
    assert table.schema.modalities["photo"][0] == "image"
    cells = read_cells(table, unreadable="absent").values["photo"]
    assert [i for i, cell in enumerate(cells) if cell is None] == [3]
    with pytest.raises(DataError, match="row 4, column photo"):
        read_cells(table)
