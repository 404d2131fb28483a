"""The command evaluate: few-shot scores of a model, or cross-validated ones of one table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from metamodal.app.command import Command
from metamodal.app.flags import MODEL, TABLE, device_flags, role_flags, strict_flag

if TYPE_CHECKING:
    from metamodal.data.dataset import Dataset
    from metamodal.model import MetaModel

__all__ = ["COMMAND"]


def flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("table", metavar="TABLE", help=TABLE)
    command.add_argument(
        "--learner",
        metavar="NAME",
        help="another learner on the same encoders, e.g. linear_probe or fine_tune",
    )
    command.add_argument(
        "--way",
        type=int,
        help="classes of an episode (5, or fewer if the table has fewer); labels and numbers have none",
    )
    command.add_argument(
        "--shot",
        type=int,
        default=1,
        help="support rows a class, 0 for descriptions alone; of labels and numbers all of them, maybe 0 (%(default)s)",
    )
    command.add_argument(
        "--query",
        type=int,
        default=15,
        help="query rows a class, or of labels and numbers, at most (%(default)s)",
    )
    command.add_argument("--episodes", type=int, default=600, help="episodes (%(default)s)")
    command.add_argument("--subsets", action="store_true", help="every subset of the modalities")
    command.add_argument(
        "--missing", type=float, default=0.0, metavar="P", help="also with this share of cells absent"
    )
    command.add_argument(
        "--cross",
        action="store_true",
        help="also query rows of other modalities than the support's: one lost, and one for another",
    )
    command.add_argument("--baselines", action="store_true", help="scikit-learn on the same episodes")
    command.add_argument(
        "--retrieval",
        type=int,
        default=0,
        metavar="N",
        help="also find each row's other modalities among N candidates, in as many draws as episodes",
    )
    command.add_argument("--report", metavar="FILE", help="write an HTML report")
    command.add_argument(
        "--full",
        action="store_true",
        help="instead of episodes, cross-validation of one table: all rows of the other folds as support",
    )
    role_flags(command)
    strict_flag(command)
    device_flags(command)


def run(options: argparse.Namespace) -> None:
    """Few-shot evaluation of a model, or of none, on a table's test rows."""
    from metamodal.app.speech import print_json, speaker, warn_of_columns
    from metamodal.errors import OptionError
    from metamodal.evaluation.evaluating import evaluate as evaluations
    from metamodal.evaluation.held_out import widest_way
    from metamodal.evaluation.protocol import Protocol
    from metamodal.reporting.report import write_report
    from metamodal.reporting.text import evaluation_table
    from metamodal.storage import check_file

    if options.report:
        check_file(options.report)
    say = speaker(options)
    model, table = _model_and_table(options)
    warn_of_columns(table, say)
    if options.full:
        _evaluate_full(options, model, table)
        return
    if not model.targets.has_classes and options.way is not None:
        raise OptionError(f"--way {options.way}: {model.targets.kind} has no classes. Leave it out.")
    way = widest_way(model, table, options.shot, 5) if options.way is None else options.way
    protocol = Protocol(
        way,
        options.shot,
        options.query,
        options.episodes,
        options.seed,
        options.subsets,
        options.missing,
        options.baselines,
        options.cross,
        options.retrieval,
    )
    (found,) = evaluations(model, table, [protocol], unreadable=options.unreadable)
    for note in found.notes:
        say(f"note: {note}")
    if options.report:
        report = write_report(Path(options.report), table, [found], None)
        say(f"report {report}")
    if options.json:
        print_json(found.to_dict())
    else:
        say(evaluation_table(found))


def _evaluate_full(options: argparse.Namespace, model: MetaModel, table: Dataset) -> None:
    """Cross-validated supervised performance of one table."""
    from metamodal.app.arguments import specs_from
    from metamodal.app.speech import print_json, results_bar, speaker
    from metamodal.data.features.encoders import open_encoders
    from metamodal.errors import OptionError
    from metamodal.evaluation.full import evaluate_full
    from metamodal.model import untrained
    from metamodal.reporting.full_text import full_table

    named = [
        f"--{name}" for name in ("way", "subsets", "cross", "retrieval", "report") if getattr(options, name)
    ]
    if named or options.missing:
        raise OptionError(
            f"{', '.join(named or ['--missing'])}: --full has no episodes and no report. Leave it out."
        )
    specs = specs_from(options)

    def model_for(rows: Dataset) -> MetaModel:
        if not model.generic or model.record:
            return model
        encoders = open_encoders(specs, [], rows.schema)
        fresh = untrained(rows, model.engine.learner, options.unreadable, encoders)
        return fresh.on(options.device, options.precision)

    with results_bar(options, "folds") as watch:
        found = evaluate_full(model_for, table, seed=options.seed, watch=watch)
    for note in found.notes:
        speaker(options)(f"note: {note}")
    if options.json:
        print_json(found.to_dict())
    else:
        speaker(options)(full_table(found))


def _model_and_table(options: argparse.Namespace) -> tuple[MetaModel, Dataset]:
    from metamodal.app.arguments import encoders_from, table_from
    from metamodal.app.artifacts import loaded_model
    from metamodal.components import component
    from metamodal.experiment import untrained_for
    from metamodal.meta.learners import learners

    learner = component(learners, options.learner, "--learner") if options.learner else None
    if options.model == "none":
        table = table_from(options)
        encoders = encoders_from(options, table)
        model = untrained_for(table, learner, unreadable=options.unreadable, encoders=encoders)
        return model.on(options.device, options.precision), table
    model = loaded_model(options).on(options.device, options.precision)
    return model.under(learner) if learner else model, table_from(options, model.roles)


COMMAND = Command(
    50,
    "evaluate",
    "few-shot scores on rows that training did not see",
    "metamodal evaluate none glyphs --way 5 --shot 1 --episodes 100 --baselines",
    flags,
    run,
)
