"""The command predict: labels with probabilities for a table's rows."""

from __future__ import annotations

import argparse

from metamodal.app.command import Command
from metamodal.app.flags import (
    TABLE,
    device_flags,
    encoder_flag,
    format_flags,
    root_flag,
    strict_flag,
    unreadable_flag,
)

__all__ = ["COMMAND"]


def flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("predictor", metavar="PREDICTOR", help="a folder that adapt wrote")
    command.add_argument("table", metavar="TABLE", help=TABLE)
    command.add_argument(
        "--out", metavar="FILE", default="-", help="a .csv, .jsonl or .parquet file (standard output)"
    )
    command.add_argument(
        "--model", metavar="DIR", help="the folder of its model, if PREDICTOR refers to one that has moved"
    )
    encoder_flag(command)
    root_flag(command)
    format_flags(command)
    unreadable_flag(command)
    strict_flag(command)
    device_flags(command)


def run(options: argparse.Namespace) -> None:
    """Labels with probabilities, or numbers, one row for each of the table's."""
    from metamodal.app.arguments import format_from, specs_from
    from metamodal.app.predicting import Predicting, names_in_json
    from metamodal.app.speech import print_json, speaker
    from metamodal.artifact import load_artifact
    from metamodal.data.tables.source import open_source
    from metamodal.data.tables.writing import check_target
    from metamodal.errors import ArtifactError
    from metamodal.predictor import Predictor

    check_target(options.out)
    item = load_artifact(options.predictor, specs_from(options), options.model)
    if not isinstance(item, Predictor):
        raise ArtifactError(
            f"{options.predictor}: a model, not a predictor. Adapt it to labelled rows first: metamodal adapt."
        )
    predictor = item.on(options.device, options.precision)
    work = Predicting(
        predictor, open_source(options.table, options.root, format_from(options)), options.unreadable
    )
    if options.json:
        print_json({"labels": names_in_json(predictor), "rows": work.document()})
    if options.out != "-" or not options.json:
        work.write(options.out)
    if work.lacking:
        speaker(options)(
            f"warning: {work.lacking} of {work.rows} rows have no answer, the first of them {work.first}"
        )


COMMAND = Command(
    70,
    "predict",
    "labels with probabilities, or numbers, for a table's rows",
    "metamodal predict predictor rows.csv --out labels.csv",
    flags,
    run,
)
