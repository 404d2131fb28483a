"""The command train: meta-training on a table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from metamodal.app.command import Command
from metamodal.app.flags import TABLE, role_flags, seconds

if TYPE_CHECKING:
    from metamodal.experiment import Experiment

__all__ = ["COMMAND"]


def flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("table", metavar="TABLE|EXPERIMENT.yaml", help=f"{TABLE}; or an experiment's YAML")
    command.add_argument(
        "overrides",
        nargs="*",
        default=[],  # without it argparse names them among what is required
        metavar="key=value",
        help="options by path, e.g. train.optimiser.lr=0.001",
    )
    command.add_argument(
        "--out", metavar="DIR", required=True, help="folder for model, report.html, metrics.jsonl"
    )
    command.add_argument("--budget", type=seconds, help="seconds of training (600)")
    command.add_argument(
        "--resume", action="store_true", help="continue from the weights in DIR, under the options of its run"
    )
    command.add_argument(
        "--no-test", action="store_true", help="leave out the test, and its baselines, at the end"
    )
    role_flags(command)


def run(options: argparse.Namespace) -> int:
    """Meta-train; leaves DIR/model, DIR/report.html and DIR/metrics.jsonl."""
    from metamodal.app.arguments import experiment_from
    from metamodal.app.run_folder import run_folder

    experiment = experiment_from(options)
    with run_folder(Path(options.out)):
        return _train(options, experiment, Path(options.out))


def _train(options: argparse.Namespace, experiment: Experiment, out: Path) -> int:
    from metamodal.app.artifacts import loaded_model
    from metamodal.app.resuming import resumed
    from metamodal.app.speech import one_task_hint, print_json, speaker, warn_of_columns
    from metamodal.app.training import evaluated, trained
    from metamodal.errors import OptionError
    from metamodal.evaluation.full import is_one_task
    from metamodal.manifest import is_artifact
    from metamodal.reporting.report import write_report
    from metamodal.reporting.text import evaluation_table, leaderboard_lines
    from metamodal.training.loop.meta_train import DIED

    say, start = speaker(options), None
    if options.resume:
        start = loaded_model(options, str(out / "model"))
        experiment = resumed(experiment, start, out)
        say(
            f"resume: from the weights of {out / 'model'}; the optimiser, the order of the episodes and the history of "
            "validations start anew"
        )
    elif is_artifact(out / "model"):
        raise OptionError(
            f"--out {out}: holds a model already. Pass --resume to continue from it, or name another folder."
        )
    table = experiment.data.read()
    warn_of_columns(table, say)
    if is_one_task(table):
        say(f"note: {one_task_hint(options.table, table)}")
    if table.schema.target is None:
        say(
            "note: no --target: training on rows without labels. Pass --target C if a column holds the label."
        )
    elif not table.has_classes:
        say(f"the task is {table.schema.target_kind}: {', '.join(table.schema.targets)}")
    done = trained(experiment, table, out, options, start)
    outcome = done.model.record["outcome"]
    say(
        f"training ended by {outcome['ended']} after {outcome['steps']} steps; the weights with the best validation are "
        f"kept; model {out / 'model'}"
    )
    for line in leaderboard_lines(outcome["leaderboard"], outcome.get("score", "accuracy")):
        say(line)
    found = [] if options.no_test else evaluated(done, table, options, say)
    report = write_report(out / "report.html", table, found, done)
    for evaluation in found:
        say("\n" + evaluation_table(evaluation, brief=True))
    for note in dict.fromkeys([*outcome["notes"], *(note for e in found for note in e.notes)]):
        say(f"note: {note}")
    say(f"report {report}")
    if options.json:
        print_json(
            {
                "model": str(out / "model"),
                "report": str(report),
                "outcome": outcome,
                "evaluations": [e.to_dict() for e in found],
            }
        )
    return {"interrupted": 130, DIED: 1}.get(outcome["ended"], 0)


COMMAND = Command(
    40,
    "train",
    "meta-train on a table",
    "metamodal train glyphs --budget 60 --out run train.episodes.way=20 model.fusion=attention",
    flags,
    run,
)
