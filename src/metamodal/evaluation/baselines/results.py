"""Results of the baselines on the episodes that a model is measured on, by all modalities and by each alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from metamodal.evaluation.baselines.fitting import support_logits
from metamodal.evaluation.baselines.protocol import baselines_for
from metamodal.evaluation.baselines.training_rows import TrainingRows
from metamodal.evaluation.conditions import conditions, episodes_under, occurring
from metamodal.evaluation.results import Condition, Result, scored
from metamodal.evaluation.trial import Trial
from metamodal.types import Batch, Episode

__all__ = ["baseline_results"]


def baseline_results(
    trial: Trial, spaces: dict[str, Batch], training: Callable[[], TrainingRows | None]
) -> Iterator[Result]:
    """The result of each baseline that fits the targets: those on the support first, as they are fast.

    Args:
        spaces: the test rows as vectors, by what made them.
        training: gives the rows that the model was trained on, where a fit to them can predict the test rows.
    """
    if not trial.model.targets.has_classes or trial.protocol.shot:
        yield from _on_support(trial, spaces)
    rows = training()
    if rows is not None:
        yield from _on_training_rows(trial, spaces, rows)


def _on_support(trial: Trial, spaces: dict[str, Batch]) -> Iterator[Result]:
    targets = trial.model.targets
    for features, rows in spaces.items():
        for name, baseline in baselines_for(targets.kind, "support").items():
            for shown, episodes in _shown(trial, rows):
                if not baseline.reads_modalities and (
                    features != "untrained" or shown != Condition(occurring(rows))
                ):
                    continue
                late = baseline.late and targets.has_classes
                for fusion in _fusions(shown, late=late):
                    logits = support_logits(baseline, targets.kind, episodes, fusion)
                    known = episodes.query.targets
                    yield scored(name, shown, logits, known, targets, features, fusion, trained_on="support")


def _on_training_rows(trial: Trial, spaces: dict[str, Batch], training: TrainingRows) -> Iterator[Result]:
    targets = trial.model.targets
    for features in (name for name in spaces if name in training.spaces):
        for name in baselines_for(targets.kind, "training rows"):
            for shown, episodes in _shown(trial, spaces[features]):
                query = episodes.query
                if targets.has_classes:
                    logits = training.class_logits(name, features, query, trial.draw)
                else:
                    logits = training.output_logits(name, targets.kind, features, query)
                (fusion,) = _fusions(shown)
                known = query.targets
                yield scored(
                    name, shown, logits, known, targets, features, fusion, trained_on="training rows"
                )


def _shown(trial: Trial, rows: Batch) -> Iterator[tuple[Condition, Episode]]:
    """The trial's episodes of these rows, under the conditions that baselines are measured under."""
    names = occurring(rows)
    for condition in conditions(names, trial.protocol):
        same = condition.queried is None
        if len(condition.modalities) == len(names) or (len(condition.modalities) == 1 and same):
            yield condition, episodes_under(rows, trial.draw, condition).only(condition.modalities)


def _fusions(shown: Condition, *, late: bool = False) -> tuple[str | None, ...]:
    if len(shown.modalities) < 2:
        return (None,)
    return ("concatenated", "late") if late else ("concatenated",)
