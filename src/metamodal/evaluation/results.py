"""What was measured of one learner or baseline on one subset of the modalities."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.data.schema.targets import Targets
from metamodal.evaluation.baselines.protocol import TrainedOn
from metamodal.evaluation.metrics import SCORES, calibration_error, interval, scores_of

__all__ = ["Condition", "Result", "named", "scored"]


@dataclass(frozen=True)
class Condition:
    """These modalities alone, and of their cells a share missing, chosen by the seed.

    `queried` are the modalities of the query rows where they are others than the support's.
    """

    modalities: tuple[str, ...]
    missing: float = 0.0
    seed: int = 0
    queried: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Result:
    """Scores of one learner or baseline on one subset of the modalities, over all episodes.

    Of labels and numbers, `outputs` holds the scores of each of several by name, and `without_support` the
    scores of the same model without support rows. `trained_on` is what rows a baseline was fitted to. `ece` is NaN
    where there is no confidence. `class_info` is true where the model knew descriptions or names of classes besides
    their rows; `queried` are the query rows' modalities where they are others than the support's.
    """

    name: str
    modalities: tuple[str, ...]
    missing: float
    scores: dict[str, Tensor] = field(repr=False)
    ece: float
    features: str = "learned"
    fusion: str | None = None
    primary: str = "accuracy"
    outputs: dict[str, dict[str, Tensor]] = field(default_factory=dict, repr=False)
    without_support: Tensor | None = field(default=None, repr=False)
    class_info: bool = False
    queried: tuple[str, ...] | None = None
    trained_on: TrainedOn | None = None

    @property
    def plain(self) -> bool:
        """Whether support and query have the same modalities, and all that the table has of them."""
        return self.queried is None and not self.missing

    @property
    def accuracy(self) -> tuple[float, float]:
        """Mean and half-width of the 95 % interval."""
        return interval(self.scores["accuracy"])

    @property
    def score(self) -> tuple[float, float]:
        """The same of the score by which results compare."""
        return interval(self.scores[self.primary])

    @property
    def gain(self) -> tuple[float, float] | None:
        """The score less that without support rows, paired by episode."""
        if self.without_support is None:
            return None
        return interval(self.scores[self.primary] - self.without_support)

    def compared_with(self, without_support: Result) -> Result:
        """The same, to be compared with the result without support rows."""
        return replace(self, without_support=without_support.scores[self.primary])

    def to_dict(self) -> dict[str, Any]:
        record: dict[str, Any] = {"modalities": list(self.modalities), "missing": self.missing}
        if self.queried is not None:
            record["query_modalities"] = list(self.queried)
        record |= {"class_information": self.class_info} | {
            k: named(interval(v)) for k, v in self.scores.items()
        }
        if not math.isnan(self.ece):
            record["ece"] = self.ece
        if self.without_support is not None and self.gain is not None:
            record["without_support"] = named(interval(self.without_support))
            record["gain_over_no_support"] = named(self.gain)
        if self.outputs:
            record["outputs"] = {
                name: {k: named(interval(v)) for k, v in scores.items()}
                for name, scores in self.outputs.items()
            }
        return record


def scored(
    name: str,
    shown: Condition,
    logits: Float[Tensor, "t q k"],
    known: Float[Tensor, "t q k"],
    targets: Targets,
    features: str,
    fusion: str | None = None,
    class_info: bool = False,
    trained_on: TrainedOn | None = None,
) -> Result:
    """The result of logits beside the known targets.

    `mae` and `rmse` of a single number are in its own unit, as they are in `outputs`; of several numbers
    they are means over standardised ones.
    """
    kind, output = targets.kind, targets.output
    scores = scores_of(output, logits, known)
    each: dict[str, dict[str, Tensor]] = {}
    if kind == "regression" and len(targets.names) == 1:
        scores = _in_unit(scores, float(targets.deviation[0]))
    elif kind != "classification":
        for k, column in enumerate(targets.names):
            own = scores_of(output, logits[..., k : k + 1], known[..., k : k + 1])
            each[column] = _in_unit(own, float(targets.deviation[k])) if kind == "regression" else own
    ece = _error(kind, logits, known)
    what = (name, shown.modalities, shown.missing, scores, ece, features, fusion, SCORES[kind], each)
    return Result(*what, class_info=class_info, queried=shown.queried, trained_on=trained_on)


def named(pair: tuple[float, float]) -> dict[str, float | None]:
    """A mean and its interval as JSON has them: without a number where there is none."""
    return {k: None if math.isnan(x) else x for k, x in zip(("mean", "ci95"), pair)}


def _in_unit(scores: dict[str, Tensor], scale: float) -> dict[str, Tensor]:
    return {k: v * scale if k in ("mae", "rmse") else v for k, v in scores.items()}


def _error(kind: str, logits: Tensor, known: Tensor) -> float:
    """The calibration error; of labels over all decisions alike."""
    if kind == "regression":
        return math.nan
    if kind == "classification":
        return calibration_error(torch.softmax(logits, -1).flatten(0, 1), known.flatten(0, 1))
    there = ~known.isnan()
    if not there.any():
        return math.nan
    yes, true = torch.sigmoid(logits[there]), known[there]
    return calibration_error(torch.stack([1 - yes, yes], 1), torch.stack([1 - true, true], 1))
