"""Supervised performance of one table: cross-validation with all of the other folds' rows as support.

Few-shot episodes measure what a few rows give in a new task. In a table that is one task, what matters is what all
of its rows give, and how that compares with scikit-learn on the same features.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from metamodal.adaptation import adapt
from metamodal.components import kind_of
from metamodal.data.dataset import Dataset
from metamodal.errors import DataError
from metamodal.evaluation.baselines import Baseline, baselines_for
from metamodal.evaluation.baselines.fitting import class_fit, output_fit, quiet
from metamodal.meta.learners import learners
from metamodal.model import MetaModel
from metamodal.outputs import outputs

__all__ = ["FULL_SCORES", "FullEvaluation", "FullResult", "evaluate_full", "is_one_task"]

FOLDS = 5
_RESAMPLES = 500
_FEW_CLASSES = 15  # in as many or more, classes are split and not rows
FULL_SCORES = {
    "classification": ("accuracy", "recall_macro", "f1_macro"),
    "multilabel": ("average_precision", "f1_macro", "f1_micro"),
    "regression": ("r2", "mae", "rmse"),
}
"""The scores of each kind of target."""


@dataclass(frozen=True)
class FullResult:
    """The scores of one method, each with the half-width of its 95 % interval, by name."""

    name: str
    scores: dict[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        return {name: {"mean": mean, "ci95": ci95} for name, (mean, ci95) in self.scores.items()}


@dataclass(frozen=True)
class FullEvaluation:
    """Cross-validated scores of a model and of scikit-learn, on the same folds and features."""

    model: FullResult
    baselines: tuple[FullResult, ...]
    modalities: tuple[str, ...]
    kind: str
    folds: int
    by: str
    rows: int
    seed: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `evaluate --full --json`."""
        protocol = {
            "full": True,
            "folds": self.folds,
            "by": self.by,
            "rows": self.rows,
            "seed": self.seed,
            "transductive": False,
            "target": self.kind,
        }
        modalities = list(self.modalities)
        return {
            "protocol": protocol,
            "results": [{"learner": self.model.name, "modalities": modalities} | self.model.to_dict()],
            "baselines": [
                {
                    "name": b.name,
                    "modalities": modalities,
                    "trained_on": "other folds",
                    "features": "untrained",
                }
                | b.to_dict()
                for b in self.baselines
            ],
            "notes": list(self.notes),
        }


def is_one_task(dataset: Dataset) -> bool:
    """Whether a table is a single task, which adapting to all of its rows serves better than training."""
    if dataset.schema.target is None or dataset.schema.role("task") is not None:
        return False
    return (
        not dataset.has_classes
        or len({label for label in dataset.labels() if label is not None}) < _FEW_CLASSES
    )


def evaluate_full(
    model_for: Callable[[Dataset], MetaModel],
    dataset: Dataset,
    *,
    seed: int = 0,
    watch: Callable[[int], None] = lambda fold: None,
) -> FullEvaluation:
    """Each row predicted by a model adapted to the rows of the other folds, beside scikit-learn.

    Folds keep groups whole where there are any, and classes in proportion where there are none. Intervals are
    from 500 resamples of rows, or of groups.

    Args:
        model_for: gives the model for some training rows; an untrained one is fitted to them.

    Raises:
        DataError: fewer labelled rows, or rows of a class, than folds.
    """
    labelled = np.array([label is not None for label in dataset.labels()], dtype=bool)
    unlabelled = int((~labelled).sum())
    dataset = dataset.rows(labelled)
    model = model_for(dataset)
    kind, targets = model.targets.kind, model.targets
    groups = dataset.groups()
    grouped = any(group is not None for group in groups)
    truth = _codes(dataset.labels()) if kind == "classification" else targets.raw(dataset)
    folds, notes = _folds(dataset, truth, grouped, seed)
    if unlabelled:
        notes = (*notes, f"{unlabelled} of {len(labelled)} rows have no label and are left out")
    compared = baselines_for(kind, "other folds")
    methods = ["model", *compared]
    shape = (len(dataset), int(truth.max()) + 1) if kind == "classification" else truth.shape
    answers = {name: np.full(shape, np.nan) for name in methods}
    given = np.full(shape, False)
    for number, (train, test) in enumerate(folds):
        fitted = model_for(dataset.rows(train))
        predictor = adapt(fitted, dataset.rows(train))
        found = predictor.answers(dataset.rows(test))
        if kind == "classification":
            known = [int(np.flatnonzero(dataset.labels() == name)[0]) for name in predictor.labels]
            columns = truth[known]
            answers["model"][np.ix_(test, columns)] = found.probabilities().to_numpy()
        elif kind == "multilabel":
            answers["model"][test] = found.probabilities().to_numpy()
            given[test] = np.asarray(found.labels() == True, bool)  # noqa: E712  (None where a row has no answer)
        else:
            answers["model"][test] = np.asarray(found.labels()).reshape(len(test), -1)
        x, rows = _features(fitted, dataset, train), _features(fitted, dataset, test)
        for name, baseline in compared.items():
            answers[name][test] = _predicted(baseline, kind, x, truth[train], rows, shape[1], seed)
        watch(number + 1)
    clusters = _codes(groups) if grouped else np.arange(len(dataset))
    results = [
        FullResult(
            name, dict(_scores(kind, truth, answers[name], clusters, given if name == "model" else None))
        )
        for name in methods
    ]
    learner = kind_of(learners, model.engine.learner)
    best = FullResult(learner, results[0].scores)
    by = "group" if grouped else "row"
    return FullEvaluation(
        best, tuple(results[1:]), model.modalities, kind, len(folds), by, len(dataset), seed, notes
    )


def _codes(names: np.ndarray) -> np.ndarray:
    """Names as numbers; an entity without a name is one of its own."""
    known: dict[Any, int] = {}
    return np.array(
        [known.setdefault(("", i) if name is None else name, len(known)) for i, name in enumerate(names)]
    )


def _folds(
    dataset: Dataset, truth: np.ndarray, grouped: bool, seed: int
) -> tuple[list[tuple[np.ndarray, np.ndarray]], tuple[str, ...]]:
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    classes, x = truth.ndim == 1, np.zeros((len(dataset), 1))
    groups = _codes(dataset.groups()) if grouped else None
    units = len(set(groups)) if groups is not None else len(dataset)
    notes = []
    count = min(FOLDS, units)
    if classes:
        fewest = int(np.bincount(truth).min())
        if not grouped and fewest < FOLDS:
            notes.append(f"the rarest class has {fewest} rows, fewer than {FOLDS} folds: some folds lack it")
    if count < 2 or (classes and len(set(truth)) < 2):
        raise DataError(
            f"{dataset.name}: too few rows for cross-validation ({units} {'groups' if grouped else 'rows'}). "
            "Give at least two classes and two rows of each."
        )
    made: Any
    if classes:
        splitter = StratifiedGroupKFold if grouped else StratifiedKFold
        made = splitter(count, shuffle=True, random_state=seed)
    else:
        made = GroupKFold(count) if grouped else KFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer rows than folds: the note says so
        return list(made.split(x, truth if classes else None, groups)), tuple(notes)


def _features(model: MetaModel, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """The generic features that the model reads, side by side, and which modalities are there."""
    inputs = model.preprocessor.encode(model.preprocessor.read(dataset.rows(rows)))
    batch = model.preprocessor.features(inputs)
    parts = [x * batch.present[m][:, None] for m, x in batch.inputs.items()]
    presence = torch.stack(list(batch.present.values()), 1).float()
    return torch.cat([*parts, presence], 1).numpy()


def _predicted(
    baseline: Baseline, kind: str, x: np.ndarray, y: np.ndarray, rows: np.ndarray, width: int, seed: int
) -> np.ndarray:
    """Probabilities or numbers `(q, width)` of a baseline."""
    with quiet():
        if kind != "classification":
            logits = output_fit(baseline, kind, x, y, "other folds", seed)(rows)
            return outputs[kind].link(torch.from_numpy(np.array(logits))).numpy()
        result = np.zeros((len(rows), width))
        classes, predict = class_fit(baseline, x, y, "other folds", seed=seed)
        result[:, classes] = np.exp(predict(rows))
        return result


def _scores(
    kind: str, truth: np.ndarray, answers: np.ndarray, clusters: np.ndarray, given: np.ndarray | None
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Each score on all rows, and 1.96 times its standard deviation over resampled clusters."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(clusters == c) for c in np.unique(clusters)]
    whole = _measured(kind, truth, answers, given)
    drawn = []
    for _ in range(_RESAMPLES):
        at = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        drawn.append(_measured(kind, truth[at], answers[at], None if given is None else given[at]))
    for i, name in enumerate(FULL_SCORES[kind]):
        yield name, (float(whole[i]), 1.96 * float(np.nanstd([scores[i] for scores in drawn])))


def _measured(
    kind: str, truth: np.ndarray, answers: np.ndarray, given: np.ndarray | None
) -> tuple[float, float, float]:
    """The scores of `FULL_SCORES`; a row without an answer is wrong, or the mean."""
    from sklearn import metrics

    if kind == "classification":
        lacking = np.isnan(answers).all(1)
        guess = np.where(lacking, -1, np.nan_to_num(answers, nan=-1.0).argmax(1))
        hits = guess == truth
        counts = np.bincount(truth, minlength=answers.shape[1])
        right = np.bincount(truth[hits], minlength=answers.shape[1])
        called = np.bincount(guess[guess >= 0], minlength=answers.shape[1])
        there = counts > 0
        recall = right[there] / counts[there]
        f1 = 2 * right[there] / (counts[there] + called[there])
        return hits.mean(), recall.mean(), f1.mean()
    known = ~np.isnan(truth)
    if kind == "multilabel":
        p = np.nan_to_num(answers, nan=0.0)
        true, said = known & (truth > 0.5), known & (p > 0.5 if given is None else given)
        precise = [
            metrics.average_precision_score(true[known[:, k], k], p[known[:, k], k])
            for k in range(truth.shape[1])
            if true[:, k].any()
        ]
        either, both = (true.sum(0) + said.sum(0)).astype(float), 2.0 * (true & said).sum(0)
        macro = (both / np.maximum(either, 1))[either > 0].mean() if (either > 0).any() else 0.0
        return float(np.mean(precise or [0.0])), float(macro), float(both.sum() / max(1.0, either.sum()))
    mean = np.nanmean(truth, 0)
    error = np.where(np.isnan(answers), mean, answers) - truth
    spread = np.nanmean(np.square(truth - mean), 0)
    square = np.nanmean(np.square(error), 0)
    r2 = np.mean(1 - square / np.where(spread > 0, spread, 1.0))
    return float(r2), float(np.nanmean(np.abs(error))), float(np.sqrt(square).mean())
