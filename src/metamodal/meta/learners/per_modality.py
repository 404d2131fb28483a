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

JOINT, MEMORY = "joint", "memory"
_FICKLE = 0.25  # how strong a prior is beside others' where it is of a memory: these differ more by task


@learners.register("per_modality")
@dataclass(frozen=True)
class PerModality:
    """Late fusion `Σ_v w_v s_v(x)` of voices `v`: each modality alone, and all of them fused.

    The weights are a maximum a posteriori estimate in every task anew: they minimise the
    cross-entropy of the support rows under their leave-one-out logits, plus
    `½ τ Σ (w_v / μ_v − 1)²`. The prior means `μ_v` and its strength `τ` are meta-learned. With one
    example a class leave-one-out says nothing and the prior decides; with more, the support does.
    A voice that cannot see a row or a class is silent about it.

    Where classes are known by name, each voice has a second one that speaks from memory: a linear
    classifier of the names, the population's answer, that no support row changes. It is fitted when
    training ends (`metamodal.training.memory`); before, it is silent.

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
                f"per_modality: {type(self.base).__name__} has no leave-one-out predictions. Set base=ridge or prototypes."
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
        if "model.describer.names" in setting.model:
            names = len(setting.model["model.describer.names"])
            for voice in voices:
                params[f"{voice}.{MEMORY}.weight"] = torch.zeros(names, setting.dim)
                params[f"{voice}.{MEMORY}.bias"] = torch.zeros(names)
                params[f"{voice}.{MEMORY}.trust"] = torch.tensor(0.0)
        return params

    def adapt(
        self, fn: Embed, params: Params, support: Batch
    ) -> tuple[dict[str, Any], Tensor] | tuple[dict[str, Any], Tensor, Tensor]:
        """The state of each voice, the voices' weights `(*t, v)`, and the names `(*t, k)` where voices that speak
        from memory go by them."""
        states, tests = {}, []
        for voice, batch, voice_params in self.split(params, support):
            states[voice] = self.base.adapt(fn, voice_params, batch)
            tests.append(self.base.leave_one_out(fn, voice_params, states[voice], batch))  # type: ignore[attr-defined]
        trust = F.softplus(torch.stack([own(params, f"{voice}.trust") for voice in states]))
        strength = own(params, "log_strength").exp()
        stacked = self._filled(fn.output, tests, support)
        names, remembered = support.about.get("name"), self._remembered(params, support)
        if names is None or not remembered.any():
            penalty = strength / trust.square()
            counts = _others(support.targets) | torch.tensor(fn.output.fixed)
            return states, self._weights(stacked, support.targets, trust, penalty, counts, fn.output)
        # A memory has not seen the support, so that every row tests it, even the only one of its class.
        stacked = stacked * _others(support.targets)[..., None]
        both = torch.cat([stacked, self._recalled(fn, params, names, support)], -1)
        penalty = torch.cat(
            [strength / trust.square(), _FICKLE * strength / remembered.square().clamp(min=1e-6)]
        )
        trust, counts = torch.cat([trust, remembered]), seen(support)[..., None]
        return states, self._weights(both, support.targets, trust, penalty, counts), names

    def predict(
        self, fn: Embed, params: Params, adapted: tuple[Any, ...], query: Batch
    ) -> Float[Tensor, "*t q k"]:
        states, weights, *names = adapted
        votes = self.votes(fn, params, states, query)
        if names:
            votes = torch.cat([votes, self._recalled(fn, params, names[0], query)], -1)
        return (votes * weights[..., None, None, :]).sum(-1)

    def leave_one_out(
        self, fn: Embed, params: Params, adapted: tuple[Any, ...], support: Batch
    ) -> Float[Tensor, "*t s k"]:
        """The voices' leave-one-out logits under the weights of this task, which all of the rows chose."""
        states, weights, *names = adapted
        tests = [
            self.base.leave_one_out(fn, voice_params, states[voice], batch)  # type: ignore[attr-defined]
            for voice, batch, voice_params in self.split(params, support)
        ]
        stacked = self._filled(fn.output, tests, support)
        if names:
            recalled = self._recalled(fn, params, names[0], support)
            stacked = torch.cat([stacked * _others(support.targets)[..., None], recalled], -1)
        return (stacked * weights[..., None, None, :]).sum(-1)

    def votes(
        self, fn: Embed, params: Params, states: dict[str, Any], query: Batch
    ) -> Float[Tensor, "*t q k v"]:
        """The logits of every voice, before they are weighed."""
        votes = [
            self.base.predict(fn, voice_params, states[voice], batch)
            for voice, batch, voice_params in self.split(params, query)
        ]
        return self._filled(fn.output, votes, query)

    def _remembered(self, params: Params, batch: Batch) -> Float[Tensor, " v"]:
        """How far each voice's memory is trusted; 0 where there is none."""
        voices = _voices(tuple(batch.inputs), self.joint)
        none = torch.tensor(0.0)
        return torch.stack([params.get(f"learner.{v}.{MEMORY}.trust", none) for v in voices])

    def _recalled(self, fn: Embed, params: Params, names: Tensor, batch: Batch) -> Float[Tensor, "*t n k v"]:
        """Each voice's logits from memory, centred over the classes that have a name; 0 where it is silent."""
        told = (names >= 0)[..., None, :].float()
        votes = []
        for _, mine, voice_params in self.split(params, batch):
            z = F.normalize(fn(params, mine), dim=-1)
            every = z @ own(voice_params, f"{MEMORY}.weight").mT + own(voice_params, f"{MEMORY}.bias")
            at = names.clamp(min=0)[..., None, :].expand(*every.shape[:-1], -1)
            logits = every.gather(-1, at) * told
            logits = logits - told * logits.sum(-1, keepdim=True) / told.sum(-1, keepdim=True).clamp(min=1)
            votes.append(logits * seen(mine)[..., None])
        return torch.stack(votes, -1)

    def split(self, params: Params, batch: Batch) -> list[tuple[str, Batch, Params]]:
        """Each voice with the modalities it sees and the parameters it goes by."""
        found = []
        for voice in _voices(tuple(batch.inputs), self.joint):
            mine = f"learner.{voice}."
            renamed = {f"learner.{k[len(mine) :]}": v for k, v in params.items() if k.startswith(mine)}
            found.append((voice, batch if voice == JOINT else _alone(batch, voice), params | renamed))
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
        self,
        tests: Tensor,
        targets: Tensor,
        trust: Tensor,
        penalty: Tensor,
        counts: Tensor,
        output: Output = CLASSES,
    ) -> Float[Tensor, "*t v"]:
        """Newton's method on the convex support loss, weights kept from falling below zero.

        Args:
            tests: `(*t, s, k, v)`, what each voice says of each support row without it.
            trust, penalty: prior mean and strength of each weight, `(v)`.
            counts: which rows do, `(*t, s, 1)`.
        """
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


def _alone(batch: Batch, modality: str) -> Batch:
    """The rows through one modality. A description stands in for rows that a class has not, not for rows that
    this modality does not see: others do, and know more. A name that training knew is as good as rows."""
    mine = batch.only([modality])
    if "told" not in batch.about or not batch.targets.shape[-1]:
        return mine
    rows, visible = (((b.targets > 0) & seen(b)[..., None]).any(-2) for b in (batch, mine))
    heard = visible | ~rows | (batch.about["name"] >= 0 if "name" in batch.about else False)
    return mine._replace(about=batch.about | {"told": batch.about["told"] & heard})


def _others(targets: Tensor) -> Tensor:
    """Which rows `(*t, s, 1)` are of a class that has another row."""
    others = targets.sum(-2, keepdim=True) - targets
    return (others * targets).sum(-1, keepdim=True) > 0


def _voices(modalities: tuple[str, ...], joint: bool) -> tuple[str, ...]:
    return (*modalities, JOINT) if joint and len(modalities) > 1 else modalities


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
