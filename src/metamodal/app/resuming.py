"""What `train --resume` continues with: the options of the first run, under what this call sets besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metamodal.components import Auto, in_words, is_default, kind_of
from metamodal.errors import OptionError
from metamodal.experiment import Experiment
from metamodal.mappings.fusion import fusions
from metamodal.meta.learners import learners
from metamodal.model import MetaModel
from metamodal.nesting import merged
from metamodal.options import parse
from metamodal.registry import Registry
from metamodal.training.after.fallback import without_fallback

__all__ = ["resumed"]


def resumed(experiment: Experiment, start: MetaModel, out: Path) -> Experiment:
    """The first run's options, with those that this call sets and that a trained model can still change.

    Raises:
        OptionError: an option that the weights were trained under has another value now.
    """
    first = {name: value for name, value in start.record.items() if name in Experiment.model_fields}
    given = experiment.model_dump(exclude_unset=True)
    network, before = start.spec.network, without_fallback(start)[0].spec

    def check(option: str, now: Any, then: Any) -> None:
        if now != then:
            raise OptionError(
                f"{option}={now}: the model in {out / 'model'} was trained with {option}={then}. Leave it out, or "
                "train in another folder."
            )

    def check_component(option: str, registry: Registry[Any], now: Any, then: Any) -> None:
        if isinstance(now, Auto) or now == then:
            return
        named_alone = is_default(registry, now) and kind_of(registry, now) == kind_of(registry, then)
        if not named_alone:
            check(option, in_words(registry, now), in_words(registry, then))

    if "learner" in given:
        check_component("learner", learners, experiment.learner, before.learner)
    for name in given.pop("model", {}):
        if name == "encoders":
            continue
        if network is None or name in ("tune", "kinds"):
            check(f"model.{name}", experiment.record()["model"][name], first.get("model", {}).get(name))
        elif name == "fusion":
            check_component("model.fusion", fusions, experiment.model.fusion, network.fusion)
        else:
            check(f"model.{name}", getattr(experiment.model, name), getattr(network, name))
    given.pop("learner", None)
    return parse(Experiment, merged(first, given))
