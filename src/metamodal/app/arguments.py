"""What a command line says, as the library's values: roles of columns, and experiments."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from metamodal.data.cells import is_absent
from metamodal.data.dataset import Dataset, open_table
from metamodal.data.encoders import Encoders, open_encoders
from metamodal.data.identity import name_of
from metamodal.data.roles import SINGLE, Roles
from metamodal.data.source import open_source
from metamodal.data.splits import Plan
from metamodal.data.text_files import TextFormat
from metamodal.errors import DataError, OptionError, suggestion
from metamodal.experiment import Experiment
from metamodal.options import override, parse
from metamodal.storage import write_text

__all__ = [
    "said_classes",
    "said_encoders",
    "said_experiment",
    "said_format",
    "said_roles",
    "said_specs",
    "said_table",
    "write_roles",
]


_FORMAT = ("sep", "decimal", "encoding", "na")


def said_roles(options: argparse.Namespace) -> Roles:
    """The roles said on the command line, over those of `--schema`."""
    given = Roles(
        tuple(options.target) if options.target else None,
        options.task,
        options.group,
        options.split,
        options.describe,
        tuple(options.use) if options.use else None,
        assigned(options.kind, "--kind", "COLUMN=KIND", last=True),
        options.triples,
        options.time,
        None if options.schema and not options.target else options.target_kind,
        options.disjoint_by,
    )
    return given.over(_read_roles(Path(options.schema))) if options.schema else given


def _read_roles(path: Path) -> Roles:
    record = _schema(path)
    for name in _FORMAT:
        record.pop(name, None)
    use = record.pop("use", None)
    if use is not None and not (isinstance(use, list) and all(isinstance(c, (str, int)) for c in use)):
        raise OptionError(f"{path}: use must be a list of column names.")
    kinds = record.get("kinds")
    if kinds is not None and not (
        isinstance(kinds, dict) and all(isinstance(k, str) for k in kinds.values())
    ):
        raise OptionError(f"{path}: kinds must be lines column: kind.")
    return Roles.said(**record, use=use)


def said_format(options: argparse.Namespace) -> TextFormat:
    """How the table is written: what the command line says, over `--schema`."""
    path = getattr(options, "schema", None)
    record = _schema(Path(path)) if isinstance(path, str) else {}
    known = {name: getattr(options, name) or record.get(name) for name in _FORMAT}
    for name in _FORMAT[:3]:
        if not isinstance(known[name], (str, type(None))):
            raise OptionError(f"{path}: {name} must be a string.")
    na = known["na"]
    if na is not None and not (
        isinstance(na, (str, tuple)) or (isinstance(na, list) and all(isinstance(w, str) for w in na))
    ):
        raise OptionError(f"{path}: na must be a string or a list of strings; put quotes around a number.")
    return TextFormat.said(**known)


def _schema(path: Path) -> dict[str, Any]:
    record = _yaml(path)
    known = (*SINGLE, "target_kind", "disjoint_by", "use", "kinds", "triples", *_FORMAT)
    for name in record:
        if name not in known:
            raise OptionError(f"{path}: {name}: no such role. {suggestion(name, known)}")
    return record


def write_roles(roles: Roles, path: Path, text: TextFormat) -> None:
    """Roles, and how the table is written, as YAML for `--schema`."""
    said = asdict(roles) | asdict(text)
    record = {k: list(v) if isinstance(v, tuple) else v for k, v in said.items() if v}
    write_text(path, yaml.safe_dump(record, sort_keys=False, allow_unicode=True))


class _OnceLoader(yaml.SafeLoader):
    """YAML's plain values; a key that stands twice is an error, not the last of its values."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            name = (key.tag, str(key.value))
            if name in seen and name[1] != "<<":
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"line {line} has the key {name[1]!r} again")
            seen.add(name)
        return super().construct_mapping(node, deep)


def _yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such file. Give a YAML file.")
    try:
        record = yaml.load(path.read_text("utf-8-sig"), _OnceLoader)
    except UnicodeDecodeError as error:
        raise OptionError(f"{path}: byte {error.start} is not UTF-8. Save the file as UTF-8.") from None
    except yaml.YAMLError as error:
        raise OptionError(f"{path}: no YAML ({str(error).splitlines()[0]}). Fix the file.") from None
    if not isinstance(record, dict):
        raise OptionError(f"{path}: holds no options. Write name: value lines.")
    return record


def said_experiment(options: argparse.Namespace) -> Experiment:
    """The option tree of a table or YAML file, under what the command line says."""
    path = Path(options.table)
    if path.suffix.lower() in (".yaml", ".yml"):
        record = _yaml(path)
        for branch in ("data", "model", "train"):
            if not isinstance(record.setdefault(branch, {}), dict):
                raise OptionError(f"{path}: {branch} holds no options. Write name: value lines under it.")
        table = record["data"].get("table")
        if isinstance(table, str) and table != "glyphs" and not Path(table).is_absolute():
            record["data"]["table"] = str(path.parent / table)
    else:
        record = {"data": {"table": options.table}, "train": {}}
    said = asdict(said_roles(options)) | asdict(said_format(options))
    roles = {k: list(v) if isinstance(v, tuple) else v for k, v in said.items() if v}
    record["data"] |= roles
    if options.split_by != "auto":
        record["data"]["split_by"] = options.split_by
    if options.root:
        record["data"]["root"] = options.root
    if specs := said_specs(options):
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


def said_table(options: argparse.Namespace, known: Roles | None = None) -> Dataset:
    """The table of a command under the roles it says."""
    plan = Plan(options.split_by)
    text = said_format(options)
    return open_table(options.table, said_roles(options), known, root=options.root, plan=plan, text=text)


def said_classes(options: argparse.Namespace, known: Roles) -> dict[str, Any]:
    """Descriptions by label from the table of `--classes`, whose columns are named as in training.

    Raises:
        DataError: a column is missing, or a label stands twice with different descriptions.
    """
    frame, _ = open_source(options.classes, None, said_format(options)).whole()
    said = said_roles(options).among(frame.columns)
    label = next(iter(said.columns("target") or known.columns("target")), None)
    told = options.describe or known.describe
    for column, role in ((label, "target"), (told, "describe")):
        if column not in frame.columns:
            raise DataError(
                f"{options.classes}: no column {column!r}. Name the {role} column with --{role} C."
            )
    found: dict[str, Any] = {}
    for row, (name, cell) in enumerate(zip(frame[label], frame[told]), start=1):
        if (
            not is_absent(name)
            and not is_absent(cell)
            and repr(found.setdefault(name_of(name), cell)) != repr(cell)
        ):
            raise DataError(
                f"{options.classes} row {row}, column {told}: {name!r} is described twice. Keep one of them."
            )
    return found


def said_encoders(options: argparse.Namespace, table: Dataset) -> Encoders:
    """The pretrained encoders said on the command line."""
    return open_encoders(said_specs(options), [], table.schema)


def said_specs(options: argparse.Namespace) -> dict[str, str]:
    """Pretrained encoders by modality, as they were named."""
    return assigned(options.encoder, "--encoder", "MODALITY=SPEC")
