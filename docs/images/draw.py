"""Draws the README's picture and table from what `metamodal demo` measured: `draw.py metamodal-demo/evaluation.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

ROWS = (
    ("all modalities", "metamodal", ("image", "outline", "metrics"), 0.0),
    ("image alone", "metamodal", ("image",), 0.0),
    ("outline alone", "metamodal", ("outline",), 0.0),
    ("metrics alone", "metamodal", ("metrics",), 0.0),
    ("all, half of the cells missing", "metamodal", ("image", "outline", "metrics"), 0.5),
    ("logistic regression, all concatenated", "concatenated", ("image", "outline", "metrics"), 0.0),
    ("logistic regression, fused late", "late", ("image", "outline", "metrics"), 0.0),
    ("logistic regression, image alone", None, ("image",), 0.0),
    ("logistic regression, half of the cells missing", "late", ("image", "outline", "metrics"), 0.5),
)


def accuracy(document: dict[str, Any], row: tuple[Any, ...]) -> tuple[float, float]:
    """Mean and half-interval of a row in percent; baselines are those on untrained features."""
    _, source, modalities, missing = row
    if source == "metamodal":
        found = document["results"]
    else:
        found = [
            b
            for b in document["baselines"]
            if (b["name"], b["features"], b["fusion"]) == ("logistic_regression", "untrained", source)
        ]
    match = next(r for r in found if tuple(r["modalities"]) == modalities and r["missing"] == missing)
    return 100 * match["accuracy"]["mean"], 100 * match["accuracy"]["ci95"]


def draw(documents: list[dict[str, Any]], path: Path) -> None:
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    for axes, document in zip(figure.subplots(1, 2, sharey=True), documents):
        p = document["protocol"]
        for place, row in enumerate(reversed(ROWS)):
            mean, ci95 = accuracy(document, row)
            colour = "#0b5cad" if row[1] == "metamodal" else "#8a93a3"
            axes.barh(place, mean, xerr=ci95, color=colour, height=0.7, error_kw={"lw": 1})
            axes.text(
                mean - ci95 - 1, place, f"{mean:.1f}", va="center", ha="right", color="white", fontsize=8
            )
        axes.axvline(100 / p["way"], color="#b4532a", lw=1, ls="--")
        axes.set(xlim=(0, 100), title=f"{p['way']}-way {p['shot']}-shot", xlabel="accuracy, %")
        axes.set_yticks(range(len(ROWS)), [row[0] for row in reversed(ROWS)])
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def table(documents: list[dict[str, Any]]) -> str:
    heads = [f"{d['protocol']['way']}-way {d['protocol']['shot']}-shot" for d in documents]
    lines = [f"| | {' | '.join(heads)} |", "|---|---|---|"]
    for row in ROWS:
        cells = ["{:.1f} ± {:.1f}".format(*accuracy(d, row)) for d in documents]
        name = f"**{row[0]}**" if row is ROWS[0] else row[0]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    found = json.loads(Path(sys.argv[1]).read_text())["evaluations"]
    draw(found, Path(__file__).with_name("demo.png"))
    print(table(found))
