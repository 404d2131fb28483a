"""Training's progress for people: a bar on a terminal, a line a validation elsewhere."""

from __future__ import annotations

import sys

from metamodal.training.loop.progress import Progress

__all__ = ["Bar"]


class Bar:
    """Shows each progress of a training on standard error.

    Args:
        budget: the seconds of training, where the bar ends.
        score: what validations measure, as in `SCORES`.
    """

    def __init__(self, budget: float, score: str = "accuracy", *, quiet: bool = False) -> None:
        self.budget, self.quiet, self.bar = budget, quiet, None
        self.unit = "%" if score == "accuracy" else f"% {score.replace('_', ' ')}"
        self.accuracy = "-"
        if sys.stderr.isatty() and not quiet:
            from tqdm import tqdm

            form = "{l_bar}{bar}| {elapsed}<{remaining} {postfix}"
            self.bar = tqdm(total=budget, bar_format=form, file=sys.stderr, dynamic_ncols=True)

    def __call__(self, p: Progress) -> None:
        if p.validated and p.accuracy is not None:
            self.accuracy = f"{100 * p.accuracy:.1f} ± {100 * (p.ci95 or 0):.1f} {self.unit}"
        candidate = f"{p.candidate}: " if p.candidate else ""
        state = f"loss {p.loss:.3f} · validation {self.accuracy} · {p.episodes_per_second:.1f} episodes/s"
        if self.bar is not None:
            self.bar.n = min(self.budget, p.elapsed)
            self.bar.set_postfix_str(f"{candidate}{state}")
        elif p.validated and not self.quiet:
            line = f"{candidate}step {p.step} · {state} · {p.left:.0f} s left"
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
