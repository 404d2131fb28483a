"""False alarms of `audit` on tables that are sound, and faults planted in them that it finds.

    python benchmarks/audit.py [--shared DIR]

One JSON line a case: `alarms` are warnings of a sound table that say what is not so, `missed` the planted
faults that nothing was said of. Every table is audited as a frame and as a file, CSV where cells allow it.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import sklearn.datasets

import metamodal as mm
from measured import print_line
from metamodal.data.audit import Audit

__all__ = ["Case", "clean", "false_alarms", "missed", "own", "planted", "shared", "sklearn_tables"]

ClassInfo = tuple[str, str | None]
"""What is said, and of which column."""


@dataclass(frozen=True)
class Case:
    """A table with its roles, and what is to be said of it: nothing else, and all of this."""

    name: str
    table: Any
    roles: dict[str, Any] = field(default_factory=dict)
    told: frozenset[ClassInfo] = frozenset()


def told(audit: Audit) -> set[ClassInfo]:
    """What an audit says, and of which column."""
    faults = {(f.what, f.problem.column) for f in audit.faults}
    return faults | {(f.what, f.column) for f in audit.findings}


def false_alarms(case: Case, audit: Audit) -> set[ClassInfo]:
    return told(audit) - case.told


def missed(case: Case, audit: Audit) -> set[ClassInfo]:
    return set(case.told) - told(audit)


def sklearn_tables() -> Iterator[Case]:
    """Every table that scikit-learn ships, with what is known of it."""
    for name in ("iris", "wine", "breast_cancer", "digits", "diabetes", "linnerud"):
        frame = getattr(sklearn.datasets, f"load_{name}")(as_frame=True).frame
        target: Any = ["Weight", "Waist", "Pulse"] if name == "linnerud" else "target"
        same = {c for c in frame if frame[c].nunique() == 1}
        yield Case(name, frame, {"target": target}, frozenset(("constant", c) for c in same))


def own() -> Iterator[Case]:
    """Sound tables of every kind of column, made up."""
    rng = np.random.default_rng(0)
    n = 300
    label = rng.permutation(["oak", "elm", "ash"] * (n // 3))
    which = np.array([["oak", "elm", "ash"].index(k) for k in label])
    x = which + rng.normal(size=n)

    def case(name: str, *said: ClassInfo, target: Any = "label", **columns: Any) -> Case:
        return Case(name, pd.DataFrame(columns), {"target": target} if target else {}, frozenset(said))

    yield case("prices", price=_rare(rng, n), weight=x, label=label)
    yield case(
        "few categories", colour=rng.choice(["red", "blue"], n), size=rng.integers(1, 4, n), label=label
    )
    yield case(
        "birthdays", colour=_pick(rng, n, 5), shape=_pick(rng, n, 9), age=rng.integers(18, 80, n), label=label
    )
    yield case("whole numbers", age=rng.integers(18, 80, n), visits=rng.poisson(2, n), label=label)
    yield case("large whole numbers", population=rng.integers(0, 30_000, n), label=label)
    yield case(
        "ids", case_id=[f"case-{i:03}" for i in range(n)], number=rng.permutation(n), value=x, label=label
    )
    yield case("entities", patient_id=_entities(rng, n), device=_pick(rng, n, 40), value=x, label=label)
    yield case("codes", product=[f"SKU-{i}" for i in _seldom(rng, n, 10_000)], value=x, label=label)
    yield case("postal codes", postcode=[f"{i:05}" for i in _seldom(rng, n, 90_000)], value=x, label=label)
    yield case("phones", phone=[f"+49 170 {i}" for i in _seldom(rng, n, 9_999_999)], value=x, label=label)
    yield case("dates", day=_days(rng, n), value=x, label=label)
    yield case(
        "times", clock=[f"{i // 60:02}:{i % 60:02}" for i in _seldom(rng, n, 1440)], value=x, label=label
    )
    yield case("years in order", target="sales", year=np.arange(1900, 1900 + n) // 3, sales=x)
    plain = pd.DataFrame({"height": rng.normal(170, 9, n).round(1), "age": rng.integers(1, 80, n), "x": x})
    plain["label"] = label
    for column in plain:
        ordered = plain.sort_values(column, ignore_index=True)
        yield Case(f"sorted by {column}", ordered, {"target": "label"})
    yield case(
        "ranks", rank=pd.Series(x).rank(method="min").astype(int), value=rng.normal(size=n), label=label
    )
    yield case("numbers to predict", target="y", x=np.linspace(0, 1, n), z=rng.normal(size=n), y=x)
    yield case("texts", text=_texts(rng, which), label=label)
    yield case("short answers", answer=rng.choice(["yes", "no", "maybe so, I do not know"], n), label=label)
    yield case("yes and no", flag=rng.random(n) < 0.5, other=rng.random(n) < 0.1, label=label)
    yield case("half empty", value=np.where(rng.random(n) < 0.5, x, np.nan), other=x, label=label)
    yield case(
        "two moons", x=np.where(which, 3, 0) + rng.normal(size=n), y=rng.normal(size=n), label=which > 0
    )
    yield case(
        "small",
        ("small_classes", "pet"),
        weight=[4.1, 3.9, 30.5, 28.2, 31.0, 4.4],
        pet=["cat", "cat", "dog", "dog", "dog", "cat"],
        target="pet",
    )
    yield case("wide", label=label, **{f"x{i}": x + rng.normal(size=n) for i in range(200)})
    yield case("pictures", photo=[_picture(rng, k) for k in which], label=label)
    yield case("sounds", clip=[_tone(rng, k) for k in which[:90]], label=label[:90])
    yield case("series", steps=[_wave(rng, k) for k in which], label=label)
    yield case("vectors", vector=list(rng.normal(size=(n, 8)) + which[:, None]), label=label)
    yield case("one-hot vectors", vector=[np.eye(4)[i].tolist() for i in rng.integers(0, 4, n)], label=label)
    yield case(
        "lists of labels",
        target="tags",
        value=x,
        tags=[list(rng.permutation(["sun", "sea", "sky"])[: i % 4]) for i in range(n)],
    )
    yield case("years alone", target="sales", year=np.arange(1700, 1700 + n), sales=x)
    two = sklearn.datasets.load_iris(as_frame=True).frame[:100]
    yield Case("two of three irises", two, {"target": "target"})
    yield case("no labels", target=None, value=x, colour=_pick(rng, n, 5), age=rng.integers(18, 80, n))
    yield case(
        "mixed",
        photo=[_picture(rng, k) for k in which],
        text=_texts(rng, which),
        value=x,
        colour=_pick(rng, n, 4),
        label=label,
    )


def clean() -> Iterator[Case]:
    yield from sklearn_tables()
    yield from own()


def planted() -> Iterator[Case]:
    """Tables with one sort of fault each."""
    rng = np.random.default_rng(1)
    n = 300
    label = np.array(["oak", "elm", "ash"] * (n // 3))
    which = np.array([0, 1, 2] * (n // 3))
    base = pd.DataFrame(
        {"x": (which + rng.normal(size=n)).round(4), "y": rng.normal(size=n).round(4), "label": label}
    )
    text = base.assign(text=_texts(rng, which))
    pictures = base.assign(photo=[_picture(rng, k) for k in which])

    def case(name: str, frame: pd.DataFrame, *said: ClassInfo, **roles: Any) -> Case:
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


def shared(folder: Path) -> Iterator[Case]:
    """The project's shared tables, with what their notes, or a look at them, say is so."""
    for name, roles, said in _SHARED:
        yield Case(name, folder / f"{name}.parquet", roles, frozenset(said))


def _column(what: str, *columns: str) -> list[ClassInfo]:
    return [(what, column) for column in columns]


_SHARED: list[tuple[str, dict[str, Any], list[ClassInfo]]] = [
    (
        "omniglot_background",
        {"target": "character", "task": "alphabet", "group": "drawer"},
        _column("duplicate_content", "image"),
    ),
    ("omniglot_evaluation_a", {"target": "character", "task": "alphabet", "group": "drawer"}, []),
    (
        "omniglot_strokes",
        {"target": "character", "task": "alphabet", "group": "drawer", "split": "split"},
        [*_column("gives_label_away", "subset"), *_column("group_in_two_parts", "drawer")],
    ),
    ("digits", {"target": "digit"}, _column("label_noise", "digit")),  # a 7 called 4, a 2 called 8, …
    ("spoken_digits", {"target": "digit", "task": "speaker"}, []),
    ("av_digits", {"target": "digit", "group": "speaker"}, []),
    ("environmental_sounds", {"target": "label", "group": "freesound_id"}, []),
    ("emotional_speech", {"target": "emotion", "group": "speaker"}, []),
    (
        "emoji",
        {"target": "name", "task": "group", "group": "codepoints"},
        [
            *_column("duplicate_content", "image"),
            *_column("small_classes", "name"),
            *_column("gives_label_away", "keywords", "subgroup"),
            *_column("gives_label_away", "sentiment_negative", "sentiment_neutral", "sentiment_positive"),
        ],
    ),
    (
        "activity",
        {"target": "activity", "group": "subject"},
        [("constant", "dominant_hand"), ("missing_by_class", "watch"), ("imbalance", None)],
    ),
    (
        "opinion_sentiment",
        {"target": "sentiment", "group": "video_id"},
        [
            *_column("duplicate_content", "video", "text_embedding"),
            *_column("content_in_two_parts", "video"),
        ],
    ),
    ("speaker_traits", {"target": "confident"}, []),
    (
        "sarcasm",
        {"target": "sarcasm", "group": "show"},
        [("value_tells_label", "speaker")],
    ),
    (
        "chest_xray",
        {"target": "icu", "group": "patient"},
        [
            *_column("beyond_limits", "d_dimer"),
            *_column("value_tells_label", "projection", "dicom_modality"),
            *_column("gives_label_away", "icu_admission_offset", "icu_release_offset"),
            *_column("missing_by_class", "ldh", "lymphocytes", "death_offset"),
        ],
    ),
    ("sign_keypoints", {"target": "word"}, [("gives_label_away", "word_english")]),
    ("kg_wn18rr", {"target": "relation", "split": "split"}, [("imbalance", None)]),
    (
        "kg_umls",
        {"target": "relation", "split": "split"},
        [("small_classes", "relation"), ("imbalance", None)],
    ),
]


def _rare(rng: np.random.Generator, n: int) -> np.ndarray:
    """Numbers of which one is there twice."""
    numbers = (5 + rng.permutation(n) * 3.17).round(2)
    numbers[9] = numbers[4]
    return np.asarray(numbers)


def _seldom(rng: np.random.Generator, n: int, most: int) -> list[int]:
    """Whole numbers of which a few are there twice."""
    numbers = rng.choice(most, n, replace=False)
    numbers[[5, 50]] = numbers[[4, 40]]
    return [int(i) for i in numbers]


def _pick(rng: np.random.Generator, n: int, many: int) -> np.ndarray:
    return np.array([f"kind {chr(97 + i % 26)}{'x' * (i // 26)}" for i in range(many)])[
        rng.integers(0, many, n)
    ]


def _entities(rng: np.random.Generator, n: int) -> np.ndarray:
    """Patients of whom a few came twice."""
    ids = rng.permutation(n) + 1000
    ids[[3, 30, 60]] = ids[[1, 2, 9]]
    return np.asarray(ids)


def _days(rng: np.random.Generator, n: int) -> list[str]:
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(_seldom(rng, n, 900), unit="D")
    return [day.date().isoformat() for day in days]


def _texts(rng: np.random.Generator, which: np.ndarray) -> list[str]:
    words = np.array(
        [
            "leaf",
            "bark",
            "root",
            "crown",
            "seed",
            "stem",
            "ring",
            "bud",
            "twig",
            "moss",
            "rain",
            "wind",
            "soil",
            "sun",
            "frost",
            "bird",
        ]
    )
    return [" ".join(rng.choice(np.roll(words, 3 * k)[:12], 12)) + "." for k in which]


def _picture(rng: np.random.Generator, k: int) -> bytes:
    square = np.kron(rng.integers(0, 255, (6, 6, 3)), np.ones((6, 6, 1))).astype(np.uint8)
    square[:, :, k] |= 128
    out = io.BytesIO()
    PIL.Image.fromarray(square).save(out, "PNG")
    return out.getvalue()


def _tone(rng: np.random.Generator, k: int) -> bytes:
    t = np.arange(4000) / 8000
    sound = np.sin(2 * np.pi * (200 * (k + 1) + 40 * rng.normal()) * t) * rng.uniform(
        0.2, 0.8
    ) + 0.1 * rng.normal(size=4000)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((8000 * sound).astype("<i2").tobytes())
    return out.getvalue()


def _wave(rng: np.random.Generator, k: int) -> list[list[float]]:
    t = np.linspace(0, 1, int(rng.integers(20, 30)))
    return [
        [float(v)]
        for v in np.sin(2 * np.pi * (k + 1 + 0.15 * rng.normal()) * t) + 0.2 * rng.normal(size=len(t))
    ]


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


def as_file(case: Case, folder: Path) -> Path:
    """The table as CSV where all cells are single values, else as Parquet."""
    if isinstance(case.table, Path):
        return case.table
    single = all(
        isinstance(c, (str, int, float, bool, type(None), np.generic))
        for c in case.table.to_numpy(object).ravel()
    )
    path = folder / f"table.{'csv' if single else 'parquet'}"
    case.table.to_csv(path, index=False) if single else case.table.to_parquet(path)
    return path


def audited(case: Case, folder: Path) -> Iterator[tuple[str, Audit]]:
    """The audits of a table, as it is and as a file."""
    if not isinstance(case.table, Path):
        yield "frame", mm.audit(case.table, **case.roles)
    path = as_file(case, folder)
    yield path.suffix[1:], mm.audit(path, **case.roles)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--shared", type=Path, help="the folder of the shared tables")
    folder = options.parse_args().shared
    sorts = {
        "sklearn": sklearn_tables(),
        "own": own(),
        "planted": planted(),
        "shared": shared(folder) if folder else (),
    }
    for sort, cases in sorts.items():
        for case in cases:
            with tempfile.TemporaryDirectory() as place:
                for form, audit in audited(case, Path(place)):
                    alarms, lost = false_alarms(case, audit), missed(case, audit)
                    print_line(
                        f"audit: {case.name}",
                        formulation=f"as a {form}",
                        baseline="what was planted",
                        sort=sort,
                        rows=len(audit.dataset),
                        reported=sorted(map(str, told(audit))),
                        alarms=sorted(map(str, alarms)),
                        missed=sorted(map(str, lost)),
                    )


if __name__ == "__main__":
    main()
