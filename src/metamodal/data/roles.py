"""What a user says of a table's columns: which is the target, which the task, what is used and as what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from metamodal.data.modalities import modalities
from metamodal.errors import OptionError, suggestion

__all__ = ["NONE", "SINGLE", "Roles", "check_roles"]

SINGLE = ("target", "task", "group", "split", "time", "describe")
"""The roles that one column has; the target may have several."""
_ONE_COLUMN = (*SINGLE[1:], "disjoint_by")
_PIECES = 20  # a column's name may have as many commas, less one
NONE = "-"
"""Said of a role that no column is to have."""


@dataclass(frozen=True)
class Roles:
    """What a user says of a table's columns; everything not said is inferred.

    A single role may be `NONE`: no column has it, whatever a model or a folder says. `disjoint_by` names a column,
    which may be a modality, no value of which is on both sides of an episode.
    `target` names one column or several, `target_kind` says whether they hold classes, labels or numbers.
    """

    target: str | tuple[Any, ...] | None = None
    task: str | None = None
    group: str | None = None
    split: str | None = None
    describe: str | None = None
    use: tuple[str, ...] | None = None
    kinds: dict[str, str] = field(default_factory=dict)
    triples: str | None = None
    time: str | None = None
    target_kind: str | None = None
    disjoint_by: str | None = None

    @classmethod
    def said(cls, **roles: Any) -> Roles:
        """Roles as callers say them: a column that a frame names by a number or a tuple is named by its text."""
        named = {
            role: said if said is None else str(said) for role, said in roles.items() if role in _ONE_COLUMN
        }
        target, use = roles.get("target"), roles.get("use")
        if target is not None:
            target = tuple(target) if isinstance(target, (list, tuple)) else str(target)
        kinds = roles.get("kinds")
        if not isinstance(kinds, (Mapping, type(None))):
            raise OptionError(f"kinds={kinds!r}: no kinds of columns. Give {{column: kind}}.")
        if not isinstance(use, (str, Iterable, type(None))):
            raise OptionError(f"use={use!r}: no columns. Give a list of their names.")
        kinds = {str(column): kind for column, kind in (kinds or {}).items()}
        used = ((use,) if isinstance(use, str) else tuple(map(str, use))) if use else None
        return cls(**roles | named | {"target": target, "use": used, "kinds": kinds})

    def __post_init__(self) -> None:
        if self.target is not None and not isinstance(self.target, str):
            several = tuple(self.target)
            single = str(several[0]) if len(several) == 1 else several or None
            object.__setattr__(self, "target", single)
        if self.target_kind == "auto":
            object.__setattr__(self, "target_kind", None)

    def columns(self, role: str) -> tuple[str, ...]:
        """The columns with this role, none or one; of the target maybe several."""
        said = getattr(self, role)
        return tuple(map(str, said)) if isinstance(said, tuple) else (said,) if said is not None else ()

    def among(self, columns: Iterable[Any]) -> Roles:
        """The same roles with the target and `use` as the columns that a table has.

        A list that a command line said in one word was split at its commas, which a name may hold itself.
        """
        known = {str(column) for column in columns}
        target = self.target
        if isinstance(target, tuple):
            parts = tuple(map(str, target))
            target = (str(target),) if str(target) in known else _columns_of(parts, known)
        elif target is not None:
            target = _columns_of((target,), known)
        return replace(self, target=target, use=self.use and _columns_of(self.use, known))

    def of_modalities(self) -> Roles:
        """These roles without target, tasks and parts: of a table of which only the modalities are looked at."""
        silent: dict[str, Any] = dict.fromkeys(
            ("target", "target_kind", "task", "group", "split", "time", "describe", "disjoint_by")
        )
        return replace(self, **silent)

    def settled(self) -> Roles:
        """These roles, those that no column is to have left out."""
        nobody: dict[str, Any] = {
            name: None for name in (*SINGLE, "disjoint_by") if getattr(self, name) == NONE
        }
        return replace(self, **nobody)

    def over(self, other: Roles) -> Roles:
        """These roles, with `other` answering where these are silent about role and column."""
        taken = {column for name in SINGLE for column in self.columns(name)} - {NONE}
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
            disjoint_by=self.disjoint_by or other.disjoint_by,
        )


def _columns_of(pieces: tuple[str, ...], known: set[str]) -> tuple[str, ...]:
    """The columns that pieces of a comma-separated list name, put together again where a name has commas."""
    after: dict[
        int, tuple[str | None, int]
    ] = {}  # the column that starts at a piece, and the next one's piece
    last = len(pieces)
    for at in reversed(range(last)):
        for end in range(at + 1, min(last, at + _PIECES) + 1):
            text = ",".join(pieces[at:end])
            name = next((n for n in (text, text.strip()) if n in known), None)
            if (end == last or end in after) and (name is not None or not text.strip()):
                after[at] = (name, end)
                break
    names, at = [], 0
    while at in after:
        name, at = after[at]
        names += [] if name is None else [name]
    return tuple(names) or tuple(piece.strip() if piece not in known else piece for piece in pieces)


def check_roles(roles: Roles, columns: Iterable[Any], name: str) -> None:
    """OptionError unless the roles fit each other, and every column that they name is among `columns`."""
    known = {str(c): None for c in columns}
    asked: list[tuple[str, str]] = [
        (f"--{role}", column) for role in SINGLE for column in roles.columns(role)
    ]
    if roles.target_kind and not roles.target:
        raise OptionError(
            f"{name}: --target-kind {roles.target_kind}, and no target. Pass --target C, or leave it out."
        )
    for (first, column), (second, again) in combinations(asked, 2):
        if column == again:
            raise OptionError(f"{name}: {first} and {second} both name {column!r}. Give a column one role.")
    asked += [("--disjoint-by", roles.disjoint_by)] if roles.disjoint_by else []
    asked += [("--use", c) for c in roles.use or ()] + [("--kind", c) for c in roles.kinds]
    for option, column in asked:
        if column not in known:
            raise OptionError(f"{name}: {option} {column!r}: no such column. {_nearest(column, known)}")
    for column, kind in roles.kinds.items():
        if kind not in modalities:
            raise OptionError(f"--kind {column}={kind}: no such kind. {suggestion(kind, modalities)}")
    used = set(roles.use or ())
    for role in ("target", "split"):
        for column in roles.columns(role):
            if column in used:
                raise OptionError(
                    f"--use {column!r}: it is the {role}, which no model may see. Leave it out."
                )


def _nearest(column: str, known: Iterable[str]) -> str:
    """What else may have been meant; names that a command line has no way to say can stand in a file."""
    near = suggestion(column, known)
    odd = any(mark in name for name in known for mark in ',="')
    return f"{near} Quote a name with commas, or write the roles in a file: --schema FILE." if odd else near
