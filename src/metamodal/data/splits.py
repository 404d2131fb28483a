"""Splits: which rows train, which choose, which test, so that nothing is in two of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from metamodal.errors import DataError

__all__ = ["PARTS", "Split", "part_of", "split_rows"]

PARTS = ("train", "valid", "test")
_SYNONYMS = {
    "training": "train",
    "background": "train",
    "val": "valid",
    "validate": "valid",
    "validation": "valid",
    "dev": "valid",
    "development": "valid",
    "testing": "test",
    "evaluation": "test",
}
_SHARES = (0.6, 0.2, 0.2)
_FEW_CLASSES = 15


@dataclass(frozen=True)
class Split:
    """Row numbers of each part, what they were split by, and what was left out and why.

    `unseen_classes` says that no class of `valid` or `test` occurs in `train`.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    by: str
    unseen_classes: bool
    notes: tuple[str, ...] = ()


def split_rows(
    labels: np.ndarray,
    *,
    tasks: np.ndarray,
    groups: np.ndarray,
    given: np.ndarray | None = None,
    name: str = "table",
    seed: int = 0,
) -> Split:
    """Rows by part: as the split column says, else by task, by class, by group, or by row.

    With a task column whole tasks are kept together; without one classes are, if there are at
    least 15; tables of few classes are split by group if there is one, else row by row. A part
    takes units in an order that hangs on their names and the seed alone. No group entity is in two
    parts: rows that would put it there are left out, and counted in `notes`. Rows without a label
    are in no part.

    Raises:
        DataError: a split column that puts a group, or some of the classes, into two parts.
    """
    labelled = np.array([label is not None for label in labels])
    if not labelled.any():
        raise DataError(f"{name}: no row has a label. Fill the target column of at least some rows.")
    if given is not None:
        part = _given_parts(given, name)
        by = "split column"
    else:
        units, by = _units(labels, tasks, groups, labelled)
        part = _assigned(units, labelled, seed)
    part = np.where(labelled, part, "")
    notes: list[str] = []
    if any(group is not None for group in groups):
        part = _groups_apart(part, groups, given is not None, name, notes)
    unseen = _unseen_classes(labels, part, by, name)
    rows = {p: np.flatnonzero(part == p) for p in PARTS}
    return Split(rows["train"], rows["valid"], rows["test"], by, unseen, tuple(notes))


def part_of(word: str) -> str | None:
    """The part that a word of a split column or a folder's name means, if it means one."""
    part = _SYNONYMS.get(word.lower(), word.lower())
    return part if part in PARTS else None


def _given_parts(given: np.ndarray, name: str) -> np.ndarray:
    parts = []
    for row, word in enumerate(given, start=1):
        part = "" if word is None else part_of(word)
        if part is None:
            raise DataError(
                f"{name} row {row}, split column: {word!r} is no part. Write train, valid or test, or leave it empty."
            )
        parts.append(part)
    return np.array(parts, dtype=object)


def _units(
    labels: np.ndarray, tasks: np.ndarray, groups: np.ndarray, labelled: np.ndarray
) -> tuple[np.ndarray, str]:
    """What is kept whole when rows are shared out, and its name."""
    if _count(tasks[labelled]) >= 3:
        return tasks, "task"
    if _count(labels[labelled]) >= _FEW_CLASSES:
        return labels, "class"
    if _count(groups[labelled]) >= 3:
        return groups, "group"
    return np.array([f"{label}/{i}" for i, label in enumerate(labels)], dtype=object), "row"


def _count(values: np.ndarray) -> int:
    return len({v for v in values if v is not None})


def _assigned(units: np.ndarray, labelled: np.ndarray, seed: int) -> np.ndarray:
    names = sorted({u for u in units[labelled] if u is not None}, key=lambda u: _rank(u, seed))
    total = len(names)
    n_valid = max(1, round(_SHARES[1] * total)) if total >= 3 else 0
    n_test = max(1, round(_SHARES[2] * total)) if total >= 2 else 0
    shared_out = dict.fromkeys(names[:n_test], "test")
    shared_out |= dict.fromkeys(names[n_test : n_test + n_valid], "valid")
    return np.array(["" if u is None else shared_out.get(u, "train") for u in units], dtype=object)


def _rank(unit: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{unit}".encode()).hexdigest()


def _groups_apart(
    part: np.ndarray, groups: np.ndarray, given: bool, name: str, notes: list[str]
) -> np.ndarray:
    """The same parts, each group entity in the one that has most of its rows."""
    counts: dict[str, dict[str, int]] = {}
    for p, group in zip(part, groups):
        if group is not None and p:
            counts.setdefault(group, {}).setdefault(p, 0)
            counts[group][p] += 1
    torn = {g: c for g, c in counts.items() if len(c) > 1}
    if not torn:
        return part
    if given:
        group, where = next(iter(torn.items()))
        raise DataError(
            f"{name}: group {group!r} has rows in {' and '.join(sorted(where))} ({len(torn)} groups do). "
            "Mend the split column, or make group names unique, or leave out --group."
        )
    home = {g: max(PARTS, key=lambda p: c.get(p, 0)) for g, c in counts.items()}
    keep = np.array([g is None or not p or home[g] == p for p, g in zip(part, groups)])
    notes.append(f"{int((~keep).sum())} rows left out: their group is in another part")
    return np.where(keep, part, "")


def _unseen_classes(labels: np.ndarray, part: np.ndarray, by: str, name: str) -> bool:
    train, later = set(labels[part == "train"]), set(labels[(part == "valid") | (part == "test")])
    shared = train & later
    if shared and by == "split column" and len(shared) < len(later) and len(shared) < len(train):
        seen, new = min(shared), min(later - train)
        raise DataError(
            f"{name}: class {seen!r} is in train and in a later part, while class {new!r} is not. "
            "Keep each class in one part, or let all parts have all classes."
        )
    return not shared
