"""The commands that look at a table before anything is learned of it."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from metamodal.app.arguments import said_format, said_roles, said_specs, said_table, write_roles
from metamodal.app.speech import one_task_hint, print_json, speaker
from metamodal.data.shards import ShardOptions, encode_table
from metamodal.data.source import open_source
from metamodal.errors import OptionError, one_line
from metamodal.evaluation.full import is_one_task
from metamodal.experiment import Experiment
from metamodal.option_schema import option_schema
from metamodal.storage import check_file, write_text

__all__ = ["encode", "schema"]

Options = argparse.Namespace


def schema(options: Options) -> None:
    """Roles and kinds as inferred, or the JSON schema of the option tree."""
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
    table = said_table(options)
    found = table.schema
    if options.out:
        write_roles(found.to_roles(), Path(options.out), said_format(options))
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


def encode(options: Options) -> None:
    """Feature shards of a table of any size."""
    began = time.perf_counter()
    say = speaker(options)
    source = open_source(options.table, options.root, said_format(options))
    settings = ShardOptions(said_specs(options), {}, options.unreadable, options.rows, options.seed)
    done = encode_table(source, said_roles(options), Path(options.out), settings, _counter(options))
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


def _counter(options: Options) -> Callable[[int], None]:
    """Rows done, on a terminal."""
    if options.quiet or not sys.stderr.isatty():
        return lambda rows: None
    from tqdm import tqdm

    bar = tqdm(unit=" rows", file=sys.stderr, dynamic_ncols=True)

    def show(rows: int) -> None:
        bar.update(rows - bar.n)

    return show
