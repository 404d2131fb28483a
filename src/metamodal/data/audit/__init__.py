"""An audit: every cell of a table opened, and all that is wrong or doubtful reported at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from metamodal.data.audit.cells import ABSENT, PRESENT, UNREADABLE, ColumnCells, opened_cells
from metamodal.data.audit.duplicates import Twins, duplicate_findings, leak_findings, twins
from metamodal.data.audit.findings import Audit, Balance, Coverage, Fault, Finding, States, Watch
from metamodal.data.audit.giveaway import giveaway_findings
from metamodal.data.audit.ids import constant_findings, counting_findings, limit_findings, repeated_ids
from metamodal.data.audit.labels import (
    balance,
    balance_findings,
    class_findings,
    coverage,
    coverage_findings,
    missing_words,
    odd_targets,
)
from metamodal.data.audit.noise import label_noise
from metamodal.data.audit.words import word_findings
from metamodal.data.dataset import Dataset
from metamodal.data.roles import Roles
from metamodal.data.schema.inference import infer
from metamodal.data.tables.problems import Problem, Report
from metamodal.data.tables.source import Source, open_source
from metamodal.data.tables.table import frame_of_cells
from metamodal.data.tables.text_files import TextFormat
from metamodal.data.tables.triples import read_triples
from metamodal.data.tables.unreadable import without_unreadable
from metamodal.data.tasks.splits import PARTS, Plan, part_of
from metamodal.errors import MetamodalError

__all__ = ["Audit", "Balance", "Coverage", "Fault", "Finding", "States", "audit", "audited"]


def audit(
    source: Any,
    *,
    target: Any = None,
    target_kind: str | None = None,
    task: Any = None,
    group: Any = None,
    split: Any = None,
    time: Any = None,
    describe: Any = None,
    disjoint_by: Any = None,
    use: Sequence[Any] | None = None,
    kinds: Mapping[Any, str] | None = None,
    triples: str | None = None,
    root: str | Path | None = None,
    plan: Plan | None = None,
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    na: str | Sequence[str] | None = None,
    seed: int = 0,
) -> Audit:
    """All that is wrong with a table, and all to beware of, before anything is learned from it.

    Every cell is opened. No bad cell raises: each is in `faults`, by row and column, and none is filled in.
    `findings` are warnings, such as duplicates, leaks between the parts of a split, and columns that give
    the label away. `ok` is true where there is no fault.

    >>> import pandas as pd
    >>> pets = pd.DataFrame({"weight": [4.1, float("inf"), 30.0], "pet": ["cat", "NA", "dog"]})
    >>> for fault in audit(pets, target="pet").faults:
    ...     print(fault.problem)
    row 2, column weight: weight is inf. Give a finite number, or leave the cell empty.
    row 2, column pet: 'NA' is read as the name of a class, but may mean that there is no label. Leave the cell empty if so, else write another word.

    Args:
        source: the table, or a Dataset, whose roles hold; after it the roles and formats of `read_table`.
        seed: of the automatic split and of permutation tests.

    Raises:
        OptionError: a role names a column that is not there.
        DataError: a file that is no table at all.
    """
    roles = Roles.parse(
        target=target,
        task=task,
        group=group,
        split=split,
        describe=describe,
        use=use,
        kinds=kinds,
        triples=triples,
        time=time,
        target_kind=target_kind,
        disjoint_by=disjoint_by,
    )
    text = TextFormat.said(sep, decimal, encoding, na)
    if isinstance(source, Dataset):
        roles, plan = roles.over(source.schema.to_roles()), plan or source.plan
        root, source = root or source.base, source.frame
    return audited(open_source(source, root, text), roles, plan or Plan(), seed)


def audited(source: Source, said: Roles, plan: Plan, seed: int = 0, watch: Watch | None = None) -> Audit:
    """The audit of an open source under the roles that a caller said; `watch` sees cells being opened."""
    faults: list[Fault] = []

    def of(what: str) -> Report:
        return lambda problem: faults.append(Fault(what, problem))

    dataset, odd = _opened(source, said, of("row"), of("kind"))
    dataset = replace(dataset, plan=plan)
    columns = opened_cells(dataset, odd, of("unreadable"), watch)
    dataset = replace(dataset, frame=without_unreadable(dataset.frame))
    found = twins(dataset, columns)
    findings = list(duplicate_findings(dataset, columns, found))
    repeated_ids(dataset, columns, of("id"))
    findings += constant_findings(columns)
    findings += (counting := list(counting_findings(dataset, columns)))
    findings += limit_findings(dataset, columns)
    findings += word_findings(dataset, odd)
    notes = [_not_opened(c) for c in columns.values() if not c.opened and c.states.any()]
    covered: list[Coverage] = []
    shares = balance(dataset, columns)
    if dataset.schema.target is None:
        notes.append("labels: not looked at, no target column is named. Pass --target C")
    elif not dataset.has_classes:
        odd_targets(dataset, of("label"))
        notes.append(f"classes: there are none, the task is {dataset.schema.target_kind}")
    else:
        missing_words(dataset, of("label"))
        findings += class_findings(dataset)
        giveaways = [*_constant_in_class(dataset), *giveaway_findings(dataset, columns, seed)]
        giveaways = [
            f
            for i, f in enumerate(giveaways)
            if f.column not in {e.column for e in (*counting, *giveaways[:i])}
        ]
        findings += giveaways
        covered = coverage(dataset, columns, seed)
        away = {f.column for f in (*counting, *giveaways) if f.column}
        findings += [f for f in coverage_findings(covered) if f.column not in away]
        noisy = label_noise(_without_bad_cells(dataset, columns), away, seed)
        findings += [noisy] if isinstance(noisy, Finding) else []
        notes += [noisy] if isinstance(noisy, str) else []
    measure = any(f.what == "measure" for f in findings)
    findings += balance_findings([s for s in shares if not (measure and s.of == "classes")])
    findings += _leaks(dataset, found, seed, notes)
    findings += _doubts(dataset, {f.column for f in findings})
    states = tuple(map(_states, columns.values()))
    order = {name: i for i, name in enumerate(columns)}
    faults.sort(
        key=lambda f: (_SORTS.index(f.what), order.get(f.problem.column or "", -1), f.problem.row or 0)
    )
    return Audit(dataset, states, tuple(faults), tuple(findings), tuple(covered), tuple(shares), tuple(notes))


_NO_DOUBT = ("as an id does", "--target-kind")  # an id may do so, and what the target is stands in the notes
_SORTS = ("row", "kind", "unreadable", "label", "id")


def _opened(
    source: Source, said: Roles, bad_row: Report, bad_cell: Report
) -> tuple[Dataset, dict[str, set[int]]]:
    """The rows that can be parsed, and the positions of cells of another kind than their column's."""
    lenient = replace(source, read=lambda rows, ignored: source.read(rows, bad_row))
    frame, numbers = lenient.whole()
    odd: dict[str, set[int]] = {}

    def note(problem: Problem) -> None:
        position = (problem.row or 1) - 1
        odd.setdefault(str(problem.column), set()).add(position)
        bad_cell(replace(problem, row=int(numbers[position])))

    roles = (said.over(source.roles) if source.roles else said).settled()
    schema = infer(frame, roles, source.name, note, index=source.stored.index)
    triples = read_triples(roles.triples, source.base) if roles.triples else None
    return Dataset(frame, schema, source.name, source.base, numbers, triples), odd


def _states(cells: ColumnCells) -> States:
    present, absent, unreadable = (int((cells.states == s).sum()) for s in (PRESENT, ABSENT, UNREADABLE))
    column = cells.column
    return States(column.name, column.role, cells.kind, present, absent, unreadable, cells.opened)


def _not_opened(cells: ColumnCells) -> str:
    why = f"{cells.kind} cannot be read by this version"
    if cells.kind is None or "--use" in cells.column.evidence:
        why = cells.column.evidence
    return f"{cells.column.name}: not opened, {why}"


def _constant_in_class(dataset: Dataset) -> Iterator[Finding]:
    for column in dataset.schema.columns:
        if column.role in ("modality", "ignored") and "within each class" in (column.warning or ""):
            text = f"{column.name} is constant within each class, so it gives the label away. Give it a role (--task or --describe), or leave it out"
            yield Finding("gives_label_away", column.name, text, (), {"how": "constant within each class"})


def _doubts(dataset: Dataset, named: set[str | None]) -> Iterator[Finding]:
    """What the schema warns of: columns that are not read, or may be read as what they are not."""
    for column in dataset.schema.columns:
        doubted = column.role in ("modality", "target", "time") or column.kind is None
        known = column.name in named or any(words in (column.warning or "") for words in _NO_DOUBT)
        if column.warning and doubted and not known:
            yield Finding("doubtful_column", column.name, f"{column.name}: {column.warning}")


def _without_bad_cells(dataset: Dataset, columns: dict[str, ColumnCells]) -> Dataset:
    """The same table with bad cells, and infinities, empty: only to look at the other ones."""
    frame = dataset.frame
    for name, cells in columns.items():
        bad = cells.states == UNREADABLE
        bad[list(cells.infinite)] = True
        if bad.any():
            mended = [None if b else c for b, c in zip(bad, frame[name])]
            frame = frame.assign(**{name: frame_of_cells({name: mended})[name]})
    return replace(dataset, frame=frame)


def _leaks(dataset: Dataset, found: Twins, seed: int, notes: list[str]) -> list[Finding]:
    """What is in two parts of the split column, or of the automatic split where there is none."""
    column = dataset.schema.role("split")
    if column:
        words = [None if c is None else str(c) for c in dataset.frame[column]]
        parts = np.array([(part_of(w) or w) if w else "" for w in words], dtype=object)
        odd = sorted({w for w in words if w and not part_of(w)})
        if odd:
            notes.append(
                f"{column}: {len(odd)} values name no part ({', '.join(odd[:5])}). To train, write train, valid or test"
            )
        return list(leak_findings(dataset, parts, f"the split column {column}", found))
    if dataset.schema.target is None:
        return []
    try:
        split = dataset.split(seed)
    except MetamodalError as error:
        notes.append(f"split: not looked at, {str(error).rstrip('.')}")
        return []
    parts = np.full(len(dataset), "", dtype=object)
    for part in PARTS:
        parts[getattr(split, part)] = part
    return list(leak_findings(dataset, parts, f"the automatic split by {split.by}", found))
