"""The losses of a training in a report: how far each moves the weights, and which conflict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from markupsafe import Markup

from metamodal.reporting.pictures import lines

__all__ = ["LossView", "loss_view"]


@dataclass(frozen=True)
class _Loss:
    """A loss at the first validation and at the last, and what it did in all of them.

    `share` is the mean of its share of the gradients' norms, `cosine` the mean of its cosine with the others.
    """

    name: str
    first: Mapping[str, float]
    last: Mapping[str, float]
    share: float
    cosine: float


@dataclass(frozen=True)
class LossView:
    """The losses of a training over time, and the mean share of each modality's encoder in the gradient."""

    charts: tuple[Markup, ...]
    each: tuple[_Loss, ...]
    modalities: Mapping[str, float]
    validations: int


def loss_view(points: Sequence[Mapping[str, Any]]) -> LossView | None:
    """The view of what the validations of a training found of its losses; nothing of a single loss.

    Args:
        points: the record `losses` of a training's outcome.
    """
    if not points or len(points[-1]["losses"]) < 2:
        return None
    first, last = points[0], points[-1]
    unit, name = (60.0, "min") if last["elapsed"] > 180 else (1.0, "s")
    time = [point["elapsed"] / unit for point in points]

    def chart(key: str, title: str, scale: float = 1.0) -> Markup:
        values = {loss: [scale * point["losses"][loss][key] for point in points] for loss in last["losses"]}
        return lines(time, values, (f"time ({name})", title))

    charts = [chart("share", "share of the gradients' norms (%)", 100.0)]
    if any(
        point["losses"][loss]["weight"] != said["weight"]
        for point in points
        for loss, said in first["losses"].items()
    ):
        charts.append(chart("weight", "λ in effect"))
    found = tuple(
        _Loss(loss, first["losses"][loss], now, _mean(points, loss, "share"), _mean(points, loss, "cosine"))
        for loss, now in last["losses"].items()
    )
    pulls = {name: fmean(p["modalities"][name]["share"] for p in points) for name in last["modalities"]}
    return LossView(tuple(charts), found, pulls, len(points))


def _mean(points: Sequence[Mapping[str, Any]], loss: str, key: str) -> float:
    return fmean(point["losses"][loss][key] for point in points)
