"""The command adapt: labelled rows, or descriptions of classes, to a predictor."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from metamodal.app.command import Command
from metamodal.app.flags import MODEL, device_flags, role_flags, strict_flag

if TYPE_CHECKING:
    from metamodal.predictor import Predictor

__all__ = ["COMMAND"]


def flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("table", metavar="SUPPORT", nargs="?", help="a table of labelled rows")
    command.add_argument(
        "--classes", metavar="FILE", help="a table of labels and descriptions; such a class needs no row"
    )
    command.add_argument("--out", metavar="PREDICTOR", required=True, help="folder for the predictor")
    command.add_argument(
        "--prior",
        choices=("auto", "balanced", "support"),
        default="auto",
        help="how frequent classes are (%(default)s: as in the support where it is a sample of unequal counts)",
    )
    command.add_argument(
        "--embed",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="hold the model in PREDICTOR, or refer to MODEL, which must then stay as it is (%(default)s)",
    )
    role_flags(command)
    strict_flag(command)
    device_flags(command)


def run(options: argparse.Namespace) -> None:
    """Labelled rows, or descriptions of classes, to a predictor."""
    from metamodal.adaptation import adapt as adapted
    from metamodal.app.arguments import classes_from, encoders_from, table_from
    from metamodal.app.artifacts import loaded_model
    from metamodal.app.predicting import names_in_json
    from metamodal.app.speech import print_json, speaker, warn_of_columns
    from metamodal.data.dataset import Dataset
    from metamodal.errors import OptionError
    from metamodal.manifest import check_artifact_folder
    from metamodal.model import untrained

    if options.table is None and options.classes is None:
        raise OptionError(
            "adapt: there is nothing to learn from. Give a table of labelled rows, or --classes FILE."
        )
    if options.model == "none" and not options.embed:
        raise OptionError("--no-embed: the model none has no folder to refer to. Leave it out.")
    check_artifact_folder(options.out)
    table: Dataset | None = None
    if options.model == "none":
        if options.classes or options.table is None:
            raise OptionError(
                "--classes: descriptions are of use to a trained model. Train one with --describe C."
            )
        table = table_from(options)
        warn_of_columns(table, speaker(options))
        model = untrained(
            table, _default_learner(), options.unreadable, encoders=encoders_from(options, table)
        ).on(options.device, options.precision)
    else:
        model = loaded_model(options).on(options.device, options.precision)
        table = table_from(options, model.roles) if options.table else None
        if table is not None:
            warn_of_columns(table, speaker(options))
    descriptions = classes_from(options, model.roles) if options.classes else {}
    predictor = adapted(
        model, table, unreadable=options.unreadable, describe=descriptions, prior=options.prior
    )
    rows = 0 if table is None else len(table)
    folder = predictor.save(options.out, model=None if options.embed else options.model)
    speaker(options)(
        f"predictor {folder}: {_counted(len(predictor.labels), _word(predictor))} from {_counted(rows, 'row')} of "
        f"{', '.join(model.modalities)}"
    )
    if options.json:
        print_json({"predictor": str(folder), "labels": names_in_json(predictor), "rows": rows})


def _word(predictor: Predictor) -> str:
    return "number" if predictor.kind == "regression" else "label"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _default_learner() -> Any:
    from metamodal.experiment import Experiment

    return Experiment().untrained_learner


COMMAND = Command(
    60,
    "adapt",
    "a handful of labelled rows to a predictor",
    "metamodal adapt none support.csv --target label --out predictor",
    flags,
    run,
)
