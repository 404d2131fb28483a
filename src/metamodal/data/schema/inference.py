"""The role and kind of each column of a table, inferred with the evidence for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from metamodal.data.modalities.capabilities import capabilities_of
from metamodal.data.roles import ROLES, Roles, check_roles
from metamodal.data.schema.column_kinds import RECORDS, kind_of_column, quiet_kind
from metamodal.data.schema.conventions import Convention, Finding
from metamodal.data.schema.doubts import beyond_limits, printed_lists, row_numbers, worthless
from metamodal.data.schema.raw_column import RawColumn
from metamodal.data.schema.target_kinds import Inference, is_empty, kind_of_target
from metamodal.data.tables.forms import SCALARS, form
from metamodal.data.tables.problems import Report
from metamodal.data.tables.unreadable import Unreadable
from metamodal.errors import DataError, OptionError, one_line

__all__ = ["ROW_NUMBERS", "Column", "Schema", "infer"]

_NOT_USED = "not named in --use"
_JUDGED_ROWS = 50  # in fewer rows a column is constant, or tells the classes apart, by chance or by luck
_ROLE_EVIDENCE = "named so by the caller"
ROW_NUMBERS = "the index that pandas saved, or the number of the row"
"""The evidence for a column that says where a row stood, not what it is."""
_CALLER = "kind given by the caller"
_LEFT_OUT = (
    "it is the row's number (a saved index), which says nothing of a new sample and is left out; "
    "name it in --use to use it"
)


@dataclass(frozen=True)
class Column:
    """One column: its role, its kind, why, and what to beware of.

    `limits` are the numbers in it, by name, whose infinities stand for values beyond the limits of
    detection: two or more of its cells are infinite. `convention` is how its numbers or dates are written, where
    they are not plain.
    """

    name: str
    role: str
    kind: str | None
    evidence: str
    warning: str | None = None
    limits: tuple[str, ...] = ()
    convention: Convention | None = None


@dataclass(frozen=True)
class Schema:
    """The columns of a table; a modality is one of them, or all scalar ones together.

    `triples` names the file that says how the entities in graph columns are related, `target_kind`
    what the target is: classes, labels or numbers, `shared` the columns of roles that a modality may have, too.
    """

    columns: tuple[Column, ...]
    triples: str | None = None
    target_kind: str = "classification"
    targets: tuple[str, ...] = ()
    shared: Mapping[str, str] = field(default_factory=dict)

    def role(self, role: str) -> str | None:
        """The name of the column with this role, if there is one."""
        return next((c.name for c in self.columns if c.role == role), self.shared.get(role))

    @property
    def target(self) -> str | None:
        """The target's column, the first of several."""
        return next(iter(self.targets), None)

    @property
    def modalities(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Kind and columns of each modality by name.

        Two or more scalar columns (numbers, categories, booleans) are one modality, `tabular`:
        a sample's row of values. One alone, and any column of records, keeps its own name. In a table
        with a column of that name the joint modality is `tabular_`, with as many underscores as it needs.
        """
        used = [c for c in self.columns if c.role == "modality" and c.kind]
        scalar = tuple(c.name for c in used if capabilities_of(c.kind).scalars and c.evidence != RECORDS)
        together, joint = set(scalar if len(scalar) > 1 else ()), self._joint
        found: dict[str, tuple[str, tuple[str, ...]]] = {}
        for column in used:
            if column.name in together:
                found[joint] = (SCALARS, scalar)
            else:
                found[column.name] = (str(column.kind), (column.name,))
        return found

    @property
    def _joint(self) -> str:
        """The name of the joint modality: no column of the table, of whatever role, has it."""
        name, taken = SCALARS, {c.name for c in self.columns}
        while name in taken:
            name += "_"
        return name

    @property
    def unused(self) -> frozenset[str]:
        """The columns that the caller chose not to use."""
        return frozenset(c.name for c in self.columns if c.evidence == _NOT_USED)

    @property
    def limits(self) -> frozenset[str]:
        """The numbers that may be infinite."""
        return frozenset(name for c in self.columns for name in c.limits)

    @property
    def conventions(self) -> dict[str, Convention]:
        """How numbers and dates are written in those columns where they are not plain."""
        return {c.name: c.convention for c in self.columns if c.convention}

    @property
    def warnings(self) -> list[str]:
        return [one_line(f"column {c.name!r}: {c.warning}") for c in self.columns if c.warning]

    def to_roles(self) -> Roles:
        """What a user would have to say to get this schema again."""
        used = [c for c in self.columns if c.role == "modality"]
        return Roles(
            **{r.name: self.role(r.name) for r in ROLES if r.is_column and r.holds == "column"},
            target=self.targets,
            target_kind=self.target_kind if self.targets else None,
            use=tuple(c.name for c in used),
            kinds={c.name: str(c.kind) for c in used},
            triples=self.triples,
        )


def infer(
    frame: pd.DataFrame,
    roles: Roles,
    name: str = "table",
    report: Report | None = None,
    *,
    index: frozenset[str] = frozenset(),
) -> Schema:
    """The schema of a table of raw cells.

    `roles` wins over inference. Columns that nothing can be learnt from (constant, a new value in
    each row, the same value in all rows of a class) carry a warning; in tables of 50 rows and more
    they are ignored unless `roles.use` names them.

    Args:
        report: receives every cell that is of another kind than most of its column, which then has
            the kind of those most; without it the first such cell is an error.
        index: columns that the file itself calls pandas' index.

    Raises:
        OptionError: a role names a column that is not there, or an unknown kind.
        DataError: a column mixes two kinds, and nobody receives the report.
    """
    if not len(frame):
        raise DataError(f"{name}: the table has no rows. Give a table with at least one labelled row.")
    roles = roles.among(frame.columns)
    check_roles(roles, frame.columns, name)
    given = {column: role.name for role in ROLES if role.exclusive for column in roles.columns(role.name)}
    targets, inferred = roles.columns("target"), Inference("classification", "")
    raws = [RawColumn(column, tuple(frame[column]), name, report) for column in map(str, frame.columns)]
    conventions = {
        r.name: r.convention for r in raws if r.convention and given.get(r.name) in ("target", "time")
    }
    if targets:
        by_column = {c: found.convention for c, found in conventions.items() if not found.convention.order}
        inferred = kind_of_target(frame, targets, roles.target_kind, name, by_column)
    target_kind = inferred.kind
    labels = tuple(frame[targets[0]]) if targets and target_kind == "classification" else None
    wanted = None if roles.use is None else frozenset(roles.use)
    columns = []
    for raw in raws:
        if role := given.get(raw.name):
            kind = _describing(raw, roles) if role == "describe" and raw.present else None
            evidence = (
                f"{_ROLE_EVIDENCE}; {target_kind} ({inferred.evidence})"
                if role == "target"
                else _ROLE_EVIDENCE
            )
            doubt = [inferred.warning, printed_lists(raw)] if role == "target" else []
            written = conventions.get(raw.name) if role == "time" or target_kind == "regression" else None
            if role == "time" and not roles.split:
                doubt.append(_timeless(raw))
            if written:
                doubt.append(written.warning)
                evidence += f", {written.convention}"
            warning = "; ".join(filter(None, doubt)) or None
            columns.append(
                Column(
                    raw.name,
                    role,
                    kind,
                    evidence,
                    warning,
                    convention=written.convention if written else None,
                )
            )
        elif raw.name not in (wanted or ()) and raw.name not in roles.kinds and row_numbers(raw, index):
            columns.append(Column(raw.name, "ignored", None, ROW_NUMBERS, _LEFT_OUT))
        else:
            columns.append(_inferred(raw, roles, labels, wanted))
    shared = {
        role.name: column
        for role in ROLES
        if role.is_column and not role.exclusive
        for column in roles.columns(role.name)
    }
    schema = Schema(tuple(columns), roles.triples, target_kind, targets, shared)
    if roles.triples and not any(capabilities_of(c.kind).entities for c in columns):
        raise OptionError(f"{name}: --triples, and no column is a graph. Pass --kind COLUMN=graph.")
    if roles.use is not None and not schema.modalities and not roles.describe:
        empty = ", ".join(
            c.name for c in columns if c.name in roles.use and c.evidence == "every cell is empty"
        )
        why = f"every cell of {empty} is empty" if empty else "--use names no column of a known kind"
        raise OptionError(f"{name}: {why}. Name at least one modality with --use.")
    return schema


def _timeless(column: RawColumn) -> str | None:
    """What becomes of rows without a time, if there are any."""
    lacking, rows = sum(map(is_empty, column.cells)), len(column.cells)
    if not lacking:
        return None
    return (
        f"{lacking} of {rows} rows have no time, and a split by time leaves them out of training, validation and test: "
        "fill them, or pass another --split-by"
    )


def _inferred(
    column: RawColumn, roles: Roles, labels: tuple[object, ...] | None, wanted: frozenset[str] | None
) -> Column:
    name, used = column.name, wanted is None or column.name in wanted
    kind: str | None
    if not column.present:
        bad = next((c for c in column.cells if isinstance(c, Unreadable)), None)
        if bad is not None:
            kind = roles.kinds.get(name, SCALARS)  # whose reader refuses each cell, with its row
            role = "modality" if used else "ignored"
            return Column(name, role, kind, "no cell can be read", f"every cell {bad.reason}")
        if used and wanted is not None and name in roles.kinds:  # a modality of a model, in rows without it
            return Column(name, "modality", roles.kinds[name], "every cell is empty")
        return Column(name, "ignored", None, "every cell is empty")
    if name in roles.kinds:
        kind = roles.kinds[name]
        records = capabilities_of(kind).scalars and form(column.present[0]) == "record"
        evidence = RECORDS if records else _CALLER
    elif used:
        kind, evidence = kind_of_column(column)
        if kind is None:
            return Column(name, "ignored", None, evidence, evidence)
    else:
        kind, evidence = quiet_kind(column), ""
    limits, note = beyond_limits(column) if capabilities_of(kind).scalars else ((), None)
    written = _written(column, kind, evidence)
    reason = worthless(column, labels, None if written else kind)
    if not used:
        return Column(name, "ignored", kind, _NOT_USED, reason)
    if reason and roles.use is None and len(column.cells) >= _JUDGED_ROWS:
        return Column(name, "ignored", kind, f"{evidence}; left out because {reason}", reason)
    printed = printed_lists(column) if name not in roles.kinds or capabilities_of(kind).scalars else None
    doubts = [note, reason, printed, written.warning if written else None]
    warning = "; ".join(filter(None, doubts)) or None
    evidence = f"{evidence}, {note.partition(':')[0]}" if note and evidence != RECORDS else evidence
    return Column(name, "modality", kind, evidence, warning, limits, written.convention if written else None)


def _written(column: RawColumn, kind: str | None, evidence: str) -> Finding | None:
    """The convention in which a column of scalars is read: the one that was inferred, or that all its cells fit."""
    found = column.convention if capabilities_of(kind).scalars else None
    if found is None or evidence == str(found.convention):
        return found
    words = [c for c in column.present if isinstance(c, str)]
    return (
        found
        if evidence in ("", _CALLER) and all(found.convention.parse(c) is not None for c in words)
        else None
    )


def _describing(column: RawColumn, roles: Roles) -> str:
    """The kind of what describes classes: words are a text; numbers, records and vectors are themselves."""
    kind: str | None
    if column.name in roles.kinds:
        kind = roles.kinds[column.name]
    else:
        kind = "text" if any(isinstance(c, str) for c in column.present) else quiet_kind(column)
    if kind is None or not capabilities_of(kind).describes:
        raise OptionError(
            f"--describe {column.name}: its cells are {kind or 'of no kind'}, and a class is described by words, "
            "values or a vector. Name another column."
        )
    return kind
