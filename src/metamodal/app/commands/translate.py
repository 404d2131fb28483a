"""The command translate: one modality from others."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from metamodal.app.command import Command
from metamodal.app.flags import TABLE, device_flags, encoder_flag, format_flags, names

if TYPE_CHECKING:
    from metamodal.data.dataset import Dataset
    from metamodal.data.tables.text_files import TextFormat
    from metamodal.model import MetaModel

__all__ = ["COMMAND"]


def flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", help="a folder that train wrote")
    command.add_argument("table", metavar="TABLE", help=TABLE)
    command.add_argument(
        "--from",
        dest="source",
        metavar="M,M,…",
        type=names,
        required=True,
        help="the modalities to translate from; a row needs one of them",
    )
    command.add_argument("--to", dest="target", metavar="M", required=True, help="the modality wanted")
    command.add_argument(
        "--against", metavar="TABLE", help="choose among this table's cells (the other rows of TABLE)"
    )
    command.add_argument(
        "--top", type=int, metavar="K", help="candidates to name of each row (5); asks for candidates"
    )
    command.add_argument(
        "--out", metavar="FILE", default="-", help="a .csv, .jsonl or .parquet file (standard output)"
    )
    encoder_flag(command)
    format_flags(command)
    device_flags(command)


def run(options: argparse.Namespace) -> None:
    """A modality's cells from others, one row for each of the table's."""
    from metamodal.app.arguments import format_from
    from metamodal.app.artifacts import loaded_model
    from metamodal.app.speech import print_json, speaker
    from metamodal.app.translating import translated_document, translated_frame
    from metamodal.data.tables.writing import check_target, write_frame
    from metamodal.errors import OptionError
    from metamodal.translation import HOW_TO_TRAIN

    if options.model == "none":
        raise OptionError(
            f"translate: the model none has no shared space. Train one: metamodal train TABLE --out DIR {HOW_TO_TRAIN}."
        )
    check_target(options.out)
    model = loaded_model(options).on(options.device, options.precision)
    say = speaker(options)
    text = format_from(options)
    table = _unlabelled(options.table, model, text)
    among = _unlabelled(options.against, model, text) if options.against else None
    found = model.translate(table, options.source, options.target, against=among, top=options.top)
    if "decoded" in found.how and not _trained_to_translate(model):
        say("warning: nothing trained this model to translate; train with train.losses.translate=1")
    if options.json:
        route = {"from": options.source, "to": options.target}
        print_json(route | {"rows": translated_document(found, table)})
    if options.out != "-" or not options.json:
        write_frame(translated_frame(found, Path(options.out).suffix.lower()), options.out)


def _unlabelled(table: str, model: MetaModel, text: TextFormat) -> Dataset:
    """A table of which only the modalities are looked at."""
    from metamodal.data.dataset import open_table
    from metamodal.data.roles import Roles

    return open_table(table, Roles(), model.roles.of_modalities(), text=text)


def _trained_to_translate(model: MetaModel) -> bool:
    losses = model.record.get("train", {}).get("losses", {})
    return bool(losses.get("translate", {}).get("weight"))


COMMAND = Command(
    80,
    "translate",
    "a modality's cells from other modalities of the same rows",
    "metamodal translate run/model rows.csv --from image --to outline --out outlines.jsonl",
    flags,
    run,
)
