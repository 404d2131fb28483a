"""The parameters on their way: one optimiser step after another, by the clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from metamodal.errors import OptionError
from metamodal.training.context import Context
from metamodal.training.episodes.sampler import EpisodeSampler
from metamodal.training.loop.progress import Progress
from metamodal.training.loop.workers import Workers
from metamodal.training.losses.diagnosis import Diagnosis, diagnosed
from metamodal.training.losses.multi_loss import MultiLoss
from metamodal.training.losses.weighing import Gap
from metamodal.training.options import OptimiserOptions, TrainOptions
from metamodal.traits import Trait, decays
from metamodal.types import Params

__all__ = ["Trainer"]


class Trainer:
    """Parameters, their running mean, and the clock.

    Args:
        start: parameters to go on from; by default the engine's initial ones.
    """

    def __init__(self, context: Context, options: TrainOptions, start: Params | None = None) -> None:
        self.context, self.options, engine = context, options, context.engine
        if options.workers > 1 and context.device.type != "cpu":
            raise OptionError(
                f"train.workers={options.workers}: one process has the device {context.device.type} to itself. Set train.workers=1, "
                "or device=cpu."
            )
        self.sampler = EpisodeSampler(context)
        self.loss_terms = MultiLoss(context, self.sampler, options)
        begin = dict(start or engine.initial()) | self.loss_terms.start
        self.params = {k: v.detach().clone().to(context.device).requires_grad_() for k, v in begin.items()}
        self.mean = {k: v.detach().clone() for k, v in self.params.items()}
        traits = engine.traits | self.loss_terms.traits
        self.optimiser = torch.optim.AdamW(_groups(self.params, traits, self.options.optimiser))
        self.step, self.loss, self.began = 0, math.nan, time.perf_counter()
        size = sum(v.numel() for v in self.params.values())
        self.number, self.weights = 0, torch.zeros(size).share_memory_()
        self.workers = Workers(self.options.workers, self._job, self.loss_terms.size(self.params))

    def steps(self) -> Iterator[tuple[Progress, bool]]:
        """One optimiser step after another, each with whether a validation is due."""
        validated = 0
        while self._share() < 1 and self._elapsed() < self.options.budget:
            for group in self.optimiser.param_groups:
                group["lr"] = group["highest"] * 0.5 * (1 + math.cos(math.pi * self._share()))
            self._take_step()
            due = (
                int(self._share() * self.options.validation.count) > validated
                or self._share() >= 1
                or self._elapsed() >= self.options.budget
            )
            if due:
                validated = int(self._share() * self.options.validation.count)
            yield self.progress(), due

    def averaged(self) -> Params:
        return {k: v.clone() for k, v in self.mean.items() if k not in self.loss_terms.traits}

    def validated(self, gap: Callable[[Params], Gap]) -> None:
        """Let the weighing of the losses see a validation, or the start."""
        self.loss_terms.validated(lambda: gap(self.averaged()))

    def diagnosed(self) -> Diagnosis:
        """What each loss does to the weights as they are."""
        return diagnosed(self.loss_terms, self.params, self.step)

    def progress(self, **result: float | bool | Diagnosis | None) -> Progress:
        elapsed = self._elapsed()
        left = elapsed / max(self._share(), 1e-9) - elapsed
        rate = self.step * self.sampler.count * self.options.workers / max(elapsed, 1e-9)
        return Progress(self.step, elapsed, max(0.0, left), self.loss, rate, **result)  # type: ignore[arg-type]

    def _share(self) -> float:
        """How much of training is done: of its steps, where their number is said, else of its time."""
        if self.options.steps:
            return self.step / self.options.steps
        return self._elapsed() / self.options.budget

    def _elapsed(self) -> float:
        return time.perf_counter() - self.began

    def _take_step(self) -> None:
        value = self._fill_gradients()
        torch.nn.utils.clip_grad_norm_(list(self.params.values()), self.options.optimiser.clip)
        self.optimiser.step()
        self.step += 1
        self.loss = value if math.isnan(self.loss) else 0.98 * self.loss + 0.02 * value
        keep = min(self.options.optimiser.averaging, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, mean in self.mean.items():
                mean.lerp_(self.params[name], 1 - keep)

    def _fill_gradients(self) -> float:
        """The gradient of a step's episodes in every parameter, those of other workers among them."""
        if self.workers.others:
            with torch.no_grad():
                torch.cat([v.flatten() for v in self.params.values()], out=self.weights)
        outcome = self.loss_terms.parsed(self.workers.mean())
        gradient = self.loss_terms.balanced(outcome, self.params)
        for value, part in zip(
            self.params.values(), gradient.split([v.numel() for v in self.params.values()])
        ):
            value.grad = part.view_as(value)
        self.loss_terms.stepped(outcome)
        return float(outcome.value)

    def _job(self, number: int) -> Tensor:
        """What a step finds at the shared weights, as one vector."""
        if number and self.number != number:
            self.number = number
            self.sampler.reseed(number)
        if number:
            parts = self.weights.split([v.numel() for v in self.params.values()])
            with torch.no_grad():
                for value, part in zip(self.params.values(), parts):
                    value.copy_(part.view_as(value))
        return self.loss_terms.outcome(self.params)


def _groups(params: Params, traits: dict[str, Trait], options: OptimiserOptions) -> list[dict[str, Any]]:
    """Parameters by learning rate and weight decay, as they declare."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, value in params.items():
        trait = traits[name]
        highest = trait.rate * (options.pretrained_lr if trait.pretrained else options.lr)
        decay = options.weight_decay if decays(trait, value) else 0.0
        groups.setdefault((highest, decay), []).append(value)
    return [
        {"params": chosen, "weight_decay": decay, "lr": highest, "highest": highest}
        for (highest, decay), chosen in groups.items()
    ]
