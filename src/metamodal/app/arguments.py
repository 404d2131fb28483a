"""The values of a command line as the library takes them: roles, formats, tables, encoders and experiments."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metamodal.app.roles_file import FORMAT, read_format, read_roles
from metamodal.app.yaml_files import read_yaml
from metamodal.data.dataset import Dataset, open_table
from metamodal.data.features.encoders import Encoders, open_encoders
from metamodal.data.identity import name_of
from metamodal.data.roles import ROLES, Roles
from metamodal.data.tables.cells import is_absent
from metamodal.data.tables.source import open_source
from metamodal.data.tables.text_files import TextFormat
from metamodal.data.tasks.splits import Plan
from metamodal.errors import DataError, OptionError
from metamodal.experiment import Experiment
from metamodal.options import override, parse

__all__ = [
    "classes_from",
    "encoders_from",
    "experiment_from",
    "format_from",
    "roles_from",
    "specs_from",
    "table_from",
]


def roles_from(options: argparse.Namespace) -> Roles:
    """The roles given on the command line, over those of `--schema`."""
    given = {role.name: getattr(options, role.name) for role in ROLES}
    given["kinds"] = assigned(options.kinds, "--kind", "COLUMN=KIND", last=True)
    if options.schema and not options.target:
        given["target_kind"] = None
    roles = Roles.parse(**given)
    return roles.over(read_roles(Path(options.schema))) if options.schema else roles


def format_from(options: argparse.Namespace) -> TextFormat:
    """How the table is written: what the command line gives, over `--schema`."""
    path = getattr(options, "schema", None)
    record = read_format(Path(path)) if isinstance(path, str) else {}
    return TextFormat.said(**{name: getattr(options, name) or record.get(name) for name in FORMAT})


def experiment_from(options: argparse.Namespace) -> Experiment:
    """The option tree of a table or YAML file, under what the command line says."""
    path = Path(options.table)
    if path.suffix.lower() in (".yaml", ".yml"):
        record = read_yaml(path)
        for branch in ("data", "model", "train"):
            if not isinstance(record.setdefault(branch, {}), dict):
                raise OptionError(f"{path}: {branch} holds no options. Write name: value lines under it.")
        table = record["data"].get("table")
        if isinstance(table, str) and table != "glyphs" and not Path(table).is_absolute():
            record["data"]["table"] = str(path.parent / table)
    else:
        record = {"data": {"table": options.table}, "train": {}}
    written = {
        k: list(v) if isinstance(v, tuple) else v for k, v in asdict(format_from(options)).items() if v
    }
    record["data"] |= roles_from(options).record() | written
    if options.split_by != "auto":
        record["data"]["split_by"] = options.split_by
    if options.root:
        record["data"]["root"] = options.root
    if specs := specs_from(options):
        model = record.setdefault("model", {})
        model["encoders"] = {**(model.get("encoders") or {}), **specs}
    if options.unreadable != "error":
        record["data"]["unreadable"] = options.unreadable
    if options.budget:
        record["train"]["budget"] = options.budget
    if options.seed:
        record["seed"] = options.seed
    return parse(Experiment, override(record, options.overrides))


def assigned(assignments: list[str], option: str, form: str, *, last: bool = False) -> dict[str, str]:
    """`NAME=VALUE` assignments of a repeated option as a record, split at the first `=` or the last one."""
    record: dict[str, str] = {}
    for assignment in assignments:
        name, separator, value = assignment.rpartition("=") if last else assignment.partition("=")
        if not separator or not value:
            raise OptionError(f"{option} {assignment}: no assignment. Write {option} {form}.")
        if record.setdefault(name, value) != value:
            raise OptionError(
                f"{option} {name}: given twice, {record[name]!r} and {value!r}. Keep one of them."
            )
    return record


def table_from(options: argparse.Namespace, known: Roles | None = None) -> Dataset:
    """The table of a command under the roles it says."""
    plan = Plan(options.split_by)
    text = format_from(options)
    return open_table(
        options.table,
        roles_from(options),
        known,
        root=options.root,
        plan=plan,
        text=text,
        unreadable=getattr(options, "unreadable", "error"),
    )


def classes_from(options: argparse.Namespace, known: Roles) -> dict[str, Any]:
    """Descriptions by label from the table of `--classes`, whose columns are named as in training.

    Raises:
        DataError: a column is missing, or a label stands twice with different descriptions.
    """
    frame, _ = open_source(options.classes, None, format_from(options)).whole()
    said = roles_from(options).among(frame.columns)
    label = next(iter(said.columns("target") or known.columns("target")), None)
    described_by = options.describe or known.describe
    for column, role in ((label, "target"), (described_by, "describe")):
        if column not in frame.columns:
            raise DataError(
                f"{options.classes}: no column {column!r}. Name the {role} column with --{role} C."
            )
    found: dict[str, Any] = {}
    for row, (name, cell) in enumerate(zip(frame[label], frame[described_by]), start=1):
        if (
            not is_absent(name)
            and not is_absent(cell)
            and repr(found.setdefault(name_of(name), cell)) != repr(cell)
        ):
            raise DataError(
                f"{options.classes} row {row}, column {described_by}: {name!r} is described twice. Keep one of them."
            )
    return found


def encoders_from(options: argparse.Namespace, table: Dataset) -> Encoders:
    """The pretrained encoders said on the command line."""
    return open_encoders(specs_from(options), [], table.schema)


def specs_from(options: argparse.Namespace) -> dict[str, str]:
    """Pretrained encoders by modality, as they were named."""
    return assigned(options.encoder, "--encoder", "MODALITY=SPEC")
