"""The folder of a run: whether its model, report and metrics may be written there."""

from __future__ import annotations

import json
from pathlib import Path

from metamodal.errors import OutputError
from metamodal.manifest import check_artifact_folder, is_artifact
from metamodal.storage import check_file

__all__ = ["check_run_folder"]

_FILES = ("report.html", "metrics.jsonl", "evaluation.json")  # beside the folder of the model


def check_run_folder(out: Path) -> None:
    """OutputError unless a run may write its model, report and metrics here without a loss to anyone."""
    check_artifact_folder(out / "model")
    for name in _FILES:
        check_file(out / name)
    if not is_artifact(out / "model"):
        others = [name for name in _FILES if (out / name).exists() and not _is_log(out / name)]
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
