"""What an audit tells: what is wrong, what to beware of, and what was not looked at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from metamodal.data.dataset import Dataset
from metamodal.data.tables.problems import Problem
from metamodal.summary import Summary, listed

__all__ = ["Audit", "Balance", "Coverage", "Fault", "Finding", "States", "Watch", "some"]

Watch = Callable[[int, int], None]
"""Receives how many cells are open, and of how many."""


@dataclass(frozen=True)
class Fault:
    """A problem and its sort: `row`, `kind`, `unreadable`, `label` or `id`."""

    what: str
    problem: Problem

    def to_dict(self) -> dict[str, Any]:
        return {"what": self.what, **self.problem.to_dict()}


@dataclass(frozen=True)
class Finding:
    """Something to beware of that is no cell's fault alone.

    `text` says what, where and what to do. `rows` are sets of row numbers that belong together (the
    two rows of a duplicate), the most telling first; `facts` are the numbers in `text` and more.
    """

    what: str
    column: str | None
    text: str
    rows: tuple[tuple[int, ...], ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        rows = [list(group) for group in self.rows]
        return {
            "what": self.what,
            "column": self.column,
            "text": self.text,
            "rows": rows,
            "facts": self.facts,
        }


@dataclass(frozen=True)
class States:
    """How many cells of a column are in each state; they add up to the rows of the table.

    Where `opened` is false, the cells were told apart from empty ones and no more.
    """

    name: str
    role: str
    kind: str | None
    present: int
    absent: int
    unreadable: int
    opened: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "role": self.role,
            "kind": self.kind,
            "present": self.present,
            "absent": self.absent,
            "unreadable": self.unreadable,
            "opened": self.opened,
        }


@dataclass(frozen=True)
class Coverage:
    """Of how many rows of each class a column is there, and whether that hangs on the class.

    `p` is of the hypothesis that it does not, `p_holm` corrected for the columns tested (Holm, 1979);
    `v` is Cramér's. Both are `None` where there is nothing to test.
    """

    column: str
    classes: dict[str, tuple[int, int]]
    test: str | None
    p: float | None
    p_holm: float | None
    v: float | None

    def to_dict(self) -> dict[str, Any]:
        classes = {name: {"present": there, "rows": rows} for name, (there, rows) in self.classes.items()}
        numbers = {"p": self.p, "p_holm": self.p_holm, "cramers_v": self.v}
        return {"column": self.column, "test": self.test, **numbers, "classes": classes}


@dataclass(frozen=True)
class Balance:
    """How evenly rows are shared out among classes or tasks, or cells among modalities."""

    of: str
    counts: dict[str, int]

    @property
    def ratio(self) -> float:
        """The largest count over the smallest that is not zero."""
        counts = [n for n in self.counts.values() if n]
        return max(counts) / min(counts) if counts else 1.0

    @property
    def effective(self) -> float:
        """The number of equal shares that are as uneven: the exponential of the entropy."""
        total = sum(self.counts.values())
        shares = [n / total for n in self.counts.values() if n]
        return math.exp(-sum(p * math.log(p) for p in shares)) if shares else 0.0

    def to_dict(self) -> dict[str, Any]:
        numbers = {"number": len(self.counts), "ratio": self.ratio, "effective": self.effective}
        return {"of": self.of, **numbers, "counts": self.counts}


@dataclass(frozen=True)
class Audit:
    """A table seen cell by cell: `faults` are to be fixed, `findings` are worth knowing.

    `notes` say what was not looked at, and why. `positions` are places in `dataset` by row number.
    """

    dataset: Dataset
    states: tuple[States, ...]
    faults: tuple[Fault, ...]
    findings: tuple[Finding, ...]
    coverage: tuple[Coverage, ...]
    balance: tuple[Balance, ...]
    notes: tuple[str, ...]

    def _summary(self) -> Summary:
        sorts = Counter(f.what for f in self.faults)
        facts = [
            ("problems", _counted(sorts)),
            ("warnings", _counted(Counter(f.what for f in self.findings))),
        ]
        facts += [("first", str(self.faults[0].problem))] if self.faults else []
        return Summary(f"Audit of {self.dataset.name}: {len(self.dataset):,} rows", tuple(facts))

    def __repr__(self) -> str:
        return str(self._summary())

    def _repr_html_(self) -> str:
        return self._summary().html()

    @property
    def ok(self) -> bool:
        """Whether no cell and no row is bad."""
        return not self.faults

    @property
    def positions(self) -> dict[int, int]:
        return {int(number): i for i, number in enumerate(self.dataset.numbers)}

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {
            "table": self.dataset.name,
            "rows": len(self.dataset),
            "ok": self.ok,
            "columns": [s.to_dict() for s in self.states],
            "problems": [f.to_dict() for f in self.faults],
            "findings": [f.to_dict() for f in self.findings],
            "coverage": [c.to_dict() for c in self.coverage],
            "balance": [b.to_dict() for b in self.balance],
            "notes": list(self.notes),
        }


def _counted(sorts: Counter[str]) -> str:
    total = sum(sorts.values())
    return f"{total:,} ({listed(f'{n} {what}' for what, n in sorts.most_common())})" if total else "none"


def some(items: Iterable[Any], most: int = 5) -> str:
    """The first few of many, and how many more.

    >>> some([1, 2, 3], most=2)
    '1, 2 and 1 more'
    """
    names = [str(item) for item in items]
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
