"""The folder of a run: whether its model, report and metrics may be written there, by one run at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from metamodal.errors import OutputError
from metamodal.manifest import check_artifact_folder, is_artifact
from metamodal.storage import check_file, explained, locked, made

__all__ = ["run_folder"]

_FILES = ("report.html", "metrics.jsonl", "evaluation.json")  # beside the folder of the model


@contextmanager
def run_folder(out: Path) -> Iterator[None]:
    """A run's folder, made if need be, which no other run writes to meanwhile; left empty, it goes again.

    Raises:
        OutputError: files of others are there, another run writes there, or nothing can be written.
    """
    _check(out)
    with explained(out):
        new = made(out)
    try:
        with locked(out.resolve(), wait=False):
            yield
    finally:
        with suppress(OSError):  # not empty: that is what it was made for
            for path in new:
                path.rmdir()


def _check(out: Path) -> None:
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
