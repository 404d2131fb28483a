"""Sound tables, of which the audit has nothing to say but what is so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import sklearn.datasets

from tables.audit_cases import Case, Reported
from tables.made_cells import days, entities, pick, picture, rare, seldom, series, texts, tone

__all__ = ["clean", "own", "sklearn_tables"]


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

    def case(name: str, *said: Reported, target: Any = "label", **columns: Any) -> Case:
        return Case(name, pd.DataFrame(columns), {"target": target} if target else {}, frozenset(said))

    yield case("prices", price=rare(rng, n), weight=x, label=label)
    yield case(
        "few categories", colour=rng.choice(["red", "blue"], n), size=rng.integers(1, 4, n), label=label
    )
    yield case(
        "birthdays", colour=pick(rng, n, 5), shape=pick(rng, n, 9), age=rng.integers(18, 80, n), label=label
    )
    yield case("whole numbers", age=rng.integers(18, 80, n), visits=rng.poisson(2, n), label=label)
    yield case("large whole numbers", population=rng.integers(0, 30_000, n), label=label)
    yield case(
        "ids", case_id=[f"case-{i:03}" for i in range(n)], number=rng.permutation(n), value=x, label=label
    )
    yield case("entities", patient_id=entities(rng, n), device=pick(rng, n, 40), value=x, label=label)
    yield case("codes", product=[f"SKU-{i}" for i in seldom(rng, n, 10_000)], value=x, label=label)
    yield case("postal codes", postcode=[f"{i:05}" for i in seldom(rng, n, 90_000)], value=x, label=label)
    yield case("phones", phone=[f"+49 170 {i}" for i in seldom(rng, n, 9_999_999)], value=x, label=label)
    yield case("dates", day=days(rng, n), value=x, label=label)
    yield case(
        "times", clock=[f"{i // 60:02}:{i % 60:02}" for i in seldom(rng, n, 1440)], value=x, label=label
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
    yield case("texts", text=texts(rng, which), label=label)
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
    yield case("pictures", photo=[picture(rng, k) for k in which], label=label)
    yield case("sounds", clip=[tone(rng, k) for k in which[:90]], label=label[:90])
    yield case("series", steps=[series(rng, k) for k in which], label=label)
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
    yield case("no labels", target=None, value=x, colour=pick(rng, n, 5), age=rng.integers(18, 80, n))
    yield case(
        "mixed",
        photo=[picture(rng, k) for k in which],
        text=texts(rng, which),
        value=x,
        colour=pick(rng, n, 4),
        label=label,
    )


def clean() -> Iterator[Case]:
    yield from sklearn_tables()
    yield from own()
