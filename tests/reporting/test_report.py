"""The report: what it says is what was measured, and nothing in a table can break the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup

from metamodal import storage
from metamodal.data.dataset import Dataset, read_table
from metamodal.data.features.reading import read_cells
from metamodal.errors import OutputError
from metamodal.evaluation.evaluating import evaluate
from metamodal.evaluation.protocol import Evaluation, Protocol
from metamodal.experiment import untrained_for
from metamodal.experiment.runs import Run
from metamodal.model import MetaModel
from metamodal.reporting import class_views
from metamodal.reporting.pictures import curve, painter, pictures
from metamodal.reporting.report import write_report
from metamodal.training.loop.progress import Progress, Trained
from pages import Page

NASTY = '<b>&"'
CLASSES = ["oak", "ash", "fir", "elm", "yew", "bay", "fig", NASTY]

Row = dict[str, object]


def row(k: int, i: int, rng: np.random.Generator) -> Row:
    """One sample of class k, in five modalities."""
    image = rng.integers(0, 60, (12, 12))
    image[k : k + 4] += 150
    t = np.linspace(0, 3, 20 + i)
    return {
        "photo": image.astype(np.uint8),
        "<marquee>sound": np.stack([np.sin((k + 1) * t), t, t * 0 + k], 1).tolist(),
        "words": f"<marquee>{CLASSES[k]}</marquee> number {rng.integers(99)}",
        "length": float(k + rng.normal()),
        "colour": str(rng.choice(["red", "<marquee>"])),
        "vector": rng.normal(k, 1, 6).tolist(),
        "kind": CLASSES[k],
        "part": ("train", "train", "train", "valid")[k] if k < 4 else "test",
    }


@pytest.fixture(scope="module")
def table() -> Dataset:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame([row(k, i, rng) for k in range(8) for i in range(8)])
    frame["photo"] = frame["photo"].astype(object)
    frame.at[63, "photo"] = b"\x89PNG\r\n\x1a\n cut off"
    for at in (40, 50, 60):
        frame.at[at, "words"] = None
    return read_table(frame, target="kind", split="part")


@pytest.fixture(scope="module")
def model(table: Dataset) -> MetaModel:
    return replace(untrained_for(table), record={"outcome": {"valid_episodes": 77}})


@pytest.fixture(scope="module")
def evaluations(table: Dataset, model: MetaModel) -> list[Evaluation]:
    protocols = [Protocol(4, shot, 7, episodes=5, missing=0.5, baselines=True) for shot in (1, 2)]
    return list(evaluate(model, table, protocols, unreadable="absent"))


@pytest.fixture
def run(model: MetaModel, table: Dataset) -> Run:
    history = tuple(
        Progress(10 * i, float(i), left=0.0, loss=2.0 / i, episodes_per_second=1.0, accuracy=a, ci95=0.01)
        for i, a in enumerate((0.5, 0.75, 0.625), start=1)
    )
    return Run(
        model, read_cells(table, unreadable="absent"), table.split(), Trained({}, history, "budget", 30)
    )


@pytest.fixture
def page(tmp_path: Path, table: Dataset, evaluations: list[Evaluation], run: Run) -> Page:
    return Page(write_report(tmp_path / "new" / "report.html", table, evaluations, run).read_text("utf-8"))


def written(path: Path, *parts: object) -> Page:
    return Page(write_report(path / "report.html", *parts).read_text("utf-8"))  # type: ignore[arg-type]


def test_the_page_asks_the_network_for_nothing(page):
    links = ("src", "href", "xlink:href", "srcset", "action", "data")
    targets = [v for _, attributes, _ in page.elements for k, v in attributes.items() if k in links]
    assert targets
    assert all(v.startswith(("data:image/", "#")) for v in targets)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _, _ in page.elements}
    assert "http://" not in page.raw
    assert "https://" not in page.raw
    assert "@import" not in page.raw


def test_every_element_is_closed(page):
    assert page.open == []


def test_labels_texts_and_column_names_are_escaped(page):
    assert NASTY not in page.raw
    assert "<marquee" not in page.raw
    shown = "".join(page.elements[0][2])
    assert NASTY in shown
    assert "<marquee>sound" in shown
    assert "<marquee>bay</marquee> number" in shown


def test_the_numbers_are_those_of_the_json_document(page, evaluations):
    values = [float(a["value"]) for tag, a, _ in page.elements if tag == "data"]
    shown = page.texts("data")
    names = ("accuracy", "recall_macro", "f1_macro")
    wanted, as_read = [], []
    for evaluation in evaluations:
        document = evaluation.to_dict()
        for result in (*document["results"], *document["baselines"]):
            accuracy, recall, f1 = (result[name] for name in names)
            scores = [accuracy["mean"], accuracy["ci95"], recall["mean"], f1["mean"], result["ece"]]
            wanted += [*scores, document["protocol"]["episodes"]]
            as_read += [*(f"{100 * s:.2f}" for s in scores), str(document["protocol"]["episodes"])]
    assert values == wanted
    assert shown == as_read


def test_every_result_is_named_once(page, evaluations):
    results = sum(len(e.results) + len(e.baselines) for e in evaluations)
    assert len(page.with_class("own")) + len(page.with_class("baseline")) == results
    assert len(page.with_class("whole")) == len(evaluations)


def test_same_input_gives_the_same_bytes(tmp_path, table, evaluations, run):
    files = [write_report(tmp_path / name, table, evaluations, run) for name in ("a.html", "b.html")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_only_the_report_is_left_in_its_folder(tmp_path, table):
    path = write_report(tmp_path / "a" / "b" / "report.html", table, [], None)
    assert path == tmp_path / "a" / "b" / "report.html"
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_a_failed_write_leaves_the_old_report(tmp_path, table, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(storage.os, "replace", fail)
    with pytest.raises(OutputError, match="report.html: cannot be written .disk full."):
        write_report(path, table, [], None)
    assert path.read_text() == "old"


def test_three_episodes_are_shown_with_every_query_and_support_row(page, evaluations):
    shown = evaluations[0].showcases
    assert len(page.with_class("episode")) == len(shown) == 3
    pairs = [pair for s in shown for pair in zip(s.query_names, s.predicted)]
    right = sum(true == called for true, called in pairs)
    samples = [(a.get("class") or "").split() for _, a, _ in page.elements]
    assert sum("right" in names and "sample" in names for names in samples) == right
    assert sum("wrong" in names and "sample" in names for names in samples) == len(pairs) - right
    assert len(page.with_class("class")) == sum(len(set(s.support_names)) for s in shown)


def test_an_answer_says_how_sure_it_was_and_if_wrong_what_it_was(page, evaluations):
    wanted = []
    for s in evaluations[0].showcases:
        for true, called, sure in zip(s.query_names, s.predicted, s.confidence):
            wanted.append(f"{called} {100 * sure:.0f} %" if called != true else f"{100 * sure:.0f} %")
    assert sorted(page.with_class("said")) == sorted(wanted)


def test_names_of_one_beginning_are_told_apart_by_their_ends():
    assert class_views._shared_start(["Korean/letter03", "Korean/letter11"]) == "Korean/letter"
    assert class_views._shared_start(["grey heron", "grey goose"]) == "grey "
    assert class_views._shared_start(["oak", "oaf"]) == ""
    assert class_views._shared_start(["fruit", "fruit fly"]) == ""


def test_rows_beyond_the_cap_are_counted(tmp_path, table, evaluations, monkeypatch):
    monkeypatch.setattr(class_views, "_QUERY", 8)
    monkeypatch.setattr(class_views, "_CLASSES", 3)
    page = written(tmp_path, table, evaluations, None)
    counted = [text for text in page.with_class("more") if text.startswith("and")]
    assert len(counted) == 9
    assert counted == left_over(evaluations[0], classes=3, shown=2)
    assert sum(text == "and 1 class more." for text in page.with_class("note")) == 3


def left_over(evaluation: Evaluation, classes: int, shown: int) -> list[str]:
    """What each line says of the queries that it does not show."""
    found = []
    for s in evaluation.showcases:
        for name in list(dict.fromkeys(s.support_names))[:classes]:
            rest = [p == t for t, p in zip(s.query_names, s.predicted) if t == name][shown:]
            found.append(f"and {sum(rest)} more right, {len(rest) - sum(rest)} wrong")
    return found


def test_absent_and_unreadable_cells_are_marked(table):
    draw = painter(table)
    states = [{p.modality: p.state for p in draw(i)} for i in (0, 40, 63)]
    assert set(states[0].values()) == {"present"}
    assert states[1]["words"] == "absent"
    assert states[2]["photo"] == "unreadable"


def test_a_page_without_a_run_has_everything_but_the_curve(tmp_path, table, evaluations):
    page = written(tmp_path, table, evaluations, None)
    assert "Learning" not in page.texts("h2")
    assert "Test: 4-way 1-shot" in page.texts("h2")
    assert len(page.with_class("episode")) == 3


def test_the_run_is_described(page):
    facts = dict(zip(page.texts("dt"), page.texts("dd")))
    assert facts["Training"] == "30 steps"
    assert facts["Ended by"] == "budget"
    assert facts["Validation accuracy"].replace("\u00a0", " ") == "75.0 ± 1.0 %, 77 episodes"
    assert "Learning" in page.texts("h2")


def test_a_run_that_never_validated_has_no_curve(tmp_path, table, run):
    run = replace(run, trained=replace(run.trained, history=()))
    page = written(tmp_path, table, [], run)
    assert "Training ended before its first validation" in page.raw


def test_the_split_is_counted(page):
    parts = page.with_class("parts")[0].replace("\u202f", "")
    assert parts == "train 24 rows, 3 classes valid 8 rows, 1 class test 32 rows, 4 classes"


def test_few_classes_make_a_matrix_whose_rows_are_counted(page, evaluations):
    assert len(page.with_class("matrix")) == 2
    for (true, called), count in evaluations[0].confusions.items():
        queries = sum(n for (t, _), n in evaluations[0].confusions.items() if t == true)
        assert f"{true} called {called}: {count} of {queries}" in page.texts("title")


def test_many_classes_make_a_list_of_pairs_worst_first(tmp_path, table, evaluations, monkeypatch):
    monkeypatch.setattr(class_views, "_MATRIX", 3)
    page = written(tmp_path, table, evaluations[:1], None)
    wrong = [n for (true, called), n in evaluations[0].confusions.items() if true != called]
    cells = [t for t in page.with_class("number") if " of " in t and t[0].isdigit()]
    assert [int(t.split(" of ")[0]) for t in cells] == sorted(wrong, reverse=True)[:15]
    assert not page.with_class("matrix")


def series(cells: list[list[list[float]]]) -> Callable[[int], str]:
    frame = pd.DataFrame({"s": cells, "kind": ["a", "b"] * (len(cells) // 2)})
    draw = painter(read_table(frame, target="kind", use=["s"], kinds={"s": "series"}))
    return lambda i: str(draw(i)[0].html)


def test_a_pen_is_lifted_between_strokes():
    stroke = [[0.0, 0.0, 0], [5.0, 5.0, 0], [9.0, 2.0, 0]]
    html = series([stroke, [*stroke, [1.0, 9.0, 1], [9.0, 9.0, 1], [4.0, 4.0, 2]]])
    assert html(0).count("M") == 1
    assert html(1).count("M") == 3


def test_a_series_without_stroke_numbers_is_a_line_a_channel():
    rng = np.random.default_rng(0)
    html = series([rng.normal(size=(9, 3)).tolist() for _ in range(4)])
    assert html(0).count("<path") == 3


def test_a_series_of_many_channels_is_a_heat_map():
    rng = np.random.default_rng(0)
    assert "data:image/png" in series([rng.normal(size=(9, 30)).tolist() for _ in range(4)])(0)


def test_a_long_text_is_cut_and_whole_when_pointed_at():
    frame = pd.DataFrame({"t": ["word " * 50, "x"], "kind": ["a", "b"]})
    draw = painter(read_table(frame, target="kind", use=["t"], kinds={"t": "text"}))
    html = str(draw(0)[0].html)
    assert html.endswith("…</span>")
    assert html.count("word") > 50


def test_a_curve_takes_its_colours_from_the_page():
    drawing = curve([0.0, 1.0], [5.0, 6.0], ("time (s)", "accuracy"), band=[1.0, float("nan")], ring=1)
    assert "var(--own)" in drawing
    assert "#0" not in drawing.replace('"#', "").replace("(#", "")
    assert "<style" not in drawing


def test_the_page_shows_which_map_between_modalities_was_chosen(tmp_path: Path, table: Dataset, run: Run):
    tried = {"none": {"0.0": 0.1}, "linear": {"0.5": 0.3, "1.0": 0.2}, "nonlinear": {"0.5": 0.25}}
    outcome = run.model.record["outcome"] | {"mapping": "linear", "maps": tried}
    model = replace(run.model, record=run.model.record | {"outcome": outcome})
    found = Page(
        write_report(tmp_path / "maps.html", table, [], replace(run, model=model)).read_text("utf-8")
    )
    rows = [text for text in found.texts("tr") if "linear" in text or "none" in text]
    assert rows == ["linear (chosen)0.530.0", "nonlinear0.525.0", "none0.010.0"]


def test_a_kind_is_drawn_by_the_picture_that_is_registered_for_it(monkeypatch: pytest.MonkeyPatch):
    frame = pd.DataFrame({"says": ["meow", "woof"], "pet": ["cat", "dog"]})
    table = read_table(frame, target="pet", use=["says"], kinds={"says": "text"})
    assert painter(table)(0)[0].html == '<span class="words" title="meow">meow</span>'
    bold = Markup("<b>{}</b>")
    monkeypatch.setitem(pictures._items, "text", lambda cells: bold.format)
    assert painter(table)(0)[0].html == "<b>meow</b>"
