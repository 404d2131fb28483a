"""What `train --resume` continues with: the options of the first run, under what this call says besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metamodal.errors import OptionError
from metamodal.experiment import Experiment
from metamodal.model import MetaModel
from metamodal.nesting import merged
from metamodal.options import parse

__all__ = ["resumed"]


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
    return parse(Experiment, merged(first, given))


def _same(now: Any, before: Any) -> bool:
    """Whether a learner by name is the record's, all else left as it is."""
    return isinstance(now, str) and isinstance(before, dict) and before.get("kind") == now


def _at(tree: dict[str, Any], path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree.get(name, {}) if isinstance(tree, dict) else {}
    return None if tree == {} else tree
