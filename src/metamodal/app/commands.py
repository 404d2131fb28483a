"""What each command does: read, call the library, print."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metamodal.adaptation import adapt as adapted
from metamodal.app.arguments import (
    said_classes,
    said_encoders,
    said_experiment,
    said_format,
    said_specs,
    said_table,
)
from metamodal.app.auditing import audit
from metamodal.app.predicting import Predicting, names_in_json
from metamodal.app.resuming import resumed
from metamodal.app.run_folder import run_folder
from metamodal.app.speech import one_task_hint, print_json, results_bar, speaker
from metamodal.app.tables import encode, schema
from metamodal.app.translating import translated_document, translated_frame
from metamodal.artifact import load_artifact
from metamodal.components import component
from metamodal.data.dataset import Dataset, open_table
from metamodal.data.encoders import open_encoders
from metamodal.data.roles import Roles
from metamodal.data.source import open_source
from metamodal.data.text_files import TextFormat
from metamodal.data.writing import check_target, write_frame
from metamodal.errors import ArtifactError, DataError, OptionError, OutputError, one_line
from metamodal.evaluation.evaluating import evaluate as evaluations
from metamodal.evaluation.full import evaluate_full, is_one_task
from metamodal.evaluation.held_out import widest_way
from metamodal.evaluation.metrics import SCORES
from metamodal.evaluation.protocol import Evaluation, Protocol
from metamodal.experiment import Experiment, Run, run, untrained_for
from metamodal.manifest import check_artifact_folder, is_artifact
from metamodal.meta.learners import learners
from metamodal.model import MetaModel, untrained
from metamodal.options import parse
from metamodal.predictor import Predictor
from metamodal.reporting.full_text import full_table
from metamodal.reporting.report import write_report
from metamodal.reporting.text import evaluation_table, leaderboard_lines
from metamodal.storage import check_file, explained, write_text
from metamodal.training.loop.bar import Bar
from metamodal.training.loop.meta_train import DIED
from metamodal.training.loop.progress import Progress
from metamodal.translation import HOW_TO_TRAIN

__all__ = [
    "adapt",
    "audit",
    "demo",
    "doctor",
    "encode",
    "evaluate",
    "predict",
    "schema",
    "train",
    "translate",
]

Options = argparse.Namespace


def demo(options: Options) -> None:
    """Meta-train on the glyphs of Latin and Greek, evaluate on Georgian and Armenian, report."""
    with run_folder(Path(options.out)):
        _demo(options, Path(options.out))


def _demo(options: Options, out: Path) -> None:
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
    done = _trained(experiment, table, out, options)
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


def train(options: Options) -> int:
    """Meta-train; leaves DIR/model, DIR/report.html and DIR/metrics.jsonl."""
    experiment = said_experiment(options)
    with run_folder(Path(options.out)):
        return _train(options, experiment, Path(options.out))


def _train(options: Options, experiment: Experiment, out: Path) -> int:
    say, start = speaker(options), None
    if options.resume:
        start = _loaded_model(options, str(out / "model"))
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
    _warn(table, say)
    if is_one_task(table):
        say(f"note: {one_task_hint(options.table, table)}")
    if table.schema.target is None:
        say(
            "note: no --target: training on rows without labels. Pass --target C if a column holds the label."
        )
    elif not table.has_classes:
        say(f"the task is {table.schema.target_kind}: {', '.join(table.schema.targets)}")
    done = _trained(experiment, table, out, options, start)
    outcome = done.model.record["outcome"]
    say(
        f"training ended by {outcome['ended']} after {outcome['steps']} steps; the weights with the best validation are "
        f"kept; model {out / 'model'}"
    )
    for line in leaderboard_lines(outcome["leaderboard"], outcome.get("score", "accuracy")):
        say(line)
    found = [] if options.no_test else _report_evaluations(done, table, options, say)
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


def evaluate(options: Options) -> None:
    """Few-shot evaluation of a model, or of none, on a table's test rows."""
    if options.report:
        check_file(options.report)
    say = speaker(options)
    model, table = _model_and_table(options)
    _warn(table, say)
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


def _evaluate_full(options: Options, model: MetaModel, table: Dataset) -> None:
    """Cross-validated supervised performance of one table."""
    named = [
        f"--{name}" for name in ("way", "subsets", "cross", "retrieval", "report") if getattr(options, name)
    ]
    if named or options.missing:
        raise OptionError(
            f"{', '.join(named or ['--missing'])}: --full has no episodes and no report. Leave it out."
        )
    specs = said_specs(options)

    def model_for(rows: Dataset) -> MetaModel:
        if not model.generic or model.record:
            return model
        encoders = open_encoders(specs, [], rows.schema)
        return untrained(rows, model.engine.learner, options.unreadable, encoders)

    with results_bar(options, "folds") as watch:
        found = evaluate_full(model_for, table, seed=options.seed, watch=watch)
    for note in found.notes:
        speaker(options)(f"note: {note}")
    if options.json:
        print_json(found.to_dict())
    else:
        speaker(options)(full_table(found))


def adapt(options: Options) -> None:
    """Labelled rows, or descriptions of classes, to a predictor."""
    if options.table is None and options.classes is None:
        raise OptionError(
            "adapt: there is nothing to learn from. Give a table of labelled rows, or --classes FILE."
        )
    check_artifact_folder(options.out)
    table: Dataset | None = None
    if options.model == "none":
        if options.classes or options.table is None:
            raise OptionError(
                "--classes: descriptions are of use to a trained model. Train one with --describe C."
            )
        table = said_table(options)
        _warn(table, speaker(options))
        model = untrained(
            table, _default_learner(), options.unreadable, encoders=said_encoders(options, table)
        )
    else:
        model = _loaded_model(options)
        table = said_table(options, model.roles) if options.table else None
        if table is not None:
            _warn(table, speaker(options))
    told = said_classes(options, model.roles) if options.classes else {}
    predictor = adapted(model, table, unreadable=options.unreadable, describe=told, prior=options.prior)
    rows = 0 if table is None else len(table)
    folder = predictor.save(options.out)
    speaker(options)(
        f"predictor {folder}: {_counted(len(predictor.labels), _word(predictor))} from {_counted(rows, 'row')} of "
        f"{', '.join(model.modalities)}"
    )
    if options.json:
        print_json({"predictor": str(folder), "labels": names_in_json(predictor), "rows": rows})


def predict(options: Options) -> None:
    """Labels with probabilities, or numbers, one row for each of the table's."""
    check_target(options.out)
    predictor = load_artifact(options.predictor, said_specs(options))
    if not isinstance(predictor, Predictor):
        raise ArtifactError(
            f"{options.predictor}: a model, not a predictor. Adapt it to labelled rows first: metamodal adapt."
        )
    work = Predicting(
        predictor, open_source(options.table, options.root, said_format(options)), options.unreadable
    )
    if options.json:
        print_json({"labels": names_in_json(predictor), "rows": work.document()})
    if options.out != "-" or not options.json:
        work.write(options.out)
    if work.lacking:
        speaker(options)(
            f"warning: {work.lacking} of {work.rows} rows have no answer, the first of them {work.first}"
        )


def translate(options: Options) -> None:
    """A modality's cells from others, one row for each of the table's."""
    if options.model == "none":
        raise OptionError(
            f"translate: the model none has no shared space. Train one: metamodal train TABLE --out DIR {HOW_TO_TRAIN}."
        )
    check_target(options.out)
    model = _loaded_model(options)
    say = speaker(options)
    text = said_format(options)
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


def doctor(options: Options) -> None:
    """Versions, devices, and what is missing."""
    from metamodal.app.doctor import findings

    found = findings()
    if options.json:
        print_json(found)
        return
    say = speaker(options)
    for name, version in found["versions"].items():
        say(f"{name:18} {version}")
    for name, state in found["extras"].items():
        say(f"{'extra ' + name:18} {state}")
    say(f"{'devices':18} {', '.join(found['devices'])}")
    for kind, state in found["kinds"].items():
        say(f"{'kind ' + kind:18} {state}")
    for problem in found["problems"]:
        say(f"problem: {problem}")


def _trained(
    experiment: Experiment, table: Dataset, out: Path, options: Options, start: MetaModel | None = None
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


def _report_evaluations(
    done: Run, table: Dataset, options: Options, say: Callable[[str], None]
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
                tested = evaluations(
                    done.model, table, [protocol], cells=done.cells, seconds=seconds, watch=watch
                )
                found += list(tested)
        except DataError as error:
            reasons.setdefault(str(error), []).append(str(shot))
    for reason, shots in reasons.items():
        say(f"note: no {'- and '.join(shots)}-shot test: {reason}")
    return found


def _model_and_table(options: Options) -> tuple[MetaModel, Dataset]:
    learner = component(learners, options.learner, "--learner") if options.learner else None
    if options.model == "none":
        table = said_table(options)
        encoders = said_encoders(options, table)
        return untrained_for(table, learner, unreadable=options.unreadable, encoders=encoders), table
    model = _loaded_model(options)
    return model.under(learner) if learner else model, said_table(options, model.roles)


def _loaded_model(options: Options, folder: str | None = None) -> MetaModel:
    folder = folder or options.model
    item = load_artifact(folder, said_specs(options))
    if isinstance(item, Predictor):
        raise ArtifactError(
            f"{folder}: a predictor, not a model. Give the folder that train wrote, DIR/model."
        )
    return item


def _unlabelled(table: str, model: MetaModel, text: TextFormat) -> Dataset:
    """A table of which only the modalities are looked at."""
    return open_table(table, Roles(), model.roles.of_modalities(), text=text)


def _word(predictor: Predictor) -> str:
    return "number" if predictor.kind == "regression" else "label"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _default_learner() -> Any:
    return Experiment().first_learner


def _warn(table: Dataset, say: Callable[[str], None]) -> None:
    """What to beware of in the table's columns, whatever they are for, but those that `--use` leaves out."""
    for column in table.schema.columns:
        if column.warning and column.name not in table.schema.unused:
            say(one_line(f"warning: column {column.name!r}: {column.warning}"))


def _trained_to_translate(model: MetaModel) -> bool:
    losses = model.record.get("train", {}).get("losses", {})
    return bool(losses.get("translate", {}).get("weight"))
