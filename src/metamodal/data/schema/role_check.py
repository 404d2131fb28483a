"""Whether roles fit each other and the columns of a table."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Any

from metamodal.data.modalities import modalities
from metamodal.data.schema.roles import ROLES, Roles
from metamodal.errors import OptionError, suggestion

__all__ = ["check_roles"]


def check_roles(roles: Roles, columns: Iterable[Any], name: str) -> None:
    """OptionError unless the roles fit each other, and every column that they name is among `columns`."""
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
