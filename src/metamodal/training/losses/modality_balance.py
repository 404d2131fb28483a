"""Balance of modalities: the encoder of the one that is ahead learns more slowly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from metamodal.outputs import Output
from metamodal.registry import Registry
from metamodal.training.losses.step import Step

__all__ = ["ModalityBalance", "Unbalanced", "modality_balances", "scores"]


@runtime_checkable
class ModalityBalance(Protocol):
    """A rule that scales the gradient of each modality's encoder, so that the strongest does not learn alone.

    A modality that fits the task fast can leave the others untrained. `modulation` slows the one that is ahead:

    >>> from metamodal.extend import modality_balances
    >>> balance = modality_balances["modulation"]()
    >>> {name: round(f, 2) for name, f in balance.factors({"voice": 0.8, "image": 0.2}).items()}
    {'voice': 0.17}

    Attributes:
        scored: whether it needs the score of each modality by itself in every step, which costs a forward pass each.

    Source: Peng et al. (2022), *Balanced multimodal learning via on-the-fly gradient modulation*.
    """

    @property
    def scored(self) -> bool:
        """Whether it needs to know how good each modality is by itself, in every step."""
        ...

    def factors(self, scores: Mapping[str, float]) -> dict[str, float]:
        """What each modality's gradient is multiplied by; 1 where a modality is not named."""
        ...

    def changed(self, gradient: Tensor, factor: float, generator: Generator) -> Tensor:
        """The gradient of one tensor of a modality's encoder under a factor other than 1."""
        ...


modality_balances: Registry[type[ModalityBalance]] = Registry("modality_balance", contrib="modality_balance")
"""Balances of modalities by name, frozen dataclasses of their options."""


@modality_balances.register("none")
@dataclass(frozen=True)
class Unbalanced:
    """Gradients stay as they are."""

    @property
    def scored(self) -> bool:
        return False

    def factors(self, scores: Mapping[str, float]) -> dict[str, float]:
        return {}

    def changed(self, gradient: Tensor, factor: float, generator: Generator) -> Tensor:
        return gradient


def scores(step: Step) -> Tensor:
    """How good each modality `(m)` is by itself: of the query rows that have it the mean of `exp(−loss)`.

    Of classes that is the probability of the right one. A modality that no query row has scores 0.
    """
    output: Output = step.context.engine.output
    found = []
    for name in step.drawn.rows.inputs:
        targets = step.known(step.episodes.query.targets, name)
        counts = output.weights(targets) > 0
        likely = torch.exp(-output.losses(step.unimodal(name).detach(), targets))
        found.append((likely * counts).sum() / counts.sum().clamp(min=1))
    return torch.stack(found)
