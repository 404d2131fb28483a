"""An audit says nothing of sound tables that is not so, and misses no fault that was planted."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

import metamodal as mm
from metamodal.data.audit.ids import _named_id

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import audit as tables

SLOW = (
    "breast_cancer",
    "digits",
    "wide",
    "pictures",
    "mixed",
    "sounds",
    "texts",
)  # measured by the benchmark
CLEAN = {case.name: case for case in tables.clean() if case.name not in SLOW}
PLANTED = {case.name: case for case in tables.planted()}


@pytest.mark.parametrize("name", CLEAN)
def test_a_sound_table_raises_no_alarm_as_a_frame_or_as_a_file(name: str, tmp_path: Path):
    for form, audit in tables.audited(CLEAN[name], tmp_path):
        assert not tables.false_alarms(CLEAN[name], audit), form


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found_and_nothing_else_is(name: str, tmp_path: Path):
    if name == "swapped labels":
        pytest.importorskip("cleanlab")
    for form, audit in tables.audited(PLANTED[name], tmp_path):
        assert not tables.missed(PLANTED[name], audit), form
        assert not tables.false_alarms(PLANTED[name], audit), form


def test_measures_of_breast_cancer_are_no_ids(tmp_path: Path):
    frame = next(c for c in tables.sklearn_tables() if c.name == "breast_cancer").table.iloc[::4, -8:]
    frame.to_csv(tmp_path / "t.csv", index=False)
    for source in (frame, tmp_path / "t.csv"):
        assert not tables.reported(mm.audit(source, target="target"))


def test_a_number_with_299_values_in_300_rows_is_no_id():
    audit = mm.audit(CLEAN["prices"].table, target="label")
    assert audit.ok
    assert not audit.findings


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[
            (name, True)
            for name in ("id", "ID", "case_id", "case id", "caseId", "uuid", "row_uid", "index", "ids")
        ],
        *[
            (name, False)
            for name in ("price", "patient_id", "userId", "heat_index", "music_key", "paid", "grid")
        ],
        *[(name, False) for name in ("humid", "Liquid", "video_id", "covid", "solid")],
    ],
)
def test_an_id_is_told_by_its_name_unless_it_names_what_may_have_several_rows(name: str, expected: bool):
    assert _named_id(name) is expected


def test_a_column_that_counts_is_no_modality_where_classes_are_learned():
    frame = PLANTED["a column that counts"].table
    audit = mm.audit(frame, target="label")
    (state,) = [s for s in audit.states if s.name == "nr"]
    assert state.role == "ignored"
    assert mm.read_table(frame, target="label", use=["nr", "x"]).schema.modalities["tabular"][1] == (
        "x",
        "nr",
    )


def test_lists_of_labels_are_no_bad_cells():
    audit = mm.audit(CLEAN["lists of labels"].table, target="tags")
    (state,) = [s for s in audit.states if s.name == "tags"]
    assert (state.unreadable, audit.ok) == (0, True)


def test_a_column_of_years_stays_where_numbers_are_predicted():
    frame = pd.DataFrame({"year": range(1950, 2010), "sales": [0.5 * i for i in range(60)]})
    assert "year" in mm.read_table(frame, target="sales").schema.modalities
