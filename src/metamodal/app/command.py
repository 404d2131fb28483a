"""What a command is: its name and purpose, its flags, and the function that runs it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

__all__ = ["Command", "commands"]


@dataclass(frozen=True)
class Command:
    """A command of the command line; `run` returns its exit code, or `None` for 0.

    `order` is its place in `--help`: the step of the user's work.
    """

    order: int
    name: str
    purpose: str
    example: str
    flags: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]


def commands() -> dict[str, Command]:
    """The commands by name: one in each file of `metamodal.app.commands`."""
    return {command.name: command for command in sorted(_found(), key=lambda command: command.order)}


def _found() -> Iterator[Command]:
    package = import_module("metamodal.app.commands")
    for module in iter_modules(package.__path__, f"{package.__name__}."):
        yield import_module(module.name).COMMAND
