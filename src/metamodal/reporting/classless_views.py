"""Labels and numbers in a report: scores with and without support rows, each output, episodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from metamodal.evaluation.protocol import Evaluation, Showcase
from metamodal.evaluation.results import Result
from metamodal.reporting.pictures import Picture, scatter
from metamodal.reporting.text import SHOWN, label

__all__ = ["ClasslessTest", "classless_episodes", "classless_tests"]

_EPISODES = 3
_SUPPORT, _QUERY = 20, 30  # rows of an episode, so that the file stays small
_DRAWINGS = 6  # outputs that are drawn
_LOWEST = -0.4  # of the axis; what is worse stands at its edge
_SCORE_NOTES = {
    "r2": "r2 is one less the mean squared error over the variance of the training rows: 0 for a constant prediction of their mean.",
    "average precision": "Average precision is the mean over labels that some query row has and some has not; F1 and exact matches take a label as predicted where its probability is above one half.",
}


@dataclass(frozen=True)
class _Row:
    """A result as it is drawn; places on the axis are in percent."""

    label: str
    own: bool
    whole: bool
    score: str
    ci95: str
    figures: list[tuple[str, str]]
    gain: str
    low: float
    mean: float
    high: float


@dataclass(frozen=True)
class ClasslessTest:
    """An evaluation as the page shows it; `without_support` is a place on the axis, as `ticks` are."""

    evaluation: Evaluation
    score: str
    score_note: str
    shown: dict[str, str]
    rows: list[_Row]
    without_support: float
    ticks: list[tuple[float, str]]
    outputs: list[tuple[str, list[str]]]
    scatters: list[Markup]

    @property
    def best_baseline(self) -> Result | None:
        """The best with nothing more missing than the table lacks."""
        able = [b for b in self.evaluation.baselines if not b.missing and not math.isnan(b.score[0])]
        return max(able, key=lambda b: b.score[0], default=None)


def classless_tests(evaluations: Sequence[Evaluation]) -> list[ClasslessTest]:
    """All evaluations of labels and numbers on one axis, so that they compare at a glance."""
    found = [e for e in evaluations if not e.targets.has_classes]
    edges = [mean - ci95 for e in found for mean, ci95 in (r.score for r in _all(e))]
    lowest = min([0.8, *(edge for edge in edges if not math.isnan(edge))])
    start = math.floor(max(_LOWEST, lowest) / 0.2) * 0.2
    steps = round((1 - start) / 0.2)

    def place(share: float) -> float:
        return 0.0 if math.isnan(share) else round(100 * min(max((share - start) / (1 - start), 0.0), 1.0), 2)

    ticks = [(place(start + 0.2 * i), f"{100 * (start + 0.2 * i):.0f}") for i in range(steps + 1)]
    return [_test(e, place, ticks) for e in found]


def _all(e: Evaluation) -> tuple[Result, ...]:
    return (*e.results, *((e.without_support,) if e.without_support else ()), *e.baselines)


def _test(e: Evaluation, place: Callable[[float], float], ticks: list[tuple[float, str]]) -> ClasslessTest:
    shown, score = SHOWN[e.targets.kind], e.score.replace("_", " ")
    rows = [_row(e, r, shown, place) for r in _all(e)]
    return ClasslessTest(
        e,
        score,
        _SCORE_NOTES[score],
        shown,
        rows,
        place(e.without_support.score[0]) if e.without_support else 0.0,
        ticks,
        _outputs(e, shown),
        _scatters(e),
    )


def _row(e: Evaluation, result: Result, shown: dict[str, str], place: Callable[[float], float]) -> _Row:
    mean, ci95 = result.score
    record = result.to_dict()
    figures = [(name, _figure(record[key]["mean"], e.targets.kind)) for key, name in shown.items()]
    gain = f"{100 * result.gain[0]:+.2f} ± {100 * result.gain[1]:.2f}" if result.gain else ""
    own = any(result is r for r in e.results) or result is e.without_support
    name = label(e, result).replace(" %", "\u00a0%")
    places = place(mean - ci95), place(mean), place(mean + ci95)
    return _Row(name, own, result is e.whole, _percent(mean), _percent(ci95), figures, gain, *places)


def _outputs(e: Evaluation, shown: dict[str, str]) -> list[tuple[str, list[str]]]:
    """The scores of each of several outputs, the best first; of labels the micro mean adds nothing."""
    names = [e.score, *(key for key in shown if key != "f1_micro")]
    scores = e.whole.to_dict().get("outputs", {})
    order = sorted(scores, key=lambda name: -(scores[name][e.score]["mean"] or 0.0))
    kinds = ["multilabel", *[e.targets.kind] * (len(names) - 1)]
    return [
        (name, [_figure(scores[name][key]["mean"], kind) for key, kind in zip(names, kinds)])
        for name in order
    ]


def _scatters(e: Evaluation) -> list[Markup]:
    if e.answers is None or e.targets.kind != "regression":
        return []
    drawings = []
    for k, name in list(enumerate(e.targets.names))[:_DRAWINGS]:
        true, said = e.answers[:, 0, k], e.answers[:, 1, k]
        known = true == true
        if known.any():
            drawings.append(scatter(true[known], said[known], (f"true {name}", f"predicted {name}")))
    return drawings


def _figure(value: float | None, kind: str) -> str:
    """Scores of labels in percent, errors of numbers in their unit."""
    if value is None:
        return "–"
    return _percent(value) if kind == "multilabel" else f"{value:.4g}"


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.2f}"


@dataclass(frozen=True)
class _Shown:
    """A row of an episode: its pictures, what is true of it, and what was predicted."""

    pictures: tuple[Picture, ...]
    true: str
    predicted: str = ""


@dataclass(frozen=True)
class _Episode:
    """An episode on the page, and how many more query rows it has."""

    support: list[_Shown]
    query: list[_Shown]
    more: int


def classless_episodes(
    evaluations: Sequence[Evaluation], draw: Callable[[int], tuple[Picture, ...]]
) -> list[_Episode]:
    """The first episodes of the first evaluation of labels or numbers."""
    first = [e for e in evaluations if not e.targets.has_classes][:1]
    return [_episode(showcase, draw) for e in first for showcase in e.showcases[:_EPISODES]]


def _episode(showcase: Showcase, draw: Callable[[int], tuple[Picture, ...]]) -> _Episode:
    support = [_Shown(draw(int(r)), str(name)) for r, name in zip(showcase.support, showcase.support_names)]
    rows = zip(showcase.query[:_QUERY], showcase.query_names, showcase.predicted)
    query = [_Shown(draw(int(r)), str(true), said) for r, true, said in rows]
    return _Episode(support[:_SUPPORT], query, max(0, len(showcase.query) - _QUERY))
