"""Flags that several commands have: of tables, their roles and their cells. Starts without torch."""

from __future__ import annotations

import argparse
import csv
from typing import Any

from metamodal.data.roles import ROLES, Role
from metamodal.device_names import DEVICES, PRECISIONS

__all__ = [
    "MODEL",
    "TABLE",
    "device_flags",
    "encoder_flag",
    "format_flags",
    "names",
    "role_flags",
    "root_flag",
    "seconds",
    "strict_flag",
    "unreadable_flag",
]

TABLE = (
    "a Parquet, Arrow, CSV, TSV, JSON, JSONL, Excel, OpenDocument or WebDataset file; a folder of them, of files sorted by class, or that "
    "the datasets library saved; - for standard input; or the word glyphs (embedded data)"
)
MODEL = "a folder that train wrote, or the word none: generic features, no training"


def role_flags(command: argparse.ArgumentParser, *, model: bool = True) -> None:
    """Flags of every command that reads a table under roles; with `model` those of reading its cells, too."""
    roles = command.add_argument_group(
        "roles of the table's columns", "- in place of a column: no column has the role"
    )
    for role in ROLES:
        roles.add_argument(role.flag, dest=role.name, help=role.help, **_form(role))
    roles.add_argument(
        "--split-by",
        choices=("auto", "task", "class", "group", "row", "time"),
        default="auto",
        help="what is kept whole where rows are shared out (%(default)s)",
    )
    roles.add_argument("--schema", metavar="FILE", help="all of these, and how the table is written, as YAML")
    root_flag(roles)
    format_flags(command)
    if model:
        encoder_flag(roles)
        unreadable_flag(roles)


def _form(role: Role) -> dict[str, Any]:
    """How a role's flag takes its value, by what the role holds."""
    forms: dict[str, dict[str, Any]] = {
        "column": {"metavar": "C"},
        "columns": {"metavar": "C,C,…", "type": names},
        "choice": {"choices": role.choices, "default": role.choices[0] if role.choices else None},
        "kinds": {"metavar": "C=KIND", "action": "append", "default": []},
        "file": {"metavar": "FILE"},
    }
    return forms[role.holds]


def root_flag(options: argparse._ActionsContainer) -> None:
    options.add_argument(
        "--root", metavar="DIR", help="the folder that paths in the table start from (the table's own)"
    )


def format_flags(command: argparse.ArgumentParser) -> None:
    options = command.add_argument_group("how the table is written")
    options.add_argument(
        "--sep", metavar="MARK", help="between the cells of CSV, or tab (inferred from the file)"
    )
    options.add_argument(
        "--decimal",
        metavar="MARK",
        choices=(".", ","),
        help="the decimal mark of numbers, . or , (inferred from the column)",
    )
    options.add_argument(
        "--encoding", metavar="NAME", help="of a text file, such as cp1252 (UTF-8 or UTF-16)"
    )
    options.add_argument(
        "--na", metavar="WORD,WORD,…", type=names, help="words that stand for an empty cell, such as NA"
    )


def unreadable_flag(options: argparse._ActionsContainer) -> None:
    options.add_argument(
        "--unreadable",
        choices=("error", "absent"),
        default="error",
        help="whether a cell that cannot be read is an error or counts as absent (%(default)s)",
    )


def device_flags(command: argparse.ArgumentParser) -> None:
    """Where and in which precision a model computes."""
    command.add_argument(
        "--device",
        choices=DEVICES,
        default="auto",
        help="where to compute (%(default)s: an NVIDIA GPU where there is one, else the CPU)",
    )
    command.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="of encoders, fusion and decoders (%(default)s)",
    )


def strict_flag(options: argparse._ActionsContainer) -> None:
    options.add_argument(
        "--strict",
        action="store_true",
        help="what makes answers doubtful, such as a column that the model knows and the table lacks, is an error",
    )


def encoder_flag(options: argparse._ActionsContainer) -> None:
    options.add_argument(
        "--encoder",
        metavar="C=SPEC",
        action="append",
        default=[],
        help="a pretrained encoder: minilm, a folder, or package.module:name; of a trained model only those that are code",
    )


def names(text: str) -> list[str]:
    """A list of names as a line of CSV: quotes hold a comma; which spaces belong to names, the table decides."""
    found = next(csv.reader([text.replace(', "', ',"')]), []) if text.strip() else []
    return [name for name in found if name.strip()]


def seconds(text: str) -> float:
    """A number of seconds above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return number
