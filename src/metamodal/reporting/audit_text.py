"""An audit as plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from metamodal.data.audit import Audit, Balance, Fault

__all__ = ["audit_text", "heading"]

_SHOWN = 20  # bad cells of a column
_SORTS = {
    "row": ("row that cannot be read", "rows that cannot be read"),
    "kind": ("cell of another kind than its column", "cells of another kind than their column"),
    "unreadable": ("cell that cannot be read", "cells that cannot be read"),
    "label": ("label that may mean none", "labels that may mean none"),
    "id": ("id that is there twice", "ids that are there twice"),
}


def heading(faults: Sequence[Fault]) -> str:
    """What faults of one column and sort are."""
    first, n = faults[0], len(faults)
    column = f"{first.problem.column}: " if first.problem.column else ""
    return f"{column}{n:,} {_SORTS[first.what][n > 1]}"


def audit_text(audit: Audit) -> str:
    """States by column, what is wrong, what to beware of, how even the table is, what was not looked at."""
    return "\n".join([*_states(audit), *_problems(audit.faults), *_findings(audit), *_rest(audit)])


def _states(audit: Audit) -> Iterator[str]:
    width = max(len("column"), *(len(s.name) for s in audit.states))
    yield f"{audit.dataset.name}: {_many(len(audit.dataset), 'row')}, {_many(len(audit.states), 'column')}"
    yield f"  {'column':{width}}  {'role':8}  {'kind':9}  {'present':>9}  {'absent':>9}  {'unreadable':>10}"
    for s in audit.states:
        kind = s.kind or "-"
        opened = "" if s.opened else "  not opened"
        counts = f"{s.present:>9,}  {s.absent:>9,}  {s.unreadable:>10,}"
        yield f"  {s.name:{width}}  {s.role:8}  {kind:9}  {counts}{opened}"


def _problems(faults: tuple[Fault, ...]) -> Iterator[str]:
    yield f"problems: {len(faults):,}" if faults else "problems: none"
    for _, found in groupby(faults, key=lambda f: (f.what, f.problem.column)):
        same = list(found)
        yield f"  {heading(same)}"
        yield from (f"    {_line(fault)}" for fault in same[:_SHOWN])
        if len(same) > _SHOWN:
            yield f"    and {len(same) - _SHOWN:,} more: --json lists all"


def _line(fault: Fault) -> str:
    where = f"row {fault.problem.row}: " if fault.problem.row is not None else ""
    return f"{where}{fault.problem.reason.rstrip('.')}."


def _findings(audit: Audit) -> Iterator[str]:
    yield f"warnings: {len(audit.findings):,}" if audit.findings else "warnings: none"
    yield from (f"  {finding.text}." for finding in audit.findings)


def _rest(audit: Audit) -> Iterator[str]:
    if audit.balance:
        yield "balance"
        yield from (f"  {_balance(b)}" for b in audit.balance)
    if audit.notes:
        yield "not looked at"
        yield from (f"  {note}." for note in audit.notes)


def _balance(b: Balance) -> str:
    counts = list(b.counts.values())
    most, least = max(counts), min(counts)
    what = "cells" if b.of == "modalities" else "rows"
    if most == least:
        return f"{b.of}: {len(counts):,}, each of {most:,} {what}"
    even = f"as {b.effective:,.1f} even ones"
    return f"{b.of}: {len(counts):,}, of {least:,} to {most:,} {what} (ratio {b.ratio:.1f}, {even})"


def _many(count: int, one: str) -> str:
    return f"{count:,} {one}{'' if count == 1 else 's'}"
