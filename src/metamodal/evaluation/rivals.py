"""What baselines answer to the episodes that a model answers, by all modalities and by each alone."""

from __future__ import annotations

from collections.abc import Iterator

from metamodal.evaluation.baselines import BASELINES, baseline_logits
from metamodal.evaluation.conditions import conditions, episodes_under, occurring
from metamodal.evaluation.peers import peer_logits, peers_of
from metamodal.evaluation.population import Population
from metamodal.evaluation.results import Condition, Result, scored
from metamodal.evaluation.trial import Trial
from metamodal.types import Batch, Episode

__all__ = ["class_rivals", "pooled_rivals", "population_rivals"]


def class_rivals(trial: Trial, spaces: dict[str, Batch]) -> Iterator[Result]:
    """The baselines of classes, on rows as vectors by what made them."""
    targets = trial.model.targets
    for features, rows in spaces.items():
        for peer in BASELINES:
            for shown, episodes in _shown(trial, rows):
                fusion = peer.fusion if len(shown.modalities) > 1 else None
                if fusion is None and peer.fusion == "late":
                    continue
                logits, known = baseline_logits(peer, episodes), episodes.query.targets
                yield scored(peer.name, shown, logits, known, targets, features, fusion)


def pooled_rivals(trial: Trial, spaces: dict[str, Batch], crowd: dict[str, Batch]) -> Iterator[Result]:
    """The baselines of labels and numbers.

    Args:
        crowd: the training rows as the same vectors, where they are known.
    """
    targets = trial.model.targets
    for features, rows in spaces.items():
        for peer in peers_of(targets.kind, crowd.get(features)):
            for shown, episodes in _shown(trial, rows):
                if peer == "support_mean" and (
                    features != "untrained" or shown != Condition(occurring(rows))
                ):
                    continue  # it looks at no modality
                others = crowd[features].only(shown.modalities) if features in crowd else None
                logits, known = peer_logits(peer, targets.kind, episodes, others), episodes.query.targets
                yield scored(peer, shown, logits, known, targets, features, _fusion(shown))


def population_rivals(
    trial: Trial, spaces: dict[str, Batch], known: dict[str, Population]
) -> Iterator[Result]:
    """Regression on the classes' rows of other tasks, blind to the support."""
    targets = trial.model.targets
    for features in (name for name in spaces if name in known):
        for shown, episodes in _shown(trial, spaces[features]):
            logits = known[features].logits(episodes.query, trial.draw)
            right = episodes.query.targets
            yield scored("population", shown, logits, right, targets, features, _fusion(shown))


def _shown(trial: Trial, rows: Batch) -> Iterator[tuple[Condition, Episode]]:
    """The trial's episodes of these rows, under the conditions that baselines are measured under."""
    names = occurring(rows)
    for condition in conditions(names, trial.protocol):
        alike = condition.queried is None
        if len(condition.modalities) == len(names) or (len(condition.modalities) == 1 and alike):
            yield condition, episodes_under(rows, trial.draw, condition).only(condition.modalities)


def _fusion(condition: Condition) -> str | None:
    return "concatenated" if len(condition.modalities) > 1 else None
