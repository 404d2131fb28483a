"""Columns that tell the label by themselves: too good to be there when the label is not yet known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import stats

from metamodal.data.audit.cells import PRESENT, ColumnCells
from metamodal.data.audit.findings import Finding, some
from metamodal.data.dataset import Dataset
from metamodal.data.modalities.capabilities import capabilities_of
from metamodal.data.schema.doubts import counts_along
from metamodal.data.tables.cells import is_absent
from metamodal.data.tables.scalars import number_of

__all__ = ["giveaway_findings"]

_FEWEST = 20  # labelled rows, below which columns tell the classes apart by right
_CHANCE = 1e-4  # that a column be there in one class only, over all columns
_SURE = 0.97  # of held-out rows whose class one column names
_GAIN = 0.5  # of the way from the commonest class to all right
_EASY = 0.01  # that a column is no better than the others together
_FOLDS = 5
_NEARLY = 0.9  # of a word's rows that are of one class
_FEW_LEVELS = 100
_LEVELS = 0.5  # of rows; a column with more values than that names rows, not classes


def giveaway_findings(dataset: Dataset, columns: dict[str, ColumnCells], seed: int) -> list[Finding]:
    """Columns that are there in one class only, or whose value alone names the class of unseen rows.

    A number that does so is nothing to beware of where the other numbers together do as well: then the
    classes are easy, as two irises of three are.
    """
    found = list(_suspected(dataset, columns, seed))
    away = {f.column for f in found}
    errors = {f.column: (1 - f.facts["accuracy"]) * len(dataset) for f in found if f.facts.get("number")}
    others = _others_wrong(dataset, columns, away, seed) if errors else None
    if others is None:
        return found
    easy = {
        name
        for name, wrong in errors.items()
        if stats.binom.cdf(round(wrong), round(wrong) + round(others), 0.5) > _EASY
    }
    return [f for f in found if f.column not in easy]


def _others_wrong(
    dataset: Dataset, columns: dict[str, ColumnCells], away: set[str | None], seed: int
) -> float | None:
    """How many rows all numbers but some call wrongly, in a linear model held apart from them."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    parts = []
    for name, cells in columns.items():
        known = (
            cells.column.role == "modality"
            and capabilities_of(cells.kind).scalars
            and not cells.column.warning
        )
        if not known or name in away or counts_along(column := dataset.frame[name].tolist()):
            continue
        there = cells.states == PRESENT
        numbers = _numbers([c for c, t in zip(column, there) if t])
        if numbers is not None and len(numbers) and np.isfinite(numbers).all():
            part = np.full(len(column), numbers.mean())
            part[there] = numbers
            parts.append(part)
    if not parts:
        return None
    labels = dataset.labels()
    at = np.array([label is not None for label in labels])
    x, given, folds = np.stack(parts, axis=1)[at], labels[at].astype(str), _folds(dataset.groups()[at], seed)
    right = 0
    for fold in np.unique(folds):
        train = folds != fold
        if len(np.unique(given[train])) < 2:
            return None
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        right += int((model.fit(x[train], given[train]).predict(x[~train]) == given[~train]).sum())
    return len(dataset) * (1 - right / len(given))


def _suspected(dataset: Dataset, columns: dict[str, ColumnCells], seed: int) -> Iterator[Finding]:
    labels = dataset.labels()
    labelled = np.array([label is not None for label in labels])
    names, which = np.unique(labels[labelled].astype(str), return_inverse=True)
    if labelled.sum() < _FEWEST or len(names) < 2:
        return
    rows = np.bincount(which)
    folds = _folds(dataset.groups()[labelled], seed)
    judged = [c for c in columns.values() if c.column.role in ("modality", "ignored")]
    for cells in judged:
        there = (cells.states == PRESENT)[labelled]
        name = cells.column.name
        said = _by_presence(there, which, rows, _CHANCE / len(judged))
        if said is not None:
            k, always, present = said
            word = "there" if present else "empty"
            how = f"{word} exactly where" if always else f"{word} only where"
            text = f"{name} is {how} {dataset.schema.target} is {names[k]}. Leave it out: it would give the label away"
            yield Finding("gives_label_away", name, text, (), {"how": "presence", "class": str(names[k])})
        elif cells.opened and capabilities_of(cells.kind).strings and there.mean() > 0.5:
            share = _by_value(dataset, cells, np.flatnonzero(labelled)[there], which[there], folds[there])
            if share is not None:
                text = (
                    f"{name} alone names the label of {100 * share:.0f} % of held-out rows. Leave it out if it is not "
                    "known beforehand, or give it a role: --task, --group or --describe"
                )
                number = _numbers([c for c in dataset.frame[name] if not is_absent(c)]) is not None
                facts = {"how": "value", "accuracy": share, "number": number}
                yield Finding("gives_label_away", name, text, (), facts)
            elif capabilities_of(cells.kind).scalars:
                levels = _telling_levels(
                    dataset, cells, np.flatnonzero(labelled)[there], which[there], rows / rows.sum()
                )
                if levels:
                    told = some((f"{n} of {m} {level!r} rows are {names[k]}" for level, k, n, m in levels), 4)
                    text = (
                        f"some values of {name} all but name the label: {told}. "
                        "A score with it may say no more: compare without it, or name it with --task or --group"
                    )
                    told_of = {
                        level: {"class": str(names[k]), "of_it": n, "rows": m} for level, k, n, m in levels
                    }
                    yield Finding("value_tells_label", name, text, (), told_of)


def _by_presence(
    there: np.ndarray, which: np.ndarray, rows: np.ndarray, chance: float
) -> tuple[int, bool, bool] | None:
    """The one class that has the column, or lacks it; whether all its rows do; and which of the two."""
    for mask, present in ((there, True), (~there, False)):
        classes = np.unique(which[mask])
        if len(classes) != 1 or mask.all():
            continue
        k, m, n = int(classes[0]), int(mask.sum()), len(mask)
        log_p = _log_choose(int(rows[k]), m) - _log_choose(n, m)
        if log_p + math.log(len(rows)) < math.log(chance):
            return k, bool(m == rows[k]), present
    return None


def _log_choose(n: int, m: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(m + 1) - math.lgamma(n - m + 1)


def _by_value(
    dataset: Dataset, cells: ColumnCells, at: np.ndarray, which: np.ndarray, folds: np.ndarray
) -> float | None:
    """The share of held-out rows that a column names rightly, if that is nearly all, and no feat."""
    if len(np.unique(folds)) < 2:
        return None
    commonest = np.bincount(which).max() / len(which)
    column = dataset.frame[cells.column.name]
    keys = _numbers([column.iat[i] for i in at])
    if keys is not None:
        if len(np.unique(which)) > len(which) / 4:
            return None
        right = _by_threshold(keys, which, folds)
    else:
        _, words = np.unique(cells.digests[at], return_inverse=True)
        if words.max() + 1 > _LEVELS * len(words) or words.max() == 0:
            return None
        right = _by_level(words, which, folds)
    good = right >= _SURE and (right - commonest) >= _GAIN * (1 - commonest)
    return right if good else None


def _numbers(values: list[Any]) -> np.ndarray | None:
    """Cells as numbers, where all are or spell one."""
    numbers = [number_of(v) if isinstance(v, str) else v for v in values]
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in numbers):
        return np.array(numbers, dtype=float)
    return None


def _folds(groups: np.ndarray, seed: int) -> np.ndarray:
    """A fold for each row; the rows of a group are in one."""
    units = [f"row {i}" if g is None else f"group {g}" for i, g in enumerate(groups)]
    _, unit = np.unique(units, return_inverse=True)
    return (np.random.default_rng(seed).permutation(unit.max() + 1) % _FOLDS)[unit]


def _by_level(words: np.ndarray, which: np.ndarray, folds: np.ndarray) -> float:
    """How often a value's commonest class among the other folds is right; a value seen once tells nothing."""
    right = 0
    for fold in np.unique(folds):
        seen: dict[int, Counter[int]] = {}
        for word, k in zip(words[folds != fold].tolist(), which[folds != fold].tolist()):
            seen.setdefault(word, Counter())[k] += 1
        for word, k in zip(words[folds == fold].tolist(), which[folds == fold].tolist()):
            right += word in seen and seen[word].most_common(1)[0][0] == k
    return right / len(words)


def _by_threshold(numbers: np.ndarray, which: np.ndarray, folds: np.ndarray) -> float:
    """How often a small decision tree over the number alone is right."""
    from sklearn.tree import DecisionTreeClassifier

    leaves = 2 * len(np.unique(which))
    x, right = np.clip(np.nan_to_num(numbers, posinf=1e30, neginf=-1e30), -1e30, 1e30)[:, None], 0
    for fold in np.unique(folds):
        tree = DecisionTreeClassifier(max_leaf_nodes=max(2, leaves), min_samples_leaf=2, random_state=0)
        tree.fit(x[folds != fold], which[folds != fold])
        right += int((tree.predict(x[folds == fold]) == which[folds == fold]).sum())
    return right / len(numbers)


def _telling_levels(
    dataset: Dataset, cells: ColumnCells, at: np.ndarray, which: np.ndarray, shares: np.ndarray
) -> list[tuple[str, int, int, int]]:
    """Words of a column that go with one class nearly always and not by chance: word, class, rows of it, rows."""
    column = dataset.frame[cells.column.name]
    words = [column.iat[i] for i in at]
    if _numbers(words) is not None:
        return []
    levels = Counter(w for w in words if isinstance(w, str))
    if not 1 < len(levels) <= _FEW_LEVELS or sum(levels.values()) < len(words):
        return []
    found = []
    of: dict[str, Counter[int]] = {word: Counter() for word in levels}
    for word, k in zip(words, which.tolist()):
        of[str(word)][k] += 1
    for word, m in levels.most_common():
        k, n = of[word].most_common(1)[0]
        p = float(stats.binom.sf(n - 1, m, shares[k])) * len(levels) * len(shares)
        if n >= _NEARLY * m and p < _CHANCE:
            found.append((word, k, n, m))
    return found
