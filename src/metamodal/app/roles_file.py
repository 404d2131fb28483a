"""Files for `--schema`: the roles of a table's columns, and how the table is written, as YAML."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from metamodal.app.yaml_files import read_yaml
from metamodal.data.roles import ROLES, Roles
from metamodal.data.tables.text_files import TextFormat
from metamodal.errors import OptionError, suggestion
from metamodal.storage import write_text

__all__ = ["FORMAT", "read_format", "read_roles", "write_roles"]

FORMAT = ("sep", "decimal", "encoding", "na")
"""The keys of how a table is written; the others are roles."""


def read_roles(path: Path) -> Roles:
    """The roles in a file."""
    record = {name: value for name, value in _read(path).items() if name not in FORMAT}
    use, kinds = record.get("use"), record.get("kinds")
    if use is not None and not (isinstance(use, list) and all(isinstance(c, (str, int)) for c in use)):
        raise OptionError(f"{path}: use must be a list of column names.")
    if kinds is not None and not (
        isinstance(kinds, dict) and all(isinstance(k, str) for k in kinds.values())
    ):
        raise OptionError(f"{path}: kinds must be lines column: kind.")
    return Roles.parse(**record)


def read_format(path: Path) -> dict[str, Any]:
    """What a file holds of how the table is written, as the arguments of `TextFormat.said`."""
    record = _read(path)
    for name in FORMAT[:3]:
        if not isinstance(record.get(name), (str, type(None))):
            raise OptionError(f"{path}: {name} must be a string.")
    na = record.get("na")
    if na is not None and not (
        isinstance(na, str) or (isinstance(na, list) and all(isinstance(w, str) for w in na))
    ):
        raise OptionError(f"{path}: na must be a string or a list of strings; put quotes around a number.")
    return {name: record.get(name) for name in FORMAT}


def write_roles(roles: Roles, path: Path, text: TextFormat) -> None:
    """Roles, and how the table is written, as a file for `--schema`."""
    written = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(text).items() if v}
    write_text(path, yaml.safe_dump(roles.record() | written, sort_keys=False, allow_unicode=True))


def _read(path: Path) -> dict[str, Any]:
    record = read_yaml(path)
    known = (*(role.name for role in ROLES), *FORMAT)
    for name in record:
        if name not in known:
            raise OptionError(f"{path}: {name}: no such role. {suggestion(name, known)}")
    return record
