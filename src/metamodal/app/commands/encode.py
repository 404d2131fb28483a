"""The command encode: a table as a folder of feature shards."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from metamodal.app.command import Command
from metamodal.app.flags import TABLE, role_flags

__all__ = ["COMMAND"]


def flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("table", metavar="TABLE", help=TABLE)
    command.add_argument("--out", metavar="DIR", required=True, help="folder for the shards")
    command.add_argument("--rows", type=int, default=4096, help="rows of a shard (%(default)s)")
    role_flags(command)


def run(options: argparse.Namespace) -> None:
    """Feature shards of a table of any size."""
    from metamodal.app.arguments import format_from, roles_from, specs_from
    from metamodal.app.speech import print_json, speaker
    from metamodal.data.features.shard_options import ShardOptions
    from metamodal.data.features.shards import encode_table
    from metamodal.data.tables.source import open_source

    began = time.perf_counter()
    say = speaker(options)
    source = open_source(options.table, options.root, format_from(options))
    settings = ShardOptions(specs_from(options), {}, options.unreadable, options.rows, options.seed)
    done = encode_table(source, roles_from(options), Path(options.out), settings, _counter(options))
    seconds = time.perf_counter() - began
    for warning in done.schema.warnings:
        say(f"warning: {warning}")
    for name, width in done.widths.items():
        say(f"{name}: {width} features")
    say(
        f"{done.rows} rows in {done.shards} shards under {done.folder}: {done.computed} vectors computed, "
        f"{done.found} found from before · {seconds:.1f} s"
    )
    if options.json:
        print_json(
            {
                "out": str(done.folder),
                "rows": done.rows,
                "shards": done.shards,
                "widths": done.widths,
                "computed": done.computed,
                "found": done.found,
                "seconds": round(seconds, 3),
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )


def _counter(options: argparse.Namespace) -> Callable[[int], None]:
    """Rows done, on a terminal."""
    if options.quiet or not sys.stderr.isatty():
        return lambda rows: None
    from tqdm import tqdm

    bar = tqdm(unit=" rows", file=sys.stderr, dynamic_ncols=True)

    def show(rows: int) -> None:
        bar.update(rows - bar.n)

    return show


COMMAND = Command(
    30,
    "encode",
    "features of every modality, computed once, as a folder of shards that is a table again",
    "metamodal encode glyphs --out encoded",
    flags,
    run,
)
