"""The report: one HTML file that shows the data, the training, the scores and whole episodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from markupsafe import Markup

from metamodal.data.dataset import Dataset
from metamodal.data.tasks.splits import Split
from metamodal.evaluation.joint_views import joint_view
from metamodal.evaluation.pictures import curve
from metamodal.evaluation.pictures.words import breakable
from metamodal.evaluation.pooled_views import pooled_episodes, pooled_tests
from metamodal.evaluation.protocol import Evaluation
from metamodal.evaluation.retrieval import RANKS
from metamodal.evaluation.views import DataView, episode_views, score_views
from metamodal.model import MetaModel
from metamodal.storage import write_text

__all__ = ["FinishedRun", "write_report"]


@runtime_checkable
class _Step(Protocol):
    """A point of the training history."""

    @property
    def step(self) -> int: ...
    @property
    def elapsed(self) -> float: ...
    @property
    def loss(self) -> float: ...
    @property
    def accuracy(self) -> float | None: ...
    @property
    def ci95(self) -> float | None: ...


@runtime_checkable
class _Training(Protocol):
    @property
    def history(self) -> Sequence[_Step]: ...
    @property
    def ended(self) -> str: ...
    @property
    def steps(self) -> int: ...


@runtime_checkable
class FinishedRun(Protocol):
    """What a report shows of a training run; `metamodal.experiment.Run` is one."""

    @property
    def model(self) -> MetaModel: ...
    @property
    def split(self) -> Split: ...
    @property
    def trained(self) -> _Training: ...


def write_report(
    path: Path, table: Dataset, evaluations: Sequence[Evaluation], run: FinishedRun | None
) -> Path:
    """The path of a self-contained page on a table, a run if there was one, and its evaluations.

    The same input gives the same bytes. The file appears whole or not at all.

    Args:
        table: the data set that was evaluated: the episodes shown point into its rows.

    >>> import tempfile
    >>> import pandas as pd
    >>> from metamodal.data.dataset import read_table
    >>> pets = pd.DataFrame({"weight": [4.1, 30.0], "pet": ["cat", "dog"]})
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_report(folder / "report.html", read_table(pets, target="pet"), [], None).name
    'report.html'
    """
    data = DataView(table, run.split if run else table.split() if table.schema.role("split") else None)
    text = _template().render(
        version=version("metamodal"),
        data=data,
        facts=_model_facts(evaluations, run),
        run=run,
        curves=_curves(run.trained.history, _score(run)) if run else (),
        score=_score(run) if run else "accuracy",
        board=run.model.record.get("outcome", {}).get("leaderboard", ()) if run else (),
        balance=run.model.record.get("outcome", {}).get("balance", ()) if run else (),
        evaluations=evaluations,
        ranks=RANKS,
        joint=joint_view(run.model.record.get("outcome", {}).get("losses", ())) if run else None,
        tests=score_views(evaluations, data),
        pooled=pooled_tests(evaluations),
        episodes=episode_views(evaluations, data),
        pooled_episodes=pooled_episodes(evaluations, data.draw),
    )
    return write_text(path, text)


def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("metamodal", "evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "gained": _gained, "amount": _amount, "count": _count}
    environment.filters |= {"breakable": breakable}
    return environment.get_template("report.html")


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f}"


def _gained(share: float) -> str:
    return f"{100 * share:+.2f}"


def _count(number: int) -> str:
    return f"{number:,}".replace(",", "\u202f")


def _amount(number: float) -> str:
    """A number in three figures, or whole."""
    return _count(round(number)) if number >= 100 or number == round(number) else f"{number:.3g}"


def _model_facts(evaluations: Sequence[Evaluation], run: FinishedRun | None) -> list[tuple[str, str]]:
    facts = []
    if evaluations:
        facts.append(("Learner", evaluations[0].learner))
    if run is None:
        if evaluations:
            facts.append(("Modalities", ", ".join(evaluations[0].whole.modalities)))
        return facts
    weights = sum(p.numel() for p in run.model.params.values())
    facts += [("Modalities", ", ".join(run.model.modalities)), ("Parameters", _count(weights))]
    facts.append(("Training", f"{_count(run.trained.steps)} steps"))
    facts.append(("Ended by", run.trained.ended))
    best = _best(run.trained.history)
    if best is not None:
        episodes = run.model.record.get("outcome", {}).get("valid_episodes")
        among = f", {episodes} episodes" if episodes else ""
        accuracy, ci95 = best.accuracy or 0.0, best.ci95 if best.ci95 is not None else math.nan
        facts.append((f"Validation {_score(run)}", f"{_percent(accuracy)} ± {_percent(ci95)} %{among}"))
    return facts


def _score(run: FinishedRun) -> str:
    """What the model was chosen by, in words."""
    return str(run.model.record.get("outcome", {}).get("score", "accuracy")).replace("_", " ")


def _best(history: Sequence[_Step]) -> _Step | None:
    validated = [p for p in history if p.accuracy is not None]
    return max(validated, key=lambda p: p.accuracy or 0.0, default=None)


def _curves(history: Sequence[_Step], score: str = "accuracy") -> tuple[Markup, ...]:
    """Validation score and training loss over time, as drawings."""
    if not history:
        return ()
    unit, name = (60.0, "min") if history[-1].elapsed > 180 else (1.0, "s")
    drawings = []
    validated = [p for p in history if p.accuracy is not None]
    if validated:
        time = [p.elapsed / unit for p in validated]
        accuracy = [100 * (p.accuracy or 0.0) for p in validated]
        band = [100 * (p.ci95 or 0.0) for p in validated]
        kept = next(i for i, p in enumerate(validated) if p is _best(history))
        names = (f"time ({name})", f"validation {score} (%)")
        drawings.append(curve(time, accuracy, names, band=band, ring=kept))
    time = [p.elapsed / unit for p in history]
    drawings.append(curve(time, [p.loss for p in history], (f"time ({name})", "training loss")))
    return tuple(drawings)
