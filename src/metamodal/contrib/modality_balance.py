"""Modulation: the encoder of the modality that is ahead learns more slowly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import NonNegativeFloat
from torch import Generator, Tensor

from metamodal.training.losses.modality_balance import modality_balances

__all__ = ["Modulation"]


@modality_balances.register("modulation")
@dataclass(frozen=True)
class Modulation:
    """On-the-fly gradient modulation, with generalisation enhancement by `noise` (OGM-GE: Peng et al., 2022).

    With `ρ` a modality's score over the mean of the others', its gradient is multiplied by
    `1 − tanh(alpha ρ)` where `ρ > 1`; one that no query row of the step has is no measure. `noise` times the gradient's standard deviation, drawn anew in
    every step, is then added to what was scaled.
    """

    alpha: NonNegativeFloat = 0.3
    noise: NonNegativeFloat = 0.0

    @property
    def scored(self) -> bool:
        return True

    def factors(self, scores: Mapping[str, float]) -> dict[str, float]:
        found = {}
        for name, score in scores.items():
            others = [other for m, other in scores.items() if m != name and other > 0]
            if others and score > (mean := sum(others) / len(others)) > 0:
                found[name] = 1 - math.tanh(self.alpha * score / mean)
        return found

    def changed(self, gradient: Tensor, factor: float, generator: Generator) -> Tensor:
        scaled = factor * gradient
        if not self.noise or gradient.numel() < 2:
            return scaled
        noise = torch.randn(gradient.shape, generator=generator).to(gradient.device)
        return scaled + self.noise * gradient.std() * noise
