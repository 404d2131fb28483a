"""What every benchmark prints: one JSON line a case, and the peak memory of one call in a process of its own."""

from __future__ import annotations

import json
import multiprocessing
import resource
from collections.abc import Callable
from typing import Any

__all__ = ["peak_mib", "print_line"]


def print_line(
    case: str,
    *,
    formulation: str,
    baseline: str | None = None,
    order: str | None = None,
    seconds: float | None = None,
    baseline_seconds: float | None = None,
    peak_mb: float | None = None,
    repeats: int = 1,
    **more: Any,
) -> dict[str, Any]:
    """One line, also returned. The speed-up is the baseline's time over ours; what was not measured is null.

    Args:
        order: of the derivatives of a meta-gradient, `first` or `second`.
        formulation: how ours works it out.
        more: what else was measured.
    """
    timed = seconds is not None and baseline_seconds is not None
    line = {
        "case": case,
        "order": order,
        "formulation": formulation,
        "baseline": baseline,
        "speedup": round(baseline_seconds / seconds, 2) if timed else None,  # type: ignore[operator]
        "ms": None if seconds is None else round(1000 * seconds, 2),
        "peak_mb": None if peak_mb is None else round(peak_mb, 1),
        "repeats": repeats,
        **more,
    }
    print(json.dumps(line, ensure_ascii=False), flush=True)
    return line


def peak_mib(run: Callable[[], object]) -> float:
    """MiB that a call adds to this process at its peak."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def measure() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run()
        theirs.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)

    process = context.Process(target=measure)
    process.start()
    theirs.close()
    peak = ours.recv()
    process.join()
    return float(peak)
