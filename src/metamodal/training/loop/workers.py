"""One single-thread process a core: each works out its own share, the shares are averaged."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType

import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.errors import MetamodalError

__all__ = ["WorkerDiedError", "Workers"]


class WorkerDiedError(MetamodalError):
    """A worker process ended without a word: killed, or out of memory."""


class Workers:
    """`count` processes, this one among them, that do a job at the same time and share the outcome.

    A job is forked with everything it refers to, so that tables are not copied; what changes later
    reaches it only through tensors in shared memory. Where processes cannot fork, there is one worker.

    Args:
        job: of a worker's number, gives `size` values.

    >>> with Workers(2, lambda number: torch.tensor([1.0, number]), 2) as workers:
    ...     workers.mean()
    tensor([1.0000, 0.5000])
    """

    def __init__(self, count: int, job: Callable[[int], Tensor], size: int) -> None:
        able = "fork" in multiprocessing.get_all_start_methods()
        self.job, self.others = job, count - 1 if able else 0
        self.shares = torch.zeros(self.others, size).share_memory_()
        self.threads = torch.get_num_threads()
        self.pipes: list[Connection] = []
        self.processes: list[multiprocessing.process.BaseProcess] = []

    def __enter__(self) -> Workers:
        if not self.others:
            return self
        torch.set_num_threads(1)
        context = multiprocessing.get_context("fork")
        for number in range(1, self.others + 1):
            ours, theirs = context.Pipe()
            process = context.Process(target=self._serve, args=(number, theirs, ours), daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)
        return self

    def mean(self) -> Float[Tensor, "n"]:
        """The mean of all workers' outcomes, once each has done the job anew.

        Raises:
            WorkerDiedError: another process was killed.
            RuntimeError: what went wrong in another process, with its traceback.
        """
        for number, pipe in enumerate(self.pipes):
            try:
                pipe.send(True)
            except OSError:
                raise self._died(number) from None
        total = self.job(0)
        for number, pipe in enumerate(self.pipes):
            try:
                failure = pipe.recv()
            except (EOFError, OSError):
                raise self._died(number) from None
            if failure:
                raise RuntimeError(f"worker {number + 1} failed:\n{failure}")
            total = total + self.shares[number]
        return total / (1 + len(self.pipes))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            process.join(timeout=5)
            process.kill()
        if self.others:
            torch.set_num_threads(self.threads)
        self.pipes, self.processes = [], []

    def _died(self, number: int) -> WorkerDiedError:
        return WorkerDiedError(
            f"worker process {number + 1} ended unexpectedly: killed, or out of memory. Use fewer: train.workers=1."
        )

    def _serve(self, number: int, pipe: Connection, far: Connection) -> None:
        """A worker's life: the job whenever asked, until nobody is there to ask."""
        import signal

        for each in (signal.SIGINT, signal.SIGTERM):  # interrupts are for the first process to answer
            signal.signal(each, signal.SIG_IGN)
        for other in (*self.pipes, far):  # else nobody's end would end this one
            other.close()
        while True:
            try:
                pipe.recv()
            except EOFError:
                return
            try:
                self.shares[number - 1] = self.job(number)
                pipe.send(None)
            except Exception:
                pipe.send(traceback.format_exc())
