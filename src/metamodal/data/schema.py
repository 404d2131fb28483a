"""The role and kind of each column of a table, inferred with the evidence for it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from metamodal.data.cells import FORMS, date_of, form, is_absent, media_kind, number_of
from metamodal.data.problems import Problem, Report, short
from metamodal.data.target_kinds import kind_of_target
from metamodal.errors import DataError, OptionError, suggestion

__all__ = ["KINDS", "NUMBERS_AS_TEXT", "SINGLE", "Column", "Roles", "Schema", "infer"]

KINDS = (
    "image",
    "text",
    "audio",
    "video",
    "tabular",
    "series",
    "graph",
    "points",
    "embedding",
)


SINGLE = ("target", "task", "group", "split", "time", "describe")
"""The roles that one column has; the target may have several."""


@dataclass(frozen=True)
class Roles:
    """What a user says of a table's columns; everything not said is inferred.

    `target` names one column or several, `target_kind` says whether they hold classes, labels or numbers.
    """

    target: str | tuple[str, ...] | None = None
    task: str | None = None
    group: str | None = None
    split: str | None = None
    describe: str | None = None
    use: tuple[str, ...] | None = None
    kinds: dict[str, str] = field(default_factory=dict)
    triples: str | None = None
    time: str | None = None
    target_kind: str | None = None

    def __post_init__(self) -> None:
        if self.target is not None and not isinstance(self.target, str):
            several = tuple(self.target)
            single = several[0] if len(several) == 1 else several or None
            object.__setattr__(self, "target", single)
        if self.target_kind == "auto":
            object.__setattr__(self, "target_kind", None)

    def columns(self, role: str) -> tuple[str, ...]:
        """The columns with this role, none or one; of the target maybe several."""
        said = getattr(self, role)
        return said if isinstance(said, tuple) else (said,) if said else ()

    def over(self, other: Roles) -> Roles:
        """These roles, with `other` answering where these are silent about role and column."""
        taken = {column for name in SINGLE for column in self.columns(name)}
        left = {name: tuple(c for c in other.columns(name) if c not in taken) for name in SINGLE}
        single: dict[str, Any] = {
            name: getattr(self, name) or (left[name] if name == "target" else next(iter(left[name]), None))
            for name in SINGLE
        }
        use = tuple(c for c in other.use or () if c not in taken) or (other.use and None)
        same = self.target in (None, other.target)
        return Roles(
            **single,
            target_kind=self.target_kind or (other.target_kind if same else None),
            use=use if self.use is None else self.use,
            kinds=self.kinds or other.kinds,
            triples=self.triples or other.triples,
        )


@dataclass(frozen=True)
class Column:
    """One column: its role, its kind, why, and what to beware of.

    `limits` are the numbers in it, by name, whose infinities stand for values beyond the limits of
    detection: two or more of its cells are infinite.
    """

    name: str
    role: str
    kind: str | None
    evidence: str
    warning: str | None = None
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Schema:
    """The columns of a table; a modality is one of them, or all scalar ones together.

    `triples` names the file that says how the entities in graph columns are related, `target_kind`
    what the target is: classes, labels or numbers.
    """

    columns: tuple[Column, ...]
    triples: str | None = None
    target_kind: str = "classes"
    targets: tuple[str, ...] = ()

    def role(self, role: str) -> str | None:
        """The name of the column with this role, if there is one."""
        return next((c.name for c in self.columns if c.role == role), None)

    @property
    def target(self) -> str | None:
        """The target's column, the first of several."""
        return next(iter(self.targets), None)

    @property
    def modalities(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Kind and columns of each modality by name.

        Two or more scalar columns (numbers, categories, booleans) are one modality, `tabular`:
        a sample's row of values. One alone, and any column of records, keeps its own name.
        """
        used = [c for c in self.columns if c.role == "modality" and c.kind]
        scalar = tuple(c.name for c in used if c.kind == "tabular" and c.evidence != _RECORDS)
        found: dict[str, tuple[str, tuple[str, ...]]] = {}
        for column in used:
            if len(scalar) > 1 and column.name in scalar:
                found["tabular"] = ("tabular", scalar)
            else:
                found[column.name] = (str(column.kind), (column.name,))
        return found

    @property
    def unused(self) -> frozenset[str]:
        """The columns that the caller chose not to use."""
        return frozenset(c.name for c in self.columns if c.evidence == _NOT_USED)

    @property
    def limits(self) -> frozenset[str]:
        """The numbers that may be infinite."""
        return frozenset(name for c in self.columns for name in c.limits)

    @property
    def warnings(self) -> list[str]:
        return [f"column {c.name!r}: {c.warning}" for c in self.columns if c.warning]

    def to_roles(self) -> Roles:
        """What a user would have to say to get this schema again."""
        used = [c for c in self.columns if c.role == "modality"]
        return Roles(
            **{r: self.role(r) for r in SINGLE if r != "target"},
            target=self.targets,
            target_kind=self.target_kind if self.targets else None,
            use=tuple(c.name for c in used),
            kinds={c.name: str(c.kind) for c in used},
            triples=self.triples,
        )


_NOT_USED = "not named in --use"
_JUDGED_ROWS = 50  # in fewer rows a column is constant, or tells the classes apart, by chance or by luck
_MANY_LEVELS = 100
_LISTS = {"vector", "sequence", "symbols"}
_MOST = 0.8  # of a column's strings; what the others are not, is wrong with them
_OFTEN = 10  # rows a value, with which many values are a category all the same
_TEXT_WORDS = frozenset(
    ["text", "title", "description", "caption", "comment", "comments", "author", "licence", "license"]
) | {
    *[
        "english",
        "german",
        "french",
        "spanish",
        "italian",
        "portuguese",
        "dutch",
        "russian",
        "chinese",
        "japanese",
        "korean",
    ]
}
_POINT_WORDS = frozenset({"points", "pointcloud", "cloud", "lidar", "radar"})
NUMBERS_AS_TEXT = "numbers written as text"
_RECORDS = "records of named values"
_ROLE_EVIDENCE = "named so by the caller"


def infer(frame: pd.DataFrame, roles: Roles, name: str = "table", report: Report | None = None) -> Schema:
    """The schema of a table of raw cells.

    `roles` wins over inference. Columns that nothing can be learnt from (constant, a new value in
    each row, the same value in all rows of a class) carry a warning; in tables of 50 rows and more
    they are ignored unless `roles.use` names them.

    Args:
        report: receives every cell that is of another kind than most of its column, which then has
            the kind of those most; without it the first such cell is an error.

    Raises:
        OptionError: a role names a column that is not there, or an unknown kind.
        DataError: a column mixes two kinds, and nobody receives the report.
    """
    if not len(frame):
        raise DataError(f"{name}: the table has no rows. Give a table with at least one labelled row.")
    _check_names(frame, roles, name)
    given = {column: role for role in SINGLE for column in roles.columns(role)}
    targets, target_kind, told = roles.columns("target"), "classes", ""
    if targets:
        target_kind, told = kind_of_target(frame, targets, roles.target_kind, name)
    labels = frame[targets[0]] if targets and target_kind == "classes" else None
    columns = []
    for column in map(str, frame.columns):
        cells = [c for c in frame[column] if not is_absent(c)]
        role = given.get(column)
        if role:
            kind = _describing(frame, column, cells, roles) if role == "describe" and cells else None
            evidence = f"{_ROLE_EVIDENCE}; {target_kind} ({told})" if role == "target" else _ROLE_EVIDENCE
            columns.append(Column(column, role, kind, evidence))
        else:
            columns.append(_inferred(frame, column, cells, roles, labels, name, report))
    schema = Schema(tuple(columns), roles.triples, target_kind, targets)
    if roles.triples and not any(c.kind == "graph" for c in columns):
        raise OptionError(f"{name}: --triples, and no column is a graph. Say --kind COLUMN=graph.")
    if roles.use is not None and not schema.modalities and not roles.describe:
        raise OptionError(f"{name}: --use names no column. Name at least one modality.")
    return schema


def _check_names(frame: pd.DataFrame, roles: Roles, name: str) -> None:
    known = [str(c) for c in frame.columns]
    asked: list[tuple[str, str]] = [
        (f"--{role}", column) for role in SINGLE for column in roles.columns(role)
    ]
    if roles.target_kind and not roles.target:
        raise OptionError(
            f"{name}: --target-kind {roles.target_kind}, and no target. Say --target C, or leave it out."
        )
    for (first, column), (second, again) in combinations(asked, 2):
        if column == again:
            raise OptionError(f"{name}: {first} and {second} both name {column!r}. Give a column one role.")
    asked += [("--use", c) for c in roles.use or ()] + [("--kind", c) for c in roles.kinds]
    for option, column in asked:
        if column not in known:
            raise OptionError(f"{name}: {option} {column!r}: no such column. {suggestion(column, known)}")
    for column, kind in roles.kinds.items():
        if kind not in KINDS:
            raise OptionError(f"--kind {column}={kind}: no such kind. {suggestion(kind, KINDS)}")
    for column in roles.use or ():
        for role in ("target", "split"):
            if column in roles.columns(role):
                raise OptionError(
                    f"--use {column!r}: it is the {role}, which no model may see. Leave it out."
                )


def _inferred(
    frame: pd.DataFrame,
    column: str,
    cells: list[Any],
    roles: Roles,
    labels: pd.Series | None,
    name: str,
    report: Report | None,
) -> Column:
    used = roles.use is None or column in roles.use
    if not cells:
        return Column(column, "ignored", None, "every cell is empty")
    if column in roles.kinds:
        records = roles.kinds[column] == "tabular" and form(cells[0]) == "record"
        kind: str | None = roles.kinds[column]
        evidence = _RECORDS if records else "kind given by the caller"
    elif used:
        kind, evidence = _kind(frame, column, cells, name, report)
        if kind is None:
            return Column(column, "ignored", None, evidence)
    else:
        kind, evidence = _quiet_kind(frame, column, cells), ""
    limits, note = _beyond_limits(column, cells) if kind == "tabular" else ((), None)
    reason = _worthless(frame[column], cells, labels, kind)
    if not used:
        return Column(column, "ignored", kind, _NOT_USED, reason)
    if reason and roles.use is None and len(frame) >= _JUDGED_ROWS:
        return Column(column, "ignored", kind, f"{evidence}; left out because {reason}", reason)
    warning = "; ".join(filter(None, [note, reason])) or None
    evidence = f"{evidence}, {note.partition(':')[0]}" if note and evidence != _RECORDS else evidence
    return Column(column, "modality", kind, evidence, warning, limits)


def _beyond_limits(column: str, cells: list[Any]) -> tuple[tuple[str, ...], str | None]:
    """The numbers of a column of which two or more are infinite, and what is made of them."""
    found: dict[str, list[float]] = {}
    for cell in cells:
        for name, value in cell.items() if isinstance(cell, dict) else ((column, cell),):
            infinity = _infinity(value)
            if infinity:
                found.setdefault(str(name), []).append(infinity)
    limits = tuple(name for name, values in found.items() if len(values) > 1)
    below = sum(value < 0 for name in limits for value in found[name])
    above = sum(len(found[name]) for name in limits) - below
    note = f"{below} values are -inf and {above} are +inf: they are read as beyond the limits of detection"
    return limits, note if limits else None


def _infinity(value: Any) -> float | None:
    if isinstance(value, str):
        if value.strip().lstrip("+-").lower() not in ("inf", "infinity"):
            return None
        value = float(value)
    return float(value) if isinstance(value, (float, np.floating)) and math.isinf(value) else None


def _describing(frame: pd.DataFrame, column: str, cells: list[Any], roles: Roles) -> str:
    """The kind of what describes classes: words are a text; numbers, records and vectors are themselves."""
    if column in roles.kinds:
        kind: str | None = roles.kinds[column]
    else:
        kind = "text" if any(isinstance(c, str) for c in cells) else _quiet_kind(frame, column, cells)
    if kind not in ("text", "tabular", "embedding"):
        raise OptionError(
            f"--describe {column}: its cells are {kind or 'of no kind'}, and a class is described by words, "
            "values or a vector. Name another column."
        )
    return kind


def _quiet_kind(frame: pd.DataFrame, column: str, cells: list[Any]) -> str | None:
    try:
        return _kind(frame, column, cells, "")[0]
    except DataError:
        return None


def _kind(
    frame: pd.DataFrame, column: str, cells: list[Any], name: str, report: Report | None = None
) -> tuple[str | None, str]:
    """Kind and evidence of a column by the forms of all its cells; no kind where nothing is known of it."""
    forms = Counter(form(c) for c in cells)
    if {"number", "boolean"} <= set(forms):
        forms["number"] += forms.pop("boolean")
    if "empty list" in forms and forms.keys() & _LISTS:
        del forms["empty list"]
        cells = [c for c in cells if form(c) != "empty list"]
    if len(forms) > 1:
        counts = " and ".join(f"{n} {f}" for f, n in forms.most_common())
        usual, rare = max(forms, key=forms.__getitem__), min(forms, key=forms.__getitem__)
        fits = {usual}
        fits |= {"boolean"} if usual == "number" else {"empty list"} if usual in _LISTS else set()
        if report is None:
            row = next(i for i, c in enumerate(frame[column]) if not is_absent(c) and form(c) == rare)
            raise DataError(
                f"{name} row {row + 1}, column {column}: the column has two kinds ({counts}); this cell is "
                f"{short(frame[column].iloc[row])}. Mend the cell, or split the column in two."
            )
        for row, cell in enumerate(frame[column], start=1):
            if not is_absent(cell) and (found := form(cell)) not in fits:
                reason = f"{found} where {forms[usual]} cells are {usual}. Mend the cell, or split the column in two"
                report(Problem(row, column, short(cell), reason))
        cells = [c for c in cells if form(c) in fits - {"empty list"}]
        forms = Counter({usual: len(cells)})
    (only,) = forms
    if only in ("sequence", "points", "array file") and _sounds_like_points(column):
        return "points", f"{_evidence(only, cells)}; by its name, points"
    if only == "string":
        return _kind_of_strings(frame, column, cells, name, report)
    if only not in FORMS and report is not None:
        for row, cell in enumerate(frame[column], start=1):
            if not is_absent(cell) and form(cell) == only:
                report(
                    Problem(
                        row, column, short(cell), f"{only}: no kind has such cells. Say --kind {column}=KIND"
                    )
                )
        return None, f"cannot tell what its cells are ({only})"
    if only not in FORMS:
        raise DataError(
            f"{name}, column {column}: cannot tell what its cells are ({only}). Say --kind {column}=KIND."
        )
    if only == "vector":
        lengths = {len(c) for c in cells}
        if len(lengths) > 1:
            return "series", f"number lists of {min(lengths)} to {max(lengths)} steps"
        return "embedding", f"number lists, all of length {lengths.pop()}"
    return FORMS[only], _evidence(only, cells)


def _sounds_like_points(column: str) -> bool:
    words = _words_of(column)
    return any(word in _POINT_WORDS for word in words) or "point_cloud" in "_".join(words)


def _words_of(column: str) -> list[str]:
    return [word for word in re.split(r"[^a-z]+", column.lower()) if word]


def _evidence(only: str, cells: list[Any]) -> str:
    if only in ("image", "audio", "video", "points"):
        return f"{only} by the first bytes of all {len(cells)} cells"
    if only == "array file":
        return "arrays in .npy files"
    if only == "timed":
        return "records of times and values"
    if only == "graph":
        return "records of nodes and edges"
    if only == "frames":
        return f"pictures in a row, {min(map(len, cells))} to {max(map(len, cells))} in a cell"
    if only == "sequence":
        lengths = [len(c) for c in cells]
        first = next((step for cell in cells for step in cell if step is not None), ())
        return f"lists of steps, {len(first)} values each, {min(lengths)} to {max(lengths)} steps"
    if only == "symbols":
        return "lists of symbols"
    if only == "record":
        return _RECORDS
    return f"{only}s"


def _kind_of_strings(
    frame: pd.DataFrame, column: str, cells: list[str], name: str, report: Report | None = None
) -> tuple[str, str]:
    counts = Counter(cells)
    kind = _usual([media_kind(c) or "" for c in cells])
    if kind:
        fits = {c: media_kind(c) == kind for c in counts}
        _odd_strings(frame, column, fits, f"paths that end like {kind} files", name, report)
    if kind == "array file":
        if _sounds_like_points(column):
            return "points", "paths of .npy files; by its name, points"
        raise DataError(
            f"{name}, column {column}: cannot tell what its .npy files are. Say --kind {column}=KIND."
        )
    if kind:
        return kind, f"paths that end like {kind} files"
    for told, fitting in (("numbers", _is_number), ("dates", _is_date)):
        fits = {c: fitting(c) for c in counts}
        if sum(n for c, n in counts.items() if fits[c]) >= _MOST * len(cells):
            _odd_strings(frame, column, fits, told, name, report)
            return "tabular", NUMBERS_AS_TEXT if told == "numbers" else told
    distinct = len(counts)
    words = sum(len(c.split()) * n for c, n in counts.items()) / len(cells)
    evidence = f"strings, {distinct} distinct, {words:.1f} words on average"
    if _TEXT_WORDS & set(_words_of(column)) and distinct > 1:
        return "text", f"{evidence}; by its name, text"
    often = distinct <= _MANY_LEVELS or words < 1.2 or len(cells) >= _OFTEN * distinct
    few = distinct <= max(2, 0.5 * len(cells)) and often
    if (few and words < 3) or distinct == 1:
        return "tabular", f"a category of {distinct} values"
    if words == 1 and all(any(letter.isdigit() for letter in c) for c in counts):
        return "tabular", f"a category of {distinct} values, single words with digits"
    return "text", evidence


def _usual(kinds: list[str]) -> str | None:
    """What most of a column's strings are, if it is anything."""
    kind, count = Counter(kinds).most_common(1)[0]
    return kind if kind and count >= _MOST * len(kinds) else None


def _odd_strings(
    frame: pd.DataFrame, column: str, fits: dict[str, bool], usual: str, name: str, report: Report | None
) -> None:
    """Each string that does not look like most of its column goes to `report`, or the first is an error."""
    if all(fits.values()):
        return
    mend = f"Mend the cell, or say --kind {column}=text"
    there = [(row, c) for row, c in enumerate(frame[column], start=1) if isinstance(c, str)]
    odd = [(row, c) for row, c in there if not fits[c]]
    for row, cell in odd:
        if report is None:
            raise DataError(
                f"{name} row {row}, column {column}: the column has two kinds ({len(there) - len(odd)} {usual} and "
                f"{len(odd)} words); this cell is {short(cell)}. {mend}."
            )
        reason = f"a word where {len(there) - len(odd)} cells are {usual}. {mend}"
        report(Problem(row, column, short(cell), reason))


def _is_date(text: str) -> bool:
    return bool(date_of(text))


def _is_number(text: str) -> bool:
    return number_of(text) is not None


def _worthless(
    column: pd.Series, cells: Sequence[Any], labels: pd.Series | None, kind: str | None
) -> str | None:
    """Why a column can teach nothing about a new sample, if so."""
    keys = [None if is_absent(c) else _key(c) for c in column]
    distinct = {k for k in keys if k is not None}
    if len(distinct) == 1 and len(cells) == len(column) > 1:
        return "it is constant"
    unique = len(distinct) == len(column) > 20 and kind in ("text", "tabular")
    if unique and all(isinstance(c, str) and _is_word(c) for c in cells):
        return "it differs in every row, as an id does"
    if labels is None or len(distinct) < 2:
        return None
    of_class: dict[Any, set[Any]] = {}
    rows: Counter[Any] = Counter()
    for key, label in zip(keys, labels):
        if not is_absent(label) and key is not None:
            label = _key(label)
            of_class.setdefault(label, set()).add(key)
            rows[label] += 1
    repeated = [label for label, n in rows.items() if n > 1]
    if repeated and all(len(of_class[label]) == 1 for label in repeated) and len(distinct) > 1:
        return "it is constant within each class: it describes the class, and in a query it would give the label away"
    return None


def _is_word(text: str) -> bool:
    return len(text.split()) == 1 and not _is_number(text) and not date_of(text)


def _key(cell: Any) -> Any:
    if isinstance(cell, np.ndarray):
        return cell.tobytes()
    try:
        hash(cell)
    except TypeError:
        return repr(cell)
    return cell
