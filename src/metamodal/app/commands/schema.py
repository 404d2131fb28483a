"""The command schema: roles and kinds of a table, or the options of train as a JSON schema."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from metamodal.app.command import Command
from metamodal.app.flags import TABLE, role_flags

__all__ = ["COMMAND"]


def flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("table", metavar="TABLE", nargs="?", help=TABLE)
    command.add_argument("--out", metavar="FILE", help="write the roles as YAML, for --schema")
    command.add_argument(
        "--options",
        action="store_true",
        help="print the JSON schema of all options of train, without a table",
    )
    role_flags(command)


def run(options: argparse.Namespace) -> None:
    """Roles and kinds as inferred, or the JSON schema of the option tree."""
    from metamodal.app.arguments import format_from, table_from
    from metamodal.app.roles_file import write_roles
    from metamodal.app.speech import one_task_hint, print_json, speaker
    from metamodal.errors import OptionError, one_line
    from metamodal.evaluation.full import is_one_task
    from metamodal.experiment import Experiment
    from metamodal.option_schema import option_schema
    from metamodal.storage import check_file, write_text

    if options.out:
        check_file(options.out)
    if options.options:
        if options.table:
            raise OptionError(
                "schema --options: the options are the same for every table. Leave the table out."
            )
        if options.out:
            write_text(
                options.out, json.dumps(option_schema(Experiment), indent=2, ensure_ascii=False) + "\n"
            )
        else:
            print_json(option_schema(Experiment))
        return
    if options.table is None:
        raise OptionError("schema: no table. Name one, or pass --options for the options of train.")
    table = table_from(options)
    found = table.schema
    if options.out:
        write_roles(found.to_roles(), Path(options.out), format_from(options))
    if options.json:
        kind = found.target_kind if found.targets else None
        print_json({"columns": [asdict(c) for c in found.columns], "target_kind": kind})
        return
    say = speaker(options)
    width = max(len(one_line(c.name)) for c in found.columns)
    for c in found.columns:
        say(f"{one_line(c.name):{width}}  {c.role:8}  {c.kind or '-':9}  {c.evidence}")
    for warning in found.warnings:
        say(f"warning: {warning}")
    if is_one_task(table):
        say(f"note: {one_task_hint(options.table, table)}")
    if found.target is None:
        say(
            "note: no target column is named: train would learn from rows without labels. Name one: --target C"
        )


COMMAND = Command(
    10,
    "schema",
    "roles and kinds of a table's columns, with the evidence for each; or the options of train as a JSON schema",
    "metamodal schema glyphs",
    flags,
    run,
)
