"""What objects look like in a terminal and in a notebook: a few lines, and what a person would ask."""

from __future__ import annotations

import pandas as pd
import pytest

import metamodal as mm
from conftest import shapes_table


@pytest.fixture(scope="module")
def pets() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "height": [20.0, 24, 22, 60, 63] * 5,
            "width\n<b>": [1.0, 2, 3, 4, 5] * 5,
            "colour": ["red", "blue", "red", "blue", "red"] * 5,
            "pet": ["cat", "cat", "cat", "dog", "dog"] * 5,
        }
    )


def test_a_dataset_shows_its_rows_roles_and_modalities(pets):
    lines = repr(mm.read_table(pets, target="pet", group="colour")).splitlines()
    assert lines[0] == "Dataset DataFrame: 25 rows"
    assert "  target   pet (classification)" in lines
    assert "  group    colour" in lines
    assert "  tabular  tabular: height, width\\n<b>" in lines


def test_a_predictor_shows_labels_rows_modalities_learner_and_prior(pets):
    predictor = mm.MetaLearner(data__target="pet", learner="ridge").adapt(pets, prior="support")
    lines = repr(predictor).splitlines()
    assert lines[0] == "Predictor of 2 classes"
    facts = {line.split("  ")[1].strip(): line.split("  ")[-1].strip() for line in lines[1:]}
    assert facts == {
        "labels": "cat, dog",
        "rows": "25",
        "modalities": "tabular",
        "learner": "ridge",
        "prior": "support",
    }


def test_a_saved_predictor_still_has_a_few_lines(pets, tmp_path):
    mm.MetaLearner(data__target="pet").adapt(pets).save(tmp_path / "p")
    assert repr(mm.load(tmp_path / "p")).splitlines()[0] == "Predictor of 2 classes"


def test_an_untrained_metalearner_says_so_and_shows_what_was_given():
    lines = repr(mm.MetaLearner(seed=3, train__budget=5)).splitlines()
    assert lines == [
        "MetaLearner, not trained: adapt uses generic features",
        "  options  seed=3, train__budget=5",
    ]


def test_an_audit_shows_how_much_is_wrong(pets):
    bad = pets.assign(colour=[None, *pets["colour"][1:]], pet=["NA", *pets["pet"][1:]])
    lines = repr(mm.audit(bad, target="pet")).splitlines()
    assert lines[0] == "Audit of DataFrame: 25 rows"
    assert "1 label" in lines[1]
    assert "row 1, column pet" in lines[3]


def test_a_notebook_shows_a_table_in_which_names_are_no_markup(pets):
    page = mm.read_table(pets, target="pet")._repr_html_()
    assert "<table>" in page
    assert "&lt;b&gt;" in page
    assert "<b>," not in page


def test_fit_is_silent_and_verbose_shows_what_the_command_line_shows(capsys):
    data = mm.read_table(shapes_table(classes=9, rows=8).drop(columns="sound"), target="label")
    mm.MetaLearner(train__budget=0.5, learner="prototypes").fit(data)
    assert capsys.readouterr().err == ""
    seen = []
    learner = mm.MetaLearner(train__budget=0.5, learner="prototypes").fit(data, seen.append, verbose=True)
    assert "validation" in capsys.readouterr().err
    assert seen
    assert repr(learner).startswith("MetaLearner, trained")
