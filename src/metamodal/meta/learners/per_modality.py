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
from metamodal.meta.learners.protocol import SelfTesting, learners, own
from metamodal.meta.learners.ridge import Ridge
from metamodal.types import Batch, Embed, Learner, Params

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

    def parameters(self, modalities: tuple[str, ...]) -> Params:
        voices = _voices(modalities, self.joint)
        params: Params = {"log_strength": torch.tensor(math.log(self.strength))}
        for voice in voices:
            params[f"{voice}.trust"] = torch.tensor(_inverse_softplus(1.0 / len(voices)))
            params |= {f"{voice}.{k}": v for k, v in self.base.parameters(modalities).items()}
        return params

    def adapt(self, fn: Embed, params: Params, support: Batch) -> tuple[dict[str, Any], Tensor]:
        """The state of each voice, and the voices' weights `(v)`."""
        states, tests = {}, []
        for voice, batch, voice_params in self._split(params, support):
            states[voice] = self.base.adapt(fn, voice_params, batch)
            tests.append(self.base.leave_one_out(fn, voice_params, states[voice], batch))  # type: ignore[attr-defined]
        trust = F.softplus(torch.stack([own(params, f"{voice}.trust") for voice in states]))
        strength = own(params, "log_strength").exp()
        return states, self._weights(torch.stack(tests, -1), support.targets, trust, strength)

    def predict(
        self, fn: Embed, params: Params, adapted: tuple[dict[str, Any], Tensor], query: Batch
    ) -> Float[Tensor, "q k"]:
        states, weights = adapted
        return (self.votes(fn, params, states, query) * weights).sum(-1)

    def votes(
        self, fn: Embed, params: Params, states: dict[str, Any], query: Batch
    ) -> Float[Tensor, "q k v"]:
        """The logits of every voice, before they are weighed."""
        return torch.stack(
            [
                self.base.predict(fn, voice_params, states[voice], batch)
                for voice, batch, voice_params in self._split(params, query)
            ],
            -1,
        )

    def _split(self, params: Params, batch: Batch) -> list[tuple[str, Batch, Params]]:
        """Each voice with the modalities it sees and the parameters it goes by."""
        found = []
        for voice in _voices(tuple(batch.inputs), self.joint):
            mine = f"learner.{voice}."
            renamed = {f"learner.{k[len(mine) :]}": v for k, v in params.items() if k.startswith(mine)}
            found.append((voice, batch if voice == JOINT else batch.only([voice]), params | renamed))
        return found

    def _weights(self, tests: Tensor, targets: Tensor, trust: Tensor, strength: Tensor) -> Float[Tensor, "v"]:
        """Newton's method on the convex support loss, weights kept from falling below zero.

        `tests` is `(s, k, v)`. A row counts if its class has another row to be known by.
        """
        others = targets.sum(0) - targets
        counts = ((others * targets).sum(1) > 0).to(tests.dtype)[:, None]
        penalty = strength / trust.square()
        w = trust
        for _ in range(self.newton):
            p = torch.softmax((tests * w).sum(-1), -1)
            error = (p - targets) * counts
            gradient = torch.einsum("sk,skv->v", error, tests) + penalty * (w - trust)
            mean = torch.einsum("sk,skv->sv", p, tests)
            spread = (tests - mean[:, None]) * counts[..., None]
            hessian = torch.einsum("sk,skv,sku->vu", p, spread, spread) + torch.diag(penalty)
            w = (w - torch.linalg.solve(hessian, gradient)).clamp(min=0)
        return w


def _voices(modalities: tuple[str, ...], joint: bool) -> tuple[str, ...]:
    return (*modalities, JOINT) if joint and len(modalities) > 1 else modalities


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
