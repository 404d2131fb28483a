"""A training run as a command shows it: progress and metrics while it lasts, and the test after it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metamodal.app.speech import results_bar, speaker
from metamodal.data.dataset import Dataset
from metamodal.errors import DataError, OutputError
from metamodal.evaluation.evaluating import evaluate
from metamodal.evaluation.held_out import widest_way
from metamodal.evaluation.metrics import SCORES
from metamodal.evaluation.protocol import Evaluation, Protocol
from metamodal.experiment import Experiment, Run, run
from metamodal.manifest import is_artifact
from metamodal.model import MetaModel
from metamodal.storage import explained
from metamodal.training.loop.bar import Bar
from metamodal.training.loop.progress import Progress

__all__ = ["evaluated", "trained"]


def trained(
    experiment: Experiment,
    table: Dataset,
    out: Path,
    options: argparse.Namespace,
    start: MetaModel | None = None,
) -> Run:
    """A run with its progress shown, its metrics written, and its best model saved at each validation."""
    say = speaker(options)
    with explained(out):
        log = (out / "metrics.jsonl").open("a" if start else "w", encoding="utf-8")
    with explained(out / "metrics.jsonl"), log:
        score = SCORES[(start.targets.kind if start else table.schema.target_kind)]
        show = Bar(experiment.train.budget, score, quiet=options.quiet)

        def watch(progress: Progress) -> None:
            _log(log, progress, score)
            show(progress)

        def keep(model: MetaModel) -> None:
            """A disk that is full for a moment costs no training."""
            try:
                model.save(out / "model")
            except OutputError as error:
                say(f"warning: the best model so far is not saved: {error}")

        try:
            done = run(experiment, table, watch, start, keep)
        except KeyboardInterrupt:
            if is_artifact(out / "model"):
                say(f"the best model so far is in {out / 'model'}")
            raise
        finally:
            show.close()
    done.model.save(out / "model")
    return done


def evaluated(
    done: Run, table: Dataset, options: argparse.Namespace, say: Callable[[str], None]
) -> list[Evaluation]:
    """What a report shows of the test rows, as far as there are enough of them.

    Baselines take at most a quarter of the seconds of training for each number of shots, five at the least.
    """
    found: list[Evaluation] = []
    reasons: dict[str, list[str]] = {}
    seconds = max(5.0, done.budget / 4)
    if table.schema.target:
        say("testing, beside scikit-learn (--no-test leaves this out)")
    for shot in (1, 5) if table.schema.target else ():
        try:
            way = widest_way(done.model, table, shot, 5)
            protocol = Protocol(way, shot, episodes=100, seed=options.seed, missing=0.5, baselines=True)
            with results_bar(options, f"{shot}-shot test") as watch:
                tested = evaluate(
                    done.model, table, [protocol], cells=done.cells, seconds=seconds, watch=watch
                )
                found += list(tested)
        except DataError as error:
            reasons.setdefault(str(error), []).append(str(shot))
    for reason, shots in reasons.items():
        say(f"note: no {'- and '.join(shots)}-shot test: {reason}")
    return found


def _log(log: Any, progress: Progress, score: str) -> None:
    if progress.validated:
        record: dict[str, Any] = {
            "step": progress.step,
            "elapsed": round(progress.elapsed, 2),
            "loss": progress.loss,
            f"valid_{score}": progress.accuracy,
            "valid_ci95": progress.ci95,
            "episodes_per_second": progress.episodes_per_second,
        }
        if progress.diagnosis is not None:
            record |= progress.diagnosis.to_dict()
        if progress.candidate:
            record["candidate"] = progress.candidate
        log.write(json.dumps(record) + "\n")
        log.flush()
