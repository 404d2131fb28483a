"""The command line: what may be said, and how errors end. Starts without torch.

Everything for people goes to stderr, data to stdout. Exit codes: 0 done, 1 failed, 2 wrong options,
3 bad data or artifact, 130 interrupted.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, NoReturn

from metamodal.errors import DataError, MetamodalError, MetamodalWarning, OptionError, OutputError

__all__ = ["main", "parsed", "parser"]

_TABLE = (
    "a Parquet, Arrow, CSV, TSV, JSON, JSONL, Excel, OpenDocument or WebDataset file; a folder of them, of files sorted by class, or that "
    "the datasets library saved; - for standard input; or the word glyphs (embedded data)"
)
_MODEL = "a folder that train wrote, or the word none: generic features, no training"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    _speak_utf8()
    _end_as_interrupted()
    try:
        options = parsed(arguments)
        commands = import_module("metamodal.app.commands")
        with _shown_warnings(quiet=options.quiet, strict=getattr(options, "strict", False)):
            return int(getattr(commands, options.command)(options) or 0)
    except MetamodalError as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, OutputError):
            _drop_output()  # what could not be written is not tried again at exit
        print(f"metamodal: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("metamodal: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _drop_output()
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        reason = (str(error).splitlines() or [""])[0]
        print(
            f"metamodal: internal error: {type(error).__name__}: {reason}. --debug shows where.",
            file=sys.stderr,
        )
        return 1


def _speak_utf8() -> None:
    """Data and words in UTF-8 whatever the locale, as files are."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _end_as_interrupted() -> None:
    """SIGTERM is treated as Ctrl-C: what was reached is kept."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)


def _drop_output() -> None:
    """What is left in the buffer of a standard output that nobody reads, or that is full, goes nowhere."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        with suppress(OSError):
            sys.stdout.flush()
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _shown_warnings(*, quiet: bool, strict: bool) -> Iterator[None]:
    """The library's warnings as lines on stderr, each message once; with `strict` the first is an error."""
    shown: set[str] = set()
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, MetamodalWarning):
                others(message, category, *where, **more)
            elif not quiet and str(message) not in shown:
                shown.add(str(message))
                print(f"warning: {message}", file=sys.stderr)

        warnings.showwarning = show
        warnings.simplefilter("error" if strict else "always", MetamodalWarning)
        try:
            yield
        except MetamodalWarning as warning:
            raise DataError(str(warning)) from None


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The options said; `key=value` assignments may stand anywhere among them."""
    top = parser()
    options, rest = top.parse_known_args(arguments)
    assignments = [text for text in rest if "=" in text and not text.startswith("-")]
    unknown = [text for text in rest if text not in assignments]
    if unknown or (assignments and not hasattr(options, "overrides")):
        raise OptionError(
            f"{' '.join(unknown or assignments)}: not understood. See metamodal {options.command} --help."
        )
    if assignments:
        options.overrides = [*options.overrides, *assignments]
    _check_outputs(options)
    return options


def _check_outputs(options: argparse.Namespace) -> None:
    """OptionError where what is read would be overwritten."""
    for flag in ("out", "report", "html"):
        output = getattr(options, flag, None)
        for name in ("table", "against", "classes", "triples"):
            source = getattr(options, name, None)
            if isinstance(output, str) and isinstance(source, str) and _are_one_file(output, source):
                raise OptionError(f"--{flag} {output}: is the {name} that is read. Name another file.")


def _are_one_file(one: str, other: str) -> bool:
    with suppress(OSError, ValueError):
        return os.path.samefile(one, other)
    return False


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are one line with the remedy."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message}. See {self.prog} --help.")


def parser() -> argparse.ArgumentParser:
    """Every command and option."""
    top = _Parser(
        prog="metamodal",
        description="Multimodal meta-learning: learn from many tasks how to learn the next one.",
        epilog="Start here: metamodal demo",
        allow_abbrev=False,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    demo = _command(
        commands,
        "demo",
        "the main job on the embedded data: train, evaluate on unseen writing systems, report",
        "metamodal demo --out metamodal-demo --budget 120",
    )
    demo.add_argument(
        "--out", default="metamodal-demo", help="folder for the model and the report (%(default)s)"
    )
    demo.add_argument("--budget", type=_seconds, default=110.0, help="seconds of training (%(default)s)")
    demo.add_argument(
        "--episodes", type=int, default=300, help="test episodes a row of the table (%(default)s)"
    )

    schema = _command(
        commands,
        "schema",
        "roles and kinds of a table's columns, with the evidence for each; or the options of train as a JSON schema",
        "metamodal schema glyphs",
    )
    schema.add_argument("table", metavar="TABLE", nargs="?", help=_TABLE)
    schema.add_argument("--out", metavar="FILE", help="write the roles as YAML, for --schema")
    schema.add_argument(
        "--options",
        action="store_true",
        help="print the JSON schema of all options of train, without a table",
    )
    _roles(schema)

    audit = _command(
        commands,
        "audit",
        "open every cell; report bad ones, duplicates, leaks and doubtful labels (exit code 3 if a cell is bad)",
        "metamodal audit glyphs --html audit.html",
    )
    audit.add_argument("table", metavar="TABLE", help=_TABLE)
    audit.add_argument("--html", metavar="FILE", help="write a page with pictures of what is wrong")
    _roles(audit, model=False)

    encode = _command(
        commands,
        "encode",
        "features of every modality, computed once, as a folder of shards that is a table again",
        "metamodal encode glyphs --out encoded",
    )
    encode.add_argument("table", metavar="TABLE", help=_TABLE)
    encode.add_argument("--out", metavar="DIR", required=True, help="folder for the shards")
    encode.add_argument("--rows", type=int, default=4096, help="rows of a shard (%(default)s)")
    _roles(encode)

    train = _command(
        commands,
        "train",
        "meta-train on a table",
        "metamodal train glyphs --budget 60 --out run train.episodes.way=20 model.fusion=attention",
    )
    train.add_argument("table", metavar="TABLE|EXPERIMENT.yaml", help=f"{_TABLE}; or an experiment's YAML")
    train.add_argument(
        "overrides",
        nargs="*",
        default=[],  # without it argparse names them among what is required
        metavar="key=value",
        help="options by path, e.g. train.optimiser.lr=0.001",
    )
    train.add_argument(
        "--out", metavar="DIR", required=True, help="folder for model, report.html, metrics.jsonl"
    )
    train.add_argument("--budget", type=_seconds, help="seconds of training (600)")
    train.add_argument(
        "--resume", action="store_true", help="continue from the weights in DIR, under the options of its run"
    )
    train.add_argument(
        "--no-test", action="store_true", help="leave out the test, and its baselines, at the end"
    )
    _roles(train)

    evaluate = _command(
        commands,
        "evaluate",
        "few-shot scores on rows that training did not see",
        "metamodal evaluate none glyphs --way 5 --shot 1 --episodes 100 --baselines",
    )
    evaluate.add_argument("model", metavar="MODEL", help=_MODEL)
    evaluate.add_argument("table", metavar="TABLE", help=_TABLE)
    evaluate.add_argument(
        "--learner",
        metavar="NAME",
        help="another learner on the same encoders, e.g. linear_probe or fine_tune",
    )
    evaluate.add_argument(
        "--way",
        type=int,
        help="classes of an episode (5, or fewer if the table has fewer); labels and numbers have none",
    )
    evaluate.add_argument(
        "--shot",
        type=int,
        default=1,
        help="support rows a class, 0 for descriptions alone; of labels and numbers all of them, maybe 0 (%(default)s)",
    )
    evaluate.add_argument(
        "--query",
        type=int,
        default=15,
        help="query rows a class, or of labels and numbers, at most (%(default)s)",
    )
    evaluate.add_argument("--episodes", type=int, default=600, help="episodes (%(default)s)")
    evaluate.add_argument("--subsets", action="store_true", help="every subset of the modalities")
    evaluate.add_argument(
        "--missing", type=float, default=0.0, metavar="P", help="also with this share of cells absent"
    )
    evaluate.add_argument(
        "--cross",
        action="store_true",
        help="also query rows of other modalities than the support's: one lost, and one for another",
    )
    evaluate.add_argument("--baselines", action="store_true", help="scikit-learn on the same episodes")
    evaluate.add_argument(
        "--retrieval",
        type=int,
        default=0,
        metavar="N",
        help="also find each row's other modalities among N candidates, in as many draws as episodes",
    )
    evaluate.add_argument("--report", metavar="FILE", help="write an HTML report")
    evaluate.add_argument(
        "--full",
        action="store_true",
        help="instead of episodes, cross-validation of one table: all rows of the other folds as support",
    )
    _roles(evaluate)
    _strict(evaluate)

    adapt = _command(
        commands,
        "adapt",
        "a handful of labelled rows to a predictor",
        "metamodal adapt none support.csv --target label --out predictor",
    )
    adapt.add_argument("model", metavar="MODEL", help=_MODEL)
    adapt.add_argument("table", metavar="SUPPORT", nargs="?", help="a table of labelled rows")
    adapt.add_argument(
        "--classes", metavar="FILE", help="a table of labels and descriptions; such a class needs no row"
    )
    adapt.add_argument("--out", metavar="PREDICTOR", required=True, help="folder for the predictor")
    adapt.add_argument(
        "--prior",
        choices=("auto", "balanced", "support"),
        default="auto",
        help="how frequent classes are (%(default)s: as in the support where it is a sample of unequal counts)",
    )
    _roles(adapt)
    _strict(adapt)

    predict = _command(
        commands,
        "predict",
        "labels with probabilities, or numbers, for a table's rows",
        "metamodal predict predictor rows.csv --out labels.csv",
    )
    predict.add_argument("predictor", metavar="PREDICTOR", help="a folder that adapt wrote")
    predict.add_argument("table", metavar="TABLE", help=_TABLE)
    predict.add_argument(
        "--out", metavar="FILE", default="-", help="a .csv, .jsonl or .parquet file (standard output)"
    )
    _encoder(predict)
    _root(predict)
    _format(predict)
    _unreadable(predict)
    _strict(predict)

    translate = _command(
        commands,
        "translate",
        "a modality's cells from other modalities of the same rows",
        "metamodal translate run/model rows.csv --from image --to outline --out outlines.jsonl",
    )
    translate.add_argument("model", metavar="MODEL", help="a folder that train wrote")
    translate.add_argument("table", metavar="TABLE", help=_TABLE)
    translate.add_argument(
        "--from",
        dest="source",
        metavar="M,M,…",
        type=_names,
        required=True,
        help="the modalities to translate from; a row needs one of them",
    )
    translate.add_argument("--to", dest="target", metavar="M", required=True, help="the modality wanted")
    translate.add_argument(
        "--against", metavar="TABLE", help="choose among this table's cells (the other rows of TABLE)"
    )
    translate.add_argument(
        "--top", type=int, metavar="K", help="candidates to name of each row (5); asks for candidates"
    )
    translate.add_argument(
        "--out", metavar="FILE", default="-", help="a .csv, .jsonl or .parquet file (standard output)"
    )
    _encoder(translate)
    _format(translate)

    _command(
        commands,
        "doctor",
        "versions, extras, devices, and what is missing and how to get it",
        "metamodal doctor --json",
    )
    return top


def _command(
    commands: argparse._SubParsersAction[_Parser], name: str, purpose: str, example: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=purpose,
        description=purpose[0].upper() + purpose[1:] + ".",
        epilog=f"example: {example}",
        allow_abbrev=False,
    )
    command.add_argument("--json", action="store_true", help="one JSON document on standard output")
    command.add_argument("--quiet", action="store_true", help="print nothing but errors")
    command.add_argument("--seed", type=int, default=0, help="seed of everything random (%(default)s)")
    command.add_argument("--debug", action="store_true", help="show where an error came from")
    return command


def _roles(command: argparse.ArgumentParser, *, model: bool = True) -> None:
    roles = command.add_argument_group("roles of the table's columns")
    roles.add_argument(
        "--target", metavar="C,C,…", type=_names, help="the label, or several columns of labels or numbers"
    )
    roles.add_argument(
        "--target-kind",
        choices=("auto", "classification", "multilabel", "regression"),
        default="auto",
        help="what the target is (%(default)s: as its cells tell)",
    )
    roles.add_argument(
        "--task", metavar="C", help="episodes are drawn within one value of this column; - for none"
    )
    roles.add_argument("--group", metavar="C", help="the entity whose rows belong together")
    roles.add_argument("--split", metavar="C", help="says of each row whether it is for train, valid or test")
    roles.add_argument(
        "--time",
        metavar="C",
        help="the moment a row is of: the latest are tested on, the earliest trained on",
    )
    roles.add_argument(
        "--disjoint-by", metavar="C", help="no value of this column is in support and query of one episode"
    )
    roles.add_argument(
        "--split-by",
        choices=("auto", "task", "class", "group", "row", "time"),
        default="auto",
        help="what is kept whole where rows are shared out (%(default)s)",
    )
    roles.add_argument(
        "--use", metavar="C,C,…", type=_names, help="the columns to learn from (all that can teach something)"
    )
    roles.add_argument(
        "--kind",
        metavar="C=KIND",
        action="append",
        default=[],
        help="the kind of a column, instead of the inferred one",
    )
    roles.add_argument(
        "--describe", metavar="C", help="describes the class, not the sample: words, values, a vector"
    )
    roles.add_argument(
        "--triples", metavar="FILE", help="head, relation and tail of entities that graph columns name"
    )
    roles.add_argument("--schema", metavar="FILE", help="all of these, and how the table is written, as YAML")
    _root(roles)
    _format(command)
    if not model:
        return
    _encoder(roles)
    _unreadable(roles)


def _root(options: argparse._ActionsContainer) -> None:
    options.add_argument(
        "--root", metavar="DIR", help="the folder that paths in the table start from (the table's own)"
    )


def _format(command: argparse.ArgumentParser) -> None:
    options = command.add_argument_group("how the table is written")
    options.add_argument(
        "--sep", metavar="MARK", help="between the cells of CSV, or tab (recognised from the file)"
    )
    options.add_argument(
        "--decimal",
        metavar="MARK",
        choices=(".", ","),
        help="the decimal mark of numbers, . or , (recognised by column)",
    )
    options.add_argument(
        "--encoding", metavar="NAME", help="of a text file, such as cp1252 (UTF-8 or UTF-16)"
    )
    options.add_argument(
        "--na", metavar="WORD,WORD,…", type=_names, help="words that stand for an empty cell, such as NA"
    )


def _unreadable(options: argparse._ActionsContainer) -> None:
    options.add_argument(
        "--unreadable",
        choices=("error", "absent"),
        default="error",
        help="whether a cell that cannot be read is an error or counts as absent (%(default)s)",
    )


def _strict(options: argparse._ActionsContainer) -> None:
    options.add_argument(
        "--strict",
        action="store_true",
        help="what makes answers doubtful, such as a column that the model knows and the table lacks, is an error",
    )


def _encoder(options: argparse._ActionsContainer) -> None:
    options.add_argument(
        "--encoder",
        metavar="C=SPEC",
        action="append",
        default=[],
        help="a pretrained encoder: minilm, a folder, or package.module:name; of a trained model only those that are code",
    )


def _names(text: str) -> list[str]:
    """A list of names as a line of CSV: quotes hold a comma; which spaces belong to names, the table decides."""
    names = next(csv.reader([text.replace(', "', ',"')]), []) if text.strip() else []
    return [name for name in names if name.strip()]


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return seconds


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *ignored: object) -> NoReturn:
        from importlib.metadata import version

        print(f"metamodal {version('metamodal')}")
        parser.exit()
