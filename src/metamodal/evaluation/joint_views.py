"""What a report shows of the losses of a training: how far each moves the weights, and which are at odds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from metamodal.evaluation.pictures import lines

__all__ = ["JointView", "joint_view"]


@dataclass(frozen=True)
class _Loss:
    """A loss at the last validation, and the λ that it began with."""

    name: str
    first_weight: float
    now: Mapping[str, float]


@dataclass(frozen=True)
class JointView:
    """The losses and the modalities of a training over time and at its end."""

    charts: tuple[Markup, ...]
    losses: tuple[_Loss, ...]
    modalities: Mapping[str, Mapping[str, float]]


def joint_view(points: Sequence[Mapping[str, Any]]) -> JointView | None:
    """The view of what the validations of a training found of its losses; nothing of a single loss.

    Args:
        points: the record `joint` of a training's outcome.
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
    found = tuple(_Loss(loss, first["losses"][loss]["weight"], said) for loss, said in last["losses"].items())
    return JointView(tuple(charts), found, last["modalities"])
