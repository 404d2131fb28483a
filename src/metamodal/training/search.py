"""Automatic choice: candidates race for the budget, the worse half drops out round by round."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

__all__ = ["Candidate", "Halved", "Placed", "candidates", "halved", "rounds_of"]

_LEAST_SECONDS = 10.0
_FINAL_SHARE = 0.5

State = TypeVar("State")


@dataclass(frozen=True)
class Candidate:
    """A learner, a fusion, and what else is to be different in training.

    `generic` features have no weights, and only the learner's own parameters are trained.
    """

    learner: str | dict[str, Any]
    fusion: str = "mean"
    generic: bool = False
    train: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The candidate in a few words, e.g. `ridge, attention`."""
        said = self.learner if isinstance(self.learner, str) else _said(self.learner)
        more = [f"{k}={v}" for k, v in self.train.items()]
        more += ["generic features"] if self.generic else []
        return ", ".join([said, *([self.fusion] if self.fusion != "mean" else []), *more])


@dataclass(frozen=True)
class Placed:
    """A line of the leaderboard: a candidate's last validation, and how long it trained in all."""

    candidate: Candidate
    score: float
    ci95: float
    seconds: float
    rounds: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.candidate.name,
            "learner": self.candidate.learner,
            "fusion": self.candidate.fusion,
            "generic": self.candidate.generic,
            "train": self.candidate.train,
            "valid": {"mean": self.score, "ci95": self.ci95},
            "seconds": round(self.seconds, 1),
            "rounds": self.rounds,
        }


def candidates(modalities: int, output: str, fusions: Sequence[str]) -> list[Candidate]:
    """What to choose from, the most promising first.

    Args:
        modalities: how many there are; with one there is nothing to fuse.
        output: the kind of target, see `metamodal.outputs`.
        fusions: those that may be chosen, the first for most.
    """
    first, other = fusions[0], fusions[-1]
    if output != "classes":
        single = [Candidate("ridge", first), Candidate("matching", first), Candidate("in_context", first)]
        single += [Candidate({"kind": "maml", "adapts": "head"}, first), Candidate("modulated", first)]
    else:
        single = [Candidate(name, first) for name in ("ridge", "prototypes", "in_context", "convex", "anil")]
        single += [Candidate("ridge", first, train={"lr": 3e-3}), Candidate("matching", first)]
    generic = Candidate("ridge" if modalities == 1 else "per_modality", first, generic=True)
    if modalities == 1:
        return [single[0], generic, *single[1:]]
    voices = [Candidate("per_modality", first)]
    if other != first:
        voices.append(Candidate("per_modality", other))
    if output == "classes":
        voices.append(Candidate({"kind": "per_modality", "base": "prototypes"}, first))
    attentive = [Candidate("in_context", other)] if other != first else []
    return [voices[0], generic, *voices[1:], *single[:2], *attentive, *single[2:]]


def rounds_of(count: int, budget: float) -> list[tuple[int, float]]:
    """Rounds as (candidates, seconds for each), the last for the winner with half of the budget.

    As many of `count` candidates take part as leave each of them ten seconds in the first round.

    >>> rounds_of(8, 600)
    [(8, 12.5), (4, 25.0), (2, 50.0), (1, 300.0)]
    >>> rounds_of(8, 30)
    [(1, 30)]
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

    def __init__(self, state: State, board: tuple[Placed, ...]) -> None:
        self.state, self.board = state, board


def halved(
    entrants: Sequence[Candidate],
    budget: float,
    trial: Callable[[Candidate, float, State | None], tuple[float, float, State]],
) -> Halved[State]:
    """Successive halving (Jamieson and Talwalkar, 2016).

    Args:
        trial: trains a candidate for so many seconds, from a state of its own if it has one, and gives
            its validation score, the half-width of its 95 % interval, and its state.
    """
    rounds = rounds_of(len(entrants), budget)
    running = list(entrants[: rounds[0][0]])
    states: dict[str, State] = {}
    placed: dict[str, Placed] = {}
    for number, (size, seconds) in enumerate(rounds, 1):
        running = sorted(running, key=lambda c: -placed[c.name].score if placed else 0)[:size]
        for candidate in running:
            name = candidate.name
            score, ci95, states[name] = trial(candidate, seconds, states.get(name))
            spent = seconds + (placed[name].seconds if name in placed else 0)
            placed[name] = Placed(candidate, score, ci95, spent, number)
    board = sorted(placed.values(), key=lambda p: (-p.rounds, -p.score))
    return Halved(states[board[0].candidate.name], tuple(board))


def _said(learner: dict[str, Any]) -> str:
    rest = ", ".join(f"{k}={v}" for k, v in learner.items() if k != "kind")
    return f"{learner['kind']}({rest})"
