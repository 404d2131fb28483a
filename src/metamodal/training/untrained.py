"""The model without meta-training is always a candidate: trained too briefly, a model is worse than none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from metamodal.evaluation.metrics import SCORES, interval
from metamodal.training.judge import judges
from metamodal.training.material import Material
from metamodal.training.population import populated
from metamodal.types import Params

__all__ = ["Untrained", "against_untrained"]


@dataclass(frozen=True)
class Untrained:
    """The scores of the trained and of the untrained model on the same validation episodes, the gain of the
    untrained one with its 95 % interval over validation rows, and its parameters."""

    score: str
    trained: float
    untrained: float
    gain: float
    ci95: float
    params: Params

    @property
    def wins(self) -> bool:
        """Whether the untrained model is better beyond the interval."""
        return self.gain > max(0.0, self.ci95 if self.ci95 == self.ci95 else 0.0)

    def to_dict(self) -> dict[str, Any]:
        return {
            "score": self.score,
            "trained": self.trained,
            "untrained": self.untrained,
            "gain": self.gain,
            "ci95": self.ci95,
            "wins": self.wins,
        }

    def __str__(self) -> str:
        name = self.score.replace("_", " ")
        return (
            f"on validation tasks the untrained model has {100 * self.untrained:.1f} % {name}, the trained one "
            f"{100 * self.trained:.1f} % (gain {100 * self.gain:+.1f} ± {100 * self.ci95:.1f})"
        )


def against_untrained(
    material: Material, params: Params, plain: Material, plain_params: Params
) -> Untrained | None:
    """The two on validation tasks, at one support row a class and at several; nothing where these have no labels.

    Args:
        plain: the same rows as generic features under a learner that was not trained.
    """
    if material.tasks.blind:
        return None
    plain_params, _ = populated(plain, plain_params)
    pairs = list(zip(judges(material), judges(plain)))
    if not pairs:
        return None
    ours, theirs, rows = [], [], []
    for judge, other in pairs:
        hits, at = judge.evidence(params, judge.episodes(params))
        ours.append(hits)
        theirs.append(other.evidence(plain_params, other.episodes(plain_params))[0])
        rows.append(at)
    mine, rival, where = (torch.cat(parts) for parts in (ours, theirs, rows))
    score = SCORES[material.engine.output.name]
    gain, ci95 = interval(rival - mine, where)
    return Untrained(score, interval(mine)[0], interval(rival)[0], gain, ci95, plain_params)
