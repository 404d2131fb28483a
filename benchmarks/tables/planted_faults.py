"""Tables with one sort of fault each."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import sklearn.datasets

from tables.audit_cases import Case, Reported
from tables.made_cells import picture, texts

__all__ = ["planted"]


def planted() -> Iterator[Case]:
    """Tables with one sort of fault each."""
    rng = np.random.default_rng(1)
    n = 300
    label = np.array(["oak", "elm", "ash"] * (n // 3))
    which = np.array([0, 1, 2] * (n // 3))
    base = pd.DataFrame(
        {"x": (which + rng.normal(size=n)).round(4), "y": rng.normal(size=n).round(4), "label": label}
    )
    text = base.assign(text=texts(rng, which))
    pictures = base.assign(photo=[picture(rng, k) for k in which])

    def case(name: str, frame: pd.DataFrame, *said: Reported, **roles: Any) -> Case:
        return Case(name, frame, {"target": "label", **roles}, frozenset(said))

    yield case("a row twice", _again(base, {7: 3, 90: 40}), ("duplicate_rows", None))
    yield case(
        "a row of irises five times",
        _again(_iris(), {9: 3, 60: 52, 110: 104, 99: 70, 30: 31}),
        ("duplicate_rows", None),
    )
    yield case(
        "a picture twice",
        _with(pictures, "photo", {12: pictures["photo"][5]}),
        ("duplicate_content", "photo"),
        ("content_in_two_parts", "photo"),
    )
    yield case(
        "a text twice",
        _with(text, "text", {9: text["text"][30]}),
        ("duplicate_content", "text"),
        ("content_in_two_parts", "text"),
    )
    split = text.assign(part=["train"] * 200 + ["test"] * 100)
    yield case(
        "a text in two parts",
        _with(split, "text", {250: text["text"][30]}),
        ("content_in_two_parts", "text"),
        ("duplicate_content", "text"),
        split="part",
    )
    grouped = base.assign(person=np.arange(n) // 3, part=["train"] * 200 + ["test"] * 100)
    yield case(
        "a person in two parts", grouped, ("group_in_two_parts", "person"), group="person", split="part"
    )
    yield case(
        "a repeated id", _with(base.assign(case_id=np.arange(n)), "case_id", {5: 3}), ("id", "case_id")
    )
    codes = base.assign(code=rng.permutation([f"c{i:04}" for i in range(n)]))
    yield case("a repeated code", _with(codes, "code", {5: codes["code"][9]}), ("id", "code"))
    yield case("a word among numbers", _with(base, "x", {5: "tall"}), ("kind", "x"))
    yield case(
        "half a picture", _with(pictures, "photo", {5: pictures["photo"][5][:60]}), ("unreadable", "photo")
    )
    yield case("a lone infinity", _with(base, "x", {5: np.inf}), ("unreadable", "x"))
    yield case("limits of detection", _with(base, "x", {5: np.inf, 9: -np.inf}), ("beyond_limits", "x"))
    yield case(
        "no label, in words",
        _with(base, "label", {5: "N/A"}),
        ("label", "label"),
        ("small_classes", "label"),
        ("imbalance", None),
    )
    yield case(
        "a label in two ways",
        _with(base, "label", {5: "ASH", 8: "ASH"}),
        ("labels_alike", "label"),
        ("small_classes", "label"),
        ("imbalance", None),
    )
    yield case("rows without a label", _with(base, "label", {5: None, 6: None}), ("unlabelled", "label"))
    far = pd.DataFrame(rng.normal(size=(n, 6)) + 4 * np.eye(6)[which], columns=list("abcdef")).assign(
        label=label
    )
    yield case(
        "swapped labels",
        _with(far, "label", {i: label[i - 1] for i in (20, 80, 140, 200, 260)}),
        ("label_noise", "label"),
    )
    yield case(
        "a code of the label",
        base.assign(code=np.array(["A1", "B2", "C3"])[which]),
        ("gives_label_away", "code"),
    )
    yield case(
        "a number that is the label",
        base.assign(score=which * 10 + rng.normal(size=n)),
        ("gives_label_away", "score"),
    )
    yield case(
        "a value where one class has it",
        base.assign(z=np.where(which == 1, base["y"], np.nan)),
        ("gives_label_away", "z"),
    )
    yield case(
        "a word of one class",
        base.assign(site=np.where(which == 0, "north", rng.choice(["south", "east"], n))),
        ("value_tells_label", "site"),
    )
    absent = rng.random(n) < np.array([0.05, 0.5, 0.5])[which]
    yield case(
        "a value that one class lacks",
        base.assign(z=np.where(absent, np.nan, base["y"])),
        ("missing_by_class", "z"),
    )
    yield case("a constant column", base.assign(unit="kg"), ("constant", "unit"))
    yield case("an empty column", base.assign(note=None), ("empty", "note"))
    ordered = base.sort_values("label", ignore_index=True)
    yield case("a column that counts", ordered.assign(nr=np.arange(1, n + 1)), ("counts_along", "nr"))
    yield case(
        "a column that counts down, with gaps",
        ordered.assign(nr=np.arange(n + 20, 0, -1)[:n] * 5).drop(index=[9, 40]),
        ("counts_along", "nr"),
    )
    yield case("a saved index", ordered.reset_index(names="Unnamed: 0"), ("counts_along", "Unnamed: 0"))
    yield case("uneven classes", base.assign(label=["oak"] * 280 + ["elm"] * 20), ("imbalance", None))
    yield case(
        "classes of few rows",
        base.assign(label=[*label[:-3], "yew", "yew", "fir"]),
        ("small_classes", "label"),
        ("imbalance", None),
    )
    yield case(
        "paths that nobody reads",
        base.assign(photo=[f"{i}.heic" for i in range(n)]),
        ("doubtful_column", "photo"),
    )
    yield case(
        "lists as Python prints them",
        base.assign(words=[f"['a{i}', 'b']" for i in range(n)]),
        ("doubtful_column", "words"),
    )
    blank = io.BytesIO()
    PIL.Image.new("L", (9, 9), 255).save(blank, "PNG")
    yield case("a picture of nothing", _with(pictures, "photo", {5: blank.getvalue()}), ("blank", "photo"))


def _iris() -> pd.DataFrame:
    frame = sklearn.datasets.load_iris(as_frame=True).frame
    return frame.rename(columns={"target": "label"})


def _with(frame: pd.DataFrame, column: str, cells: dict[int, Any]) -> pd.DataFrame:
    values = frame[column].astype(object).tolist()
    for row, cell in cells.items():
        values[row] = cell
    kept = pd.Series(values, dtype=object, index=frame.index)
    return frame.assign(
        **{column: kept if frame[column].dtype == object or "tall" in values else kept.infer_objects()}
    )


def _again(frame: pd.DataFrame, rows: dict[int, int]) -> pd.DataFrame:
    frame = frame.copy()
    for row, of in rows.items():
        frame.loc[row] = frame.loc[of]
    return frame
