"""One learner a modality, each trusted as far as it explains this task's support set."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from metamodal.errors import OptionError
from metamodal.meta.learners.protocol import SelfTesting, learners, own, seen
from metamodal.meta.learners.ridge import Ridge
from metamodal.outputs import CLASSES, Output
from metamodal.types import Batch, Embed, Learner, Params, Setting

__all__ = ["PerModality"]

JOINT = "joint"


@learners.register("per_modality")
@dataclass(frozen=True)
class PerModality:
    """Late fusion `Σ_v w_v s_v(x)` of voices `v`: each modality alone, and all of them fused.

    The weights are a maximum a posteriori estimate in every task anew: they minimise the
    cross-entropy of the support rows under their leave-one-out logits, plus
    `½ τ Σ (w_v / μ_v − 1)²`. The prior means `μ_v` and its strength `τ` are meta-learned. With one
    example a class leave-one-out says nothing and the prior decides; with more, the support does.
    A voice that cannot see a row or a class is silent about it.

    Args:
        base: the learner of each voice; it must be able to test itself (`leave_one_out`).
        joint: whether the fusion of all modalities is a voice too.
        newton: Newton steps on the weights.
        strength: the starting value of `τ`.
    """

    base: Learner = field(default_factory=Ridge)
    joint: bool = True
    newton: int = 4
    strength: float = 4.0

    def __post_init__(self) -> None:
        if not isinstance(self.base, SelfTesting):
            raise OptionError(
                f"per_modality: {type(self.base).__name__} has no leave-one-out predictions. Say base=ridge or prototypes."
            )

    @property
    def reads(self) -> str:
        return self.base.reads

    def parameters(self, setting: Setting) -> Params:
        voices = _voices(setting.modalities, self.joint)
        params: Params = {"log_strength": torch.tensor(math.log(self.strength))}
        for voice in voices:
            params[f"{voice}.trust"] = torch.tensor(_inverse_softplus(1.0 / len(voices)))
            params |= {f"{voice}.{k}": v for k, v in self.base.parameters(setting).items()}
        return params

    def adapt(self, fn: Embed, params: Params, support: Batch) -> tuple[dict[str, Any], Tensor]:
        """The state of each voice, and the voices' weights `(*t, v)`."""
        states, tests = {}, []
        for voice, batch, voice_params in self._split(params, support):
            states[voice] = self.base.adapt(fn, voice_params, batch)
            tests.append(self.base.leave_one_out(fn, voice_params, states[voice], batch))  # type: ignore[attr-defined]
        trust = F.softplus(torch.stack([own(params, f"{voice}.trust") for voice in states]))
        strength = own(params, "log_strength").exp()
        stacked = self._filled(fn.output, tests, support)
        return states, self._weights(stacked, support.targets, trust, strength, fn.output)

    def predict(
        self, fn: Embed, params: Params, adapted: tuple[dict[str, Any], Tensor], query: Batch
    ) -> Float[Tensor, "*t q k"]:
        states, weights = adapted
        return (self.votes(fn, params, states, query) * weights[..., None, None, :]).sum(-1)

    def votes(
        self, fn: Embed, params: Params, states: dict[str, Any], query: Batch
    ) -> Float[Tensor, "*t q k v"]:
        """The logits of every voice, before they are weighed."""
        votes = [
            self.base.predict(fn, voice_params, states[voice], batch)
            for voice, batch, voice_params in self._split(params, query)
        ]
        return self._filled(fn.output, votes, query)

    def _split(self, params: Params, batch: Batch) -> list[tuple[str, Batch, Params]]:
        """Each voice with the modalities it sees and the parameters it goes by."""
        found = []
        for voice in _voices(tuple(batch.inputs), self.joint):
            mine = f"learner.{voice}."
            renamed = {f"learner.{k[len(mine) :]}": v for k, v in params.items() if k.startswith(mine)}
            found.append((voice, batch if voice == JOINT else batch.only([voice]), params | renamed))
        return found

    def _filled(self, output: Output, votes: list[Tensor], batch: Batch) -> Float[Tensor, "*t n k v"]:
        """The votes side by side. Of labels and numbers, where 0 is an answer and not silence, a voice
        that cannot see a row says what all of them together say."""
        stacked = torch.stack(votes, -1)
        if not output.fixed or len(votes) == len(batch.inputs):
            return stacked
        there = torch.stack([*batch.present.values(), seen(batch)], -1)[..., None, :]
        return torch.where(there, stacked, stacked[..., -1:])

    def _weights(
        self, tests: Tensor, targets: Tensor, trust: Tensor, strength: Tensor, output: Output = CLASSES
    ) -> Float[Tensor, "*t v"]:
        """Newton's method on the convex support loss, weights kept from falling below zero.

        `tests` is `(*t, s, k, v)`. A row of a class that has no other row does not count.
        """
        others = targets.sum(-2, keepdim=True) - targets
        counts = ((others * targets).sum(-1, keepdim=True) > 0) | torch.tensor(output.fixed)
        penalty = strength / trust.square()
        w = trust.expand(*tests.shape[:-3], -1)
        for _ in range(self.newton):
            logits = (tests * w[..., None, None, :]).sum(-1)
            error = output.slopes(logits, targets) * counts
            gradient = torch.einsum("...sk,...skv->...v", error, tests) + penalty * (w - trust)
            bend = output.bends(logits, targets) * counts
            spread = tests
            if not output.fixed:
                spread = tests - (output.link(logits)[..., None] * tests).sum(-2, keepdim=True)
            hessian = torch.einsum("...sk,...skv,...sku->...vu", bend, spread, spread) + torch.diag(penalty)
            w = (w - torch.linalg.solve(hessian, gradient)).clamp(min=0)
        return w


def _voices(modalities: tuple[str, ...], joint: bool) -> tuple[str, ...]:
    return (*modalities, JOINT) if joint and len(modalities) > 1 else modalities


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
