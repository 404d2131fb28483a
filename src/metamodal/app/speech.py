"""How commands speak: to people on stderr, to programs on stdout."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from metamodal.data.dataset import Dataset
from metamodal.data.tables.writing import standard_output
from metamodal.errors import one_line
from metamodal.storage import explained

__all__ = ["one_task_hint", "print_json", "results_bar", "speaker", "warn_of_columns"]


def speaker(options: argparse.Namespace) -> Callable[[str], None]:
    """Prints for people: to stderr, unless quiet."""

    def say(text: str) -> None:
        if not options.quiet:
            print(text, file=sys.stderr, flush=True)

    return say


def one_task_hint(name: str, table: Dataset) -> str:
    """What to do with a table that is one task."""
    said = shlex.join([name, "--target", ",".join(table.schema.targets)])
    return (
        f"this table is one task (no task column): metamodal adapt none {said} --out PREDICTOR learns from all of its "
        f"rows, and metamodal evaluate none {said} --full measures that. Training learns how to learn other tasks like "
        "it, and its scores are of few rows"
    )


@contextmanager
def results_bar(options: argparse.Namespace, what: str) -> Iterator[Callable[[int], None]]:
    """Shows how many results there are, as a bar on a terminal and nothing elsewhere."""
    if options.quiet or not sys.stderr.isatty():
        yield lambda results: None
        return
    from tqdm import tqdm

    with tqdm(desc=what, unit=" results", file=sys.stderr, dynamic_ncols=True, leave=False) as bar:

        def show(results: int) -> None:
            bar.update(results - bar.n)

        yield show


def print_json(document: Any) -> None:
    """One document on stdout."""
    text = json.dumps(document, ensure_ascii=False, default=float)
    with explained("standard output"):
        print(text, file=standard_output(), flush=True)


def warn_of_columns(table: Dataset, say: Callable[[str], None]) -> None:
    """Prints what to beware of in the table's columns, less those that `--use` leaves out."""
    for column in table.schema.columns:
        if column.warning and column.name not in table.schema.unused:
            say(one_line(f"warning: column {column.name!r}: {column.warning}"))
