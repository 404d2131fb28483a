"""Successive halving: candidates train for a share of the budget, and the worse half drops out round by round."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from metamodal.components import Auto, Built, component, component_record, in_words, kind_of
from metamodal.errors import OptionError
from metamodal.mappings.fusion import fusions
from metamodal.meta.learners import learners
from metamodal.outputs import Output
from metamodal.types import Learner

__all__ = ["Candidate", "Halved", "Ranked", "candidates", "halved", "rounds_of"]

_LEAST_SECONDS = 10.0
_FINAL_SHARE = 0.5

State = TypeVar("State")


@dataclass(frozen=True)
class Candidate:
    """A learner, a fusion, and a learning rate if it is not the default.

    `generic` features have no weights, and only the learner's own parameters are trained.
    """

    learner: Learner
    fusion: Built = Built(fusions["mean"])  # noqa: RUF009 - a constant
    generic: bool = False
    lr: float | None = None

    @property
    def name(self) -> str:
        """The candidate in a few words, e.g. `ridge, attention`."""
        fusion = kind_of(fusions, self.fusion)
        parts = [in_words(learners, self.learner), *([fusion] if fusion != "mean" else [])]
        parts += [f"lr={self.lr}"] if self.lr else []
        return ", ".join([*parts, *(["generic features"] if self.generic else [])])


@dataclass(frozen=True)
class Ranked:
    """A line of the leaderboard: a candidate's last validation, and how long it trained in all."""

    candidate: Candidate
    score: float
    ci95: float
    seconds: float
    rounds: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.candidate.name,
            "learner": component_record(learners, self.candidate.learner),
            "fusion": component_record(fusions, self.candidate.fusion),
            "generic": self.candidate.generic,
            "lr": self.candidate.lr,
            "valid": {"mean": self.score, "ci95": self.ci95},
            "seconds": round(self.seconds, 1),
            "rounds": self.rounds,
        }


def candidates(
    modalities: int, output: Output, auto: Auto, fusions_by_rank: Sequence[Built]
) -> list[Candidate]:
    """What to choose from, the most promising first: those learners that have the options of `auto`.

    Args:
        modalities: how many there are; with one there is nothing to fuse.
        output: the kind of target, see `metamodal.outputs`.
        fusions_by_rank: those that may be chosen, the first for most.
    """
    plans = _plans(modalities, output, several_fusions=len(fusions_by_rank) > 1)
    able = set(auto.choices(learners, [kind for kind, *_ in plans]))
    if not able & {kind for kind, *_ in plans}:
        plans = [(kind, {}, False, False, None) for kind in sorted(able)]
    found = []
    for kind, options, other, generic, lr in plans:
        if kind not in able:
            continue
        try:
            learner = component(learners, {"kind": kind} | options | auto.given)
        except OptionError:  # an option of another learner's has the same name
            continue
        found.append(Candidate(learner, fusions_by_rank[-1 if other else 0], generic, lr))
    return [c for n, c in enumerate(found) if c.name not in {earlier.name for earlier in found[:n]}]


_Plan = tuple[str, dict[str, Any], bool, bool, float | None]
"""Learner and options, whether with the other fusion, whether on generic features, and the learning rate."""


def _plans(modalities: int, output: Output, *, several_fusions: bool) -> list[_Plan]:
    def plan(
        kind: str, *, other: bool = False, generic: bool = False, lr: float | None = None, **options: Any
    ) -> _Plan:
        return kind, options, other, generic, lr

    if not output.has_classes:
        single = [plan("ridge"), plan("matching"), plan("in_context")]
        single += [plan("maml", adapts="head"), plan("modulated")]
    else:
        single = [plan(kind) for kind in ("ridge", "prototypes", "in_context", "convex", "anil")]
        single += [plan("ridge", lr=3e-3), plan("matching")]
    generic = plan("ridge" if modalities == 1 else "per_modality", generic=True)
    if modalities == 1:
        return [single[0], generic, *single[1:]]
    per_modality = [plan("per_modality")]
    if several_fusions:
        per_modality.append(plan("per_modality", other=True))
    if output.has_classes:
        per_modality.append(plan("per_modality", base="prototypes"))
    attentive = [plan("in_context", other=True)] if several_fusions else []
    return [per_modality[0], generic, *per_modality[1:], *single[:2], *attentive, *single[2:]]


def rounds_of(count: int, budget: float) -> list[tuple[int, float]]:
    """Rounds as (candidates, seconds for each), the last for the winner with half of the budget.

    As many of `count` candidates take part as leave each of them ten seconds in the first round.

    >>> rounds_of(8, 600.0)
    [(8, 12.5), (4, 25.0), (2, 50.0), (1, 300.0)]
    >>> rounds_of(8, 30.0)
    [(1, 30.0)]
    """
    while count > 1:
        halvings = math.ceil(math.log2(count))
        share = (1 - _FINAL_SHARE) * budget / halvings
        if share / count >= _LEAST_SECONDS:
            sizes = [math.ceil(count / 2**i) for i in range(halvings)]
            return [*((size, share / size) for size in sizes), (1, _FINAL_SHARE * budget)]
        count -= 1
    return [(1, budget)]


class Halved(Generic[State]):
    """The winner's state and the leaderboard, best first."""

    def __init__(self, state: State, board: tuple[Ranked, ...]) -> None:
        self.state, self.board = state, board


def halved(
    starts: Sequence[Candidate],
    budget: float,
    trial: Callable[[Candidate, float, State | None], tuple[float, float, State]],
) -> Halved[State]:
    """Successive halving (Jamieson and Talwalkar, 2016).

    Args:
        trial: trains a candidate for so many seconds, from a state of its own if it has one, and gives
            its validation score, the half-width of its 95 % interval, and its state.
    """
    rounds = rounds_of(len(starts), budget)
    running = list(starts[: rounds[0][0]])
    states: dict[str, State] = {}
    ranked: dict[str, Ranked] = {}
    for number, (size, seconds) in enumerate(rounds, 1):
        running = sorted(running, key=lambda c: -ranked[c.name].score if ranked else 0)[:size]
        for candidate in running:
            name = candidate.name
            score, ci95, states[name] = trial(candidate, seconds, states.get(name))
            spent = seconds + (ranked[name].seconds if name in ranked else 0)
            ranked[name] = Ranked(candidate, score, ci95, spent, number)
    board = sorted(ranked.values(), key=lambda p: (-p.rounds, -p.score))
    return Halved(states[board[0].candidate.name], tuple(board))
