"""Peak memory of one call, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable

__all__ = ["peak_mib"]


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
