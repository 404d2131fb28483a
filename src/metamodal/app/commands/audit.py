"""The command audit: every cell opened, and what is wrong."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

from metamodal.app.command import Command
from metamodal.app.flags import TABLE, role_flags

__all__ = ["COMMAND"]


def flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("table", metavar="TABLE", help=TABLE)
    command.add_argument("--html", metavar="FILE", help="write a page with pictures of what is wrong")
    role_flags(command, model=False)


def run(options: argparse.Namespace) -> int:
    """Every cell opened; what is wrong and what to beware of."""
    from metamodal.app.arguments import format_from, roles_from
    from metamodal.app.speech import print_json, speaker
    from metamodal.data.audit import audited
    from metamodal.data.tables.source import open_source
    from metamodal.data.tasks.splits import Plan
    from metamodal.errors import DataError
    from metamodal.evaluation.audit_page import write_audit
    from metamodal.evaluation.audit_text import audit_text
    from metamodal.storage import check_file

    if options.html:
        check_file(options.html)
    source = open_source(options.table, options.root, format_from(options))
    with closing(_Bar(options)) as bar:
        found = audited(source, roles_from(options), Plan(options.split_by), options.seed, bar.show)
    say = speaker(options)
    say(audit_text(found))
    if options.html:
        say(f"page {write_audit(Path(options.html), found)}")
    if options.json:
        print_json(found.to_dict())
    return 0 if found.ok else DataError.exit_code


class _Bar:
    """Cells being opened, as a bar on a terminal and nothing elsewhere."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.bar = None
        if sys.stderr.isatty() and not options.quiet:
            from tqdm import tqdm

            self.bar = tqdm(
                desc="opening cells", unit=" cells", file=sys.stderr, dynamic_ncols=True, leave=False
            )

    def show(self, done: int, total: int) -> None:
        if self.bar is not None:
            self.bar.total = total
            self.bar.update(done - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


COMMAND = Command(
    20,
    "audit",
    "open every cell; report bad ones, duplicates, leaks and doubtful labels (exit code 3 if a cell is bad)",
    "metamodal audit glyphs --html audit.html",
    flags,
    run,
)
