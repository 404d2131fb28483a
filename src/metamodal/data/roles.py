"""The roles that a table's columns can have: one entry each, which flags, options, keywords and shards derive from.

Imports nothing heavy: the command line reads this table before anything else is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import combinations
from typing import Any, Literal

from metamodal.data.schema.comma_names import joined
from metamodal.errors import OptionError, suggestion

__all__ = ["NONE", "ROLES", "TARGET_KINDS", "Role", "Roles", "check_roles"]

NONE = "-"
"""In place of a column's name: no column has this role, whatever a model or a folder records."""
TARGET_KINDS = ("auto", "classification", "multilabel", "regression")
"""What a target may be; auto infers it from the cells."""


@dataclass(frozen=True)
class Role:
    """One role, as every part of the program that lists roles needs it.

    Attributes:
        name: of the keyword, the option and the key in a file of `--schema`.
        help: of the flag and the option.
        holds: one column, one or more columns, one of `choices`, a kind for each of some columns, or a file.
        exclusive: whether its column has no other role and is no modality.
        hidden: whether its column is refused among the modalities, because it gives the answer away.
        of: `"modality"` for what the inputs are, `"row"` for what a row is for, or the role whose column this is about.
        singular: the word of the flag, where it is not the name.
        choices: the values of a choice; the first leaves it to inference.
    """

    name: str
    help: str
    holds: Literal["column", "columns", "choice", "kinds", "file"] = "column"
    exclusive: bool = False
    hidden: bool = False
    of: str = "row"
    singular: str = ""
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """On the command line."""
        return f"--{(self.singular or self.name).replace('_', '-')}"

    @property
    def is_column(self) -> bool:
        """Whether it names columns that say something of a row, which are kept where modalities are encoded."""
        return self.of == "row" and self.holds in ("column", "columns")


def _role(help: str, **more: Any) -> Any:
    """A field of `Roles` with its entry in the table."""
    return field(default=None, metadata={"help": help, **more})


@dataclass(frozen=True)
class Roles:
    """The roles that a caller gives to a table's columns; the rest is inferred. Each field is one entry of `ROLES`.

    A role may be `NONE`: no column has it, whatever a model or a folder records.
    """

    target: str | tuple[Any, ...] | None = _role(
        "the column with the label, or several with labels or numbers",
        holds="columns",
        exclusive=True,
        hidden=True,
    )
    target_kind: str | None = _role(
        "what the target is; auto: inferred from its cells",
        holds="choice",
        of="target",
        choices=TARGET_KINDS,
    )
    task: str | None = _role(
        "the column whose values are tasks; an episode is drawn within one of them", exclusive=True
    )
    group: str | None = _role("the column of the entity whose rows belong together", exclusive=True)
    split: str | None = _role("the column that holds train, valid or test", exclusive=True, hidden=True)
    time: str | None = _role(
        "the column of the moment that a row is of; a split by time tests on the latest", exclusive=True
    )
    describe: str | None = _role(
        "the column that describes the class, not the sample: words, values, a vector", exclusive=True
    )
    disjoint_by: str | None = _role("a column no value of which is in support and query of one episode")
    use: tuple[str, ...] | None = _role(
        "the modalities; by default all columns that can teach something", holds="columns", of="modality"
    )
    kinds: dict[str, str] = field(
        default_factory=dict,
        metadata={
            "help": "the kind of a column, in place of the inferred one",
            "holds": "kinds",
            "of": "modality",
            "singular": "kind",
        },
    )
    triples: str | None = _role(
        "a table of head, relation and tail for the entities that graph columns name",
        holds="file",
        of="modality",
    )

    @classmethod
    def parse(cls, **values: Any) -> Roles:
        """Roles from what callers pass: a column that a frame names by a number or a tuple is named by its text.

        Raises:
            OptionError: a value that names no columns, or no kinds of columns.
        """
        return cls(**{name: _PARSERS[_BY_NAME[name].holds](name, value) for name, value in values.items()})

    def __post_init__(self) -> None:
        if self.target is not None and not isinstance(self.target, str):
            several = tuple(self.target)
            single = str(several[0]) if len(several) == 1 else several or None
            object.__setattr__(self, "target", single)
        for role in ROLES:
            if role.choices and getattr(self, role.name) == role.choices[0]:
                object.__setattr__(self, role.name, None)

    def columns(self, role: str) -> tuple[str, ...]:
        """The columns with this role: none, one, or of some roles several."""
        value = getattr(self, role)
        if value is None or _BY_NAME[role].holds in ("choice", "file"):
            return ()
        return (value,) if isinstance(value, str) else tuple(map(str, value))

    def among(self, columns: Iterable[Any]) -> Roles:
        """The same roles with the target and `use` as the columns that a table has.

        A list that a command line gave in one word was split at its commas, which a name may hold itself.
        """
        known = {str(column) for column in columns}
        target = self.target
        if isinstance(target, tuple):
            parts = tuple(map(str, target))
            target = (str(target),) if str(target) in known else joined(parts, known)
        elif target is not None:
            target = joined((target,), known)
        return replace(self, target=target, use=self.use and joined(self.use, known))

    def within(self, columns: Iterable[str]) -> Roles:
        """The same roles, less those whose columns are not among `columns`."""
        known = set(columns)
        kept: dict[str, Any] = {}
        for role in ROLES:
            there = tuple(c for c in self.columns(role.name) if c in known)
            if role.holds == "column":
                kept[role.name] = next(iter(there), None)
            elif role.holds == "columns":
                kept[role.name] = there if getattr(self, role.name) else None
            elif role.holds == "kinds":
                kept[role.name] = {c: getattr(self, role.name)[c] for c in there}
        roles = replace(self, **kept)
        return roles._without(role.name for role in ROLES if role.of in kept and not roles.columns(role.of))

    def of_modalities(self) -> Roles:
        """The roles of the modalities alone: of a table of which only these are looked at."""
        return self._without(role.name for role in ROLES if role.of != "modality")

    def settled(self) -> Roles:
        """These roles, those that no column is to have left out."""
        return self._without(role.name for role in ROLES if getattr(self, role.name) == NONE)

    def over(self, other: Roles) -> Roles:
        """These roles, with `other` in place of those that are not given here, for columns without a role here."""
        taken = {c for role in ROLES if role.exclusive for c in self.columns(role.name)} - {NONE}
        merged: dict[str, Any] = {}
        for role in ROLES:
            mine, theirs = getattr(self, role.name), getattr(other, role.name)
            if role.holds == "columns" and theirs:
                left = tuple(c for c in other.columns(role.name) if c not in taken)
                theirs = left or None
            elif (role.exclusive and theirs in taken) or (
                role.holds == "choice" and getattr(self, role.of) not in (None, getattr(other, role.of))
            ):
                theirs = None
            merged[role.name] = mine if mine or mine == () else theirs  # no columns at all is an answer, too
        return Roles(**merged)

    def record(self) -> dict[str, Any]:
        """What is given, by role, as plain values: the content of a file for `--schema`."""
        values = {role.name: getattr(self, role.name) for role in ROLES}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if v}

    def _without(self, names: Iterable[str]) -> Roles:
        none: dict[str, Any] = dict.fromkeys(names)
        return replace(self, **none)


ROLES = tuple(Role(f.name, **f.metadata) for f in fields(Roles))
"""Every role, in the order in which they are listed to users."""
_BY_NAME = {role.name: role for role in ROLES}


def _column(name: str, value: Any) -> str | None:
    return None if value is None else str(value)


def _columns(name: str, value: Any) -> str | tuple[Any, ...] | None:
    if _BY_NAME[name].exclusive and value is not None:  # a tuple may be a frame's name for one column
        return tuple(value) if isinstance(value, (list, tuple)) else str(value)
    if not isinstance(value, (str, Iterable, type(None))):
        raise OptionError(f"{name}={value!r}: no columns. Give a list of their names.")
    return ((value,) if isinstance(value, str) else tuple(map(str, value))) if value else None


def _kinds(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, (Mapping, type(None))):
        raise OptionError(f"{name}={value!r}: no kinds of columns. Give {{column: kind}}.")
    return {str(column): kind for column, kind in (value or {}).items()}


def _same(name: str, value: Any) -> Any:
    return value


_PARSERS = {"column": _column, "columns": _columns, "kinds": _kinds, "choice": _same, "file": _same}


def check_roles(roles: Roles, columns: Iterable[Any], name: str) -> None:
    """OptionError unless the roles fit each other, and every column that they name is among `columns`."""
    from metamodal.data.modalities import modalities

    known = {str(c): None for c in columns}
    named = [(role, column) for role in ROLES for column in roles.columns(role.name)]
    for role in ROLES:
        value = getattr(roles, role.name)
        if role.holds == "choice" and value and not getattr(roles, role.of):
            raise OptionError(
                f"{name}: {role.flag} {value}, and no {role.of}. Pass --{role.of} C, or leave it out."
            )
    for (first, column), (second, again) in combinations([n for n in named if n[0].exclusive], 2):
        if column == again:
            raise OptionError(
                f"{name}: {first.flag} and {second.flag} both name {column!r}. Give a column one role."
            )
    for role, column in named:
        if column not in known:
            raise OptionError(f"{name}: {role.flag} {column!r}: no such column. {_nearest(column, known)}")
    for column, kind in roles.kinds.items():
        if kind not in modalities:
            raise OptionError(f"--kind {column}={kind}: no such kind. {suggestion(kind, modalities)}")
    used = set(roles.use or ())
    for role, column in named:
        if role.hidden and column in used:
            raise OptionError(
                f"--use {column!r}: it is the {role.name}, which no model may see. Leave it out."
            )


def _nearest(column: str, known: Iterable[str]) -> str:
    """What else may have been meant; names that a command line has no way to write can stand in a file."""
    near = suggestion(column, known)
    odd = any(mark in name for name in known for mark in ',="')
    return f"{near} Quote a name with commas, or write the roles in a file: --schema FILE." if odd else near
