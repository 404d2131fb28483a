"""The report: one HTML file that shows the data, the training, the scores and whole episodes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from markupsafe import Markup

from metamodal.data.dataset import Dataset
from metamodal.evaluation.protocol import Evaluation
from metamodal.evaluation.retrieval import RANKS
from metamodal.experiment.runs import Run
from metamodal.mappings.cross_modal_maps import without_maps
from metamodal.reporting.class_views import DataView, episode_views, score_views
from metamodal.reporting.classless_views import classless_episodes, classless_tests
from metamodal.reporting.loss_views import loss_view
from metamodal.reporting.pictures import curve
from metamodal.reporting.templates import number, percent, template
from metamodal.storage import write_text
from metamodal.training.loop.progress import Progress

__all__ = ["write_report"]


def write_report(path: Path, table: Dataset, evaluations: Sequence[Evaluation], run: Run | None) -> Path:
    """The path of one self-contained HTML page about a table, a training run and its evaluations.

    The page needs no network: pictures and styles are in it. The same input gives the same bytes, and the
    file appears whole or not at all. `Evaluation.report` is the short form for one evaluation.

    >>> import tempfile
    >>> import pandas as pd
    >>> from metamodal.data.dataset import read_table
    >>> pets = pd.DataFrame({"weight": [4.1, 30.0], "pet": ["cat", "dog"]})
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_report(folder / "report.html", read_table(pets, target="pet"), [], None).name
    'report.html'

    Args:
        path: the file to write.
        table: the data set that was evaluated; the episodes shown point into its rows.
        evaluations: what was measured, one section each; may be empty.
        run: the training run with its split and history, or `None`.

    Raises:
        OutputError: the file cannot be written.
    """
    data = DataView(table, run.split if run else table.split() if table.schema.role("split") else None)
    text = template("report.html").render(
        version=version("metamodal"),
        data=data,
        facts=_model_facts(evaluations, run),
        run=run,
        curves=_curves(run.trained.history, _score(run)) if run else (),
        score=_score(run) if run else "accuracy",
        board=run.model.record.get("outcome", {}).get("leaderboard", ()) if run else (),
        balance=run.model.record.get("outcome", {}).get("balance", ()) if run else (),
        notes=run.model.record.get("outcome", {}).get("notes", ()) if run else (),
        maps=_maps(run.model.record.get("outcome", {})) if run else [],
        evaluations=evaluations,
        ranks=RANKS,
        losses=loss_view(run.model.record.get("outcome", {}).get("losses", ())) if run else None,
        tests=score_views(evaluations, data),
        classless=classless_tests(evaluations),
        episodes=episode_views(evaluations, data),
        classless_episodes=classless_episodes(evaluations, data.draw),
    )
    return write_text(path, text)


def _model_facts(evaluations: Sequence[Evaluation], run: Run | None) -> list[tuple[str, str]]:
    facts = []
    if evaluations:
        facts.append(("Learner", evaluations[0].learner))
    if run is None:
        if evaluations:
            facts.append(("Modalities", ", ".join(evaluations[0].whole.modalities)))
        return facts
    weights = sum(p.numel() for p in without_maps(run.model.params).values())
    facts += [("Modalities", ", ".join(run.model.modalities)), ("Parameters", number(weights))]
    facts.append(("Training", f"{number(run.trained.steps)} steps"))
    facts.append(("Ended by", run.trained.ended))
    best = _best(run.trained.history)
    if best is not None:
        episodes = run.model.record.get("outcome", {}).get("valid_episodes")
        among = f", {episodes} episodes" if episodes else ""
        accuracy, ci95 = best.accuracy or 0.0, best.ci95 if best.ci95 is not None else math.nan
        facts.append((f"Validation {_score(run)}", f"{percent(accuracy)} ± {percent(ci95)} %{among}"))
    return facts


def _maps(outcome: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each kind of cross-modal map that was tried, at its best weight, the highest recall first."""
    found = []
    for name, recalls in outcome.get("maps", {}).items():
        weight, recall = max(recalls.items(), key=lambda pair: pair[1], default=("", None))
        if recall is not None:
            chosen = name == (outcome.get("mapping") or "none")
            found.append({"name": name, "weight": weight, "recall": recall, "chosen": chosen})
    return sorted(found, key=lambda row: -row["recall"])


def _score(run: Run) -> str:
    """What the model was chosen by, in words."""
    return str(run.model.record.get("outcome", {}).get("score", "accuracy")).replace("_", " ")


def _best(history: Sequence[Progress]) -> Progress | None:
    validated = [p for p in history if p.accuracy is not None]
    return max(validated, key=lambda p: p.accuracy or 0.0, default=None)


def _curves(history: Sequence[Progress], score: str = "accuracy") -> tuple[Markup, ...]:
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
