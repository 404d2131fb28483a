"""The folder of a run: whether it may be written to, and what `train --resume` continues from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metamodal.config import parse
from metamodal.errors import OptionError, OutputError
from metamodal.experiment import Experiment
from metamodal.manifest import check_artifact_folder, is_artifact
from metamodal.predictor import MetaModel
from metamodal.storage import check_file

__all__ = ["check_run_folder", "resumed"]


def check_run_folder(out: Path) -> None:
    """OutputError unless a run may write its model, report and metrics here without a loss to anyone."""
    check_artifact_folder(out / "model")
    names = ("report.html", "metrics.jsonl", "evaluation.json")
    for name in names:
        check_file(out / name)
    if not is_artifact(out / "model"):
        others = [name for name in names if (out / name).exists() and not _is_log(out / name)]
        if others:
            raise OutputError(
                f"{out}: holds {others[0]} and no model, so metamodal did not write it. Name another folder."
            )


def _is_log(path: Path) -> bool:
    """Whether a run wrote these metrics; one that was killed early leaves them without a model."""
    try:
        with path.open(encoding="utf-8") as lines:
            first = lines.readline(65_536)
        return not first or {"step", "elapsed", "loss"} <= json.loads(first).keys()
    except (OSError, ValueError, AttributeError):
        return False


def resumed(experiment: Experiment, start: MetaModel, out: Path) -> Experiment:
    """The first run's options, with those that this call gives and that a trained model can still change.

    Raises:
        OptionError: an option that the weights were made under has another value now.
    """
    first = {name: value for name, value in start.record.items() if name in Experiment.model_fields}
    given = experiment.model_dump(exclude_unset=True)
    fixed = [("learner",), *(("model", name) for name in given.get("model", {}) if name != "encoders")]
    for path in fixed:
        now, before = _at(given, path), _at(first, path)
        if now is not None and now != before and not (path == ("learner",) and _same(now, before)):
            name = ".".join(path)
            raise OptionError(
                f"{name}={now}: the model in {out / 'model'} was trained with {name}={before}. Leave it out, or train "
                "anew in another folder."
            )
    given.pop("model", None)
    if given.get("learner") is not None:
        given.pop("learner")
    return parse(Experiment, _merged(first, given))


def _same(now: Any, before: Any) -> bool:
    """Whether a learner by name is the record's, all else left as it is."""
    return isinstance(now, str) and isinstance(before, dict) and before.get("kind") == now


def _at(tree: dict[str, Any], path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree.get(name, {}) if isinstance(tree, dict) else {}
    return None if tree == {} else tree


def _merged(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(tree)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = _merged(result[name], value) if both else value
    return result
