"""Splits: which rows train, which choose, which test, so that nothing is in two of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metamodal.errors import DataError, OptionError, suggestion

__all__ = [
    "PARTS",
    "WAYS",
    "Keys",
    "Plan",
    "Split",
    "part_of",
    "ranges_of",
    "rows_of",
    "split_rows",
    "unlabelled_rows",
]

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
WAYS = ("auto", "task", "class", "group", "row", "time")
"""What rows may be split by."""
_FEW_CLASSES = 15


@dataclass(frozen=True)
class Keys:
    """What a table says of each row: names or `None`, and `times` as numbers, NaN where there is none.

    Without `has_classes`, `labels` are what rows' multilabel or regression targets are.
    """

    labels: np.ndarray
    tasks: np.ndarray
    groups: np.ndarray
    given: np.ndarray | None = None
    times: np.ndarray | None = None
    has_classes: bool = True

    def digest(self) -> str:
        """Equal for tables whose rows say the same, in the same order."""
        state = hashlib.blake2b(digest_size=12)
        for values in (self.labels, self.tasks, self.groups, self.given, self.times):
            state.update(repr(None if values is None else values.tolist()).encode("utf-8", "surrogatepass"))
        return state.hexdigest()


@dataclass(frozen=True)
class Plan:
    """How rows are shared out over training, validation and test where no split column says.

    >>> import pandas as pd, metamodal as mm
    >>> frame = pd.DataFrame(
    ...     {"height": range(30), "pet": ["cat", "dog"] * 15, "owner": [i // 3 for i in range(30)]}
    ... )
    >>> plan = mm.Plan("group", shares=(0.5, 0.25, 0.25))
    >>> split = mm.read_table(frame, target="pet", group="owner", plan=plan).split()
    >>> len(split.train), len(split.valid), len(split.test)
    (18, 6, 6)

    Args:
        by: what is kept whole: `"task"`, `"class"`, `"group"` or `"row"`; `"time"` for the earliest rows to
            train on and the latest to test on; `"auto"` for the first of time, task, class (of 15 or
            more), group and row that the table has.
        shares: of training, validation and test.
        folds: parts of a cross-validation instead of shares; 0 for none. Part `fold` is the test, and
            of the others part `inner` the validation: the two indices together are a nested
            cross-validation. By time, fold `f` tests on the block after the first `f + 2` of `folds + 2`.
    """

    by: str = "auto"
    shares: tuple[float, ...] = (0.6, 0.2, 0.2)
    folds: int = 0
    fold: int = 0
    inner: int = 0

    def __post_init__(self) -> None:
        if self.by not in WAYS:
            raise OptionError(f"split_by={self.by}: no such way. {suggestion(self.by, WAYS)}")
        if min(self.shares) < 0 or not self.shares[0] > 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise OptionError(f"shares={list(self.shares)}: no shares of 1. Give e.g. [0.6, 0.2, 0.2].")
        if self.folds and self.folds < 3:
            raise OptionError(
                f"folds={self.folds}: too few for training, validation and test. Give 3 or more."
            )
        for name, value, top in (("fold", self.fold, self.folds), ("inner", self.inner, self.folds - 1)):
            if value and not 0 <= value < max(1, top):
                raise OptionError(
                    f"{name}={value}: with folds={self.folds} it goes from 0 to {max(0, top - 1)}."
                )


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
    plan: Plan = field(default_factory=Plan)
    seed: int = 0
    keys: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The split as an artifact keeps it: rows as ranges, counted from 0, and the digest of the keys."""
        return {
            "by": self.by,
            "unseen_classes": self.unseen_classes,
            "seed": self.seed,
            "plan": {k: getattr(self.plan, k) for k in ("folds", "fold", "inner")}
            | {"shares": list(self.plan.shares)},
            "notes": list(self.notes),
            "counts": {p: len(getattr(self, p)) for p in PARTS},
            "rows": {p: ranges_of(getattr(self, p)) for p in PARTS},
            "keys": self.keys,
        }


def split_rows(keys: Keys, plan: Plan | None = None, *, name: str = "table", seed: int = 0) -> Split:
    """Rows by part: as the split column says, else as planned.

    A part takes units in an order that hangs on their names and the seed alone. No group entity is in
    two parts: rows that would put it there are left out, and counted in `notes`. Rows without a label
    are in no part.

    Raises:
        DataError: a split column that puts a group, or some of the classes, into two parts; too few
            units to share out.
        OptionError: a plan that needs a column without a role.
    """
    plan = plan or Plan()
    labels, groups = keys.labels, keys.groups
    labelled = np.array([label is not None for label in labels])
    if not labelled.any():
        raise DataError(
            f"{name}: no row has a label. Fill the target column of at least some rows, or name no target "
            "and train without labels."
        )
    notes: list[str] = []
    if keys.given is not None and plan.by == "auto" and not plan.folds:
        part, by = _given_parts(keys.given, name), "split column"
    elif plan.by == "time" or (plan.by == "auto" and keys.times is not None):
        part, by = _by_time(keys, labelled, plan, name, notes), "time"
    else:
        units, by = _units(keys, labelled, plan.by, name)
        part = _assigned(units, labelled, plan, name, seed)
    part = np.where(labelled, part, "")
    if any(group is not None for group in groups):
        part = _groups_apart(part, groups, by == "split column", name, notes)
    unseen = keys.has_classes and _unseen_classes(labels, part, by, name)
    rows = {p: np.flatnonzero(part == p) for p in PARTS}
    return Split(
        rows["train"], rows["valid"], rows["test"], by, unseen, tuple(notes), plan, seed, keys.digest()
    )


def unlabelled_rows(keys: Keys, split: Split) -> np.ndarray:
    """The rows without a label that have nothing to do with a later part: not its task, group or time."""
    free = np.array([label is None for label in keys.labels])
    later = np.concatenate([split.valid, split.test])
    if split.by == "split column" and keys.given is not None:
        free &= np.array([word is not None and part_of(word) == "train" for word in keys.given])
    elif split.by == "time" and keys.times is not None:
        free &= keys.times <= np.max(keys.times[split.train], initial=-np.inf)
    kept_whole = [keys.groups] + ([keys.tasks] if split.by == "task" else [])
    for names in kept_whole:
        taken = set(names[later]) - {None}
        free &= np.array([name not in taken for name in names])
    return np.flatnonzero(free)


def ranges_of(rows: np.ndarray) -> str:
    """Row numbers in order as text.

    >>> ranges_of(np.array([0, 1, 2, 5, 7, 8]))
    '0-2 5 7-8'
    """
    if not len(rows):
        return ""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    runs = np.split(rows, breaks)
    return " ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def rows_of(ranges: str) -> np.ndarray:
    """The inverse of `ranges_of`."""
    ends = [tuple(map(int, run.split("-"))) for run in ranges.split()]
    parts = [np.arange(end[0], end[-1] + 1) for end in ends]
    return np.concatenate(parts) if parts else np.arange(0)


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


def _units(keys: Keys, labelled: np.ndarray, by: str, name: str) -> tuple[np.ndarray, str]:
    """What is kept whole when rows are shared out, and its name."""
    known = {"task": keys.tasks, "class": keys.labels, "group": keys.groups}
    if not keys.has_classes:
        if by == "class":
            raise OptionError(
                f"{name}: split_by=class, and the target is no class but labels or numbers. Choose task, group, row or time."
            )
        del known["class"]
    least = {"task": 3, "class": _FEW_CLASSES, "group": 3}
    for way, units in known.items():
        if by == way and not _count(units[labelled]):
            raise OptionError(f"{name}: split_by={by} needs a column of that role. Pass --{by} C.")
        if by == way or (by == "auto" and _count(units[labelled]) >= least[way]):
            return units, way
    return np.array([f"{label}/{i}" for i, label in enumerate(keys.labels)], dtype=object), "row"


def _by_time(keys: Keys, labelled: np.ndarray, plan: Plan, name: str, notes: list[str]) -> np.ndarray:
    """Blocks of time in order; rows of one moment stay together."""
    if keys.times is None:
        raise OptionError(f"{name}: split_by=time needs a column of times. Pass --time C.")
    known = labelled & ~np.isnan(keys.times)
    if len(np.unique(keys.times[known])) < 3:
        raise DataError(f"{name}: fewer than three moments to split by. Name another --time column.")
    if not known[labelled].all():
        notes.append(f"{int((labelled & ~known).sum())} rows left out: they have no time")
    if plan.folds:
        blocks = np.arange(plan.fold + 1, plan.fold + 4) / (plan.folds + 2)
    else:
        blocks = np.cumsum(plan.shares)
    ends = np.quantile(keys.times[known], np.minimum(blocks, 1), method="inverted_cdf")
    part = np.full(len(keys.times), "", dtype=object)
    part[known & (keys.times <= ends[0])] = "train"
    part[known & (keys.times > ends[0]) & (keys.times <= ends[1])] = "valid"
    part[known & (keys.times > ends[1]) & (keys.times <= ends[2])] = "test"
    return part


def _count(values: np.ndarray) -> int:
    return len({v for v in values if v is not None})


def _assigned(units: np.ndarray, labelled: np.ndarray, plan: Plan, name: str, seed: int) -> np.ndarray:
    names = sorted({u for u in units[labelled] if u is not None}, key=lambda u: _rank(u, seed))
    total = len(names)
    if plan.folds:
        if total < plan.folds:
            raise DataError(
                f"{name}: {total} units cannot make {plan.folds} folds. Lower folds, or split by row."
            )
        numbers = [f for f in range(plan.folds) if f != plan.fold]
        parts = {plan.fold: "test", numbers[plan.inner]: "valid"}
        shared_out = {unit: parts.get(i % plan.folds, "train") for i, unit in enumerate(names)}
    else:
        _, valid, test = plan.shares
        n_valid = max(1, round(valid * total)) if total >= 3 and valid else 0
        n_test = max(1, round(test * total)) if total >= 2 and test else 0
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
            "Fix the split column, or make group names unique, or leave out --group."
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
