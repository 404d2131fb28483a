"""The command demo: the main job on the embedded data."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from metamodal.app.command import Command
from metamodal.app.flags import seconds

__all__ = ["COMMAND"]


def flags(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--out", default="metamodal-demo", help="folder for the model and the report (%(default)s)"
    )
    command.add_argument("--budget", type=seconds, default=110.0, help="seconds of training (%(default)s)")
    command.add_argument(
        "--episodes", type=int, default=300, help="test episodes a row of the table (%(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    """Meta-train on the glyphs of Latin and Greek, evaluate on Georgian and Armenian, report."""
    from metamodal.app.run_folder import run_folder

    with run_folder(Path(options.out)):
        _demo(options, Path(options.out))


def _demo(options: argparse.Namespace, out: Path) -> None:
    from metamodal.app.speech import print_json, speaker
    from metamodal.app.training import trained
    from metamodal.data.dataset import open_table
    from metamodal.data.roles import Roles
    from metamodal.evaluation.evaluating import evaluate as evaluations
    from metamodal.evaluation.protocol import Protocol
    from metamodal.experiment import Experiment
    from metamodal.options import parse
    from metamodal.reporting.report import write_report
    from metamodal.reporting.text import evaluation_table
    from metamodal.storage import write_text

    say = speaker(options)
    say(
        "Drawing the glyphs: Latin and Greek to train on, Cyrillic to choose by, Georgian and Armenian to test."
    )
    began = time.perf_counter()
    table = open_table("glyphs", Roles())
    experiment = parse(
        Experiment,
        {
            "seed": options.seed,
            "data": {"table": "glyphs"},
            "learner": "per_modality",
            "train": {"budget": options.budget},
        },
    )
    say(f"Meta-training for {options.budget:.0f} s on image, outline and metrics.")
    done = trained(experiment, table, out, options)
    say("Testing on unseen writing systems, beside scikit-learn.")
    protocols = [
        Protocol(5, shot, episodes=options.episodes, seed=options.seed, missing=0.5, baselines=True)
        for shot in (1, 5)
    ]
    found = list(evaluations(done.model, table, protocols, cells=done.cells))
    report = write_report(out / "report.html", table, found, done)
    for evaluation in found:
        say("\n" + evaluation_table(evaluation))
    say(f"\nmodel {out / 'model'} · report {report} · {time.perf_counter() - began:.0f} s in all")
    document = {
        "evaluations": [e.to_dict() for e in found],
        "model": str(out / "model"),
        "report": str(report),
    }
    write_text(out / "evaluation.json", json.dumps(document, ensure_ascii=False))
    if options.json:
        print_json(document)


COMMAND = Command(
    0,
    "demo",
    "the main job on the embedded data: train, evaluate on unseen writing systems, report",
    "metamodal demo --out metamodal-demo --budget 120",
    flags,
    run,
)
