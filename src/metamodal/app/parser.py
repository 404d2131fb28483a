"""What may be written on the command line: every command with its flags, parsed without torch."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from metamodal.app.command import Command, commands
from metamodal.errors import OptionError

__all__ = ["parsed", "parser"]


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The options said; `key=value` assignments may stand anywhere among them."""
    top = parser()
    options, rest = top.parse_known_args(arguments)
    assignments = [text for text in rest if "=" in text and not text.startswith("-")]
    unknown = [text for text in rest if text not in assignments]
    if unknown or (assignments and not hasattr(options, "overrides")):
        raise OptionError(
            f"{' '.join(unknown or assignments)}: not understood. See metamodal {options.command} --help."
        )
    if assignments:
        options.overrides = [*options.overrides, *assignments]
    _check_outputs(options)
    return options


def _check_outputs(options: argparse.Namespace) -> None:
    """OptionError where what is read would be overwritten."""
    for flag in ("out", "report", "html"):
        output = getattr(options, flag, None)
        for name in ("table", "against", "classes", "triples"):
            source = getattr(options, name, None)
            if isinstance(output, str) and isinstance(source, str) and _are_one_file(output, source):
                raise OptionError(f"--{flag} {output}: is the {name} that is read. Name another file.")


def _are_one_file(one: str, other: str) -> bool:
    with suppress(OSError, ValueError):
        return os.path.samefile(one, other)
    return False


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are one line with the remedy."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message}. See {self.prog} --help.")


def parser() -> argparse.ArgumentParser:
    """Every command and option."""
    top = _Parser(
        prog="metamodal",
        description="Multimodal meta-learning: learn from many tasks how to learn the next one.",
        epilog="Start here: metamodal demo",
        allow_abbrev=False,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version")
    names = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in commands().values():
        command.flags(_added(names, command))
    return top


def _added(names: argparse._SubParsersAction[_Parser], command: Command) -> argparse.ArgumentParser:
    added = names.add_parser(
        command.name,
        help=command.purpose,
        description=command.purpose[0].upper() + command.purpose[1:] + ".",
        epilog=f"example: {command.example}",
        allow_abbrev=False,
    )
    added.add_argument("--json", action="store_true", help="one JSON document on standard output")
    added.add_argument("--quiet", action="store_true", help="print nothing but errors")
    added.add_argument("--seed", type=int, default=0, help="seed of everything random (%(default)s)")
    added.add_argument("--debug", action="store_true", help="show where an error came from")
    return added


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *ignored: object) -> NoReturn:
        from importlib.metadata import version

        print(f"metamodal {version('metamodal')}")
        parser.exit()
