"""One learner a modality, each trusted as far as it explains this task's support set."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor

from metamodal.components import OneOf
from metamodal.errors import OptionError
from metamodal.meta.learners.protocol import QUICK, SelfTesting, learners, own, scalar, seen
from metamodal.meta.learners.ridge import Ridge
from metamodal.outputs import CLASSIFICATION, Output
from metamodal.traits import declared
from metamodal.types import Batch, Embed, Learner, Params, Setting

__all__ = ["PerModality"]

JOINT, PRIOR = "joint", "class_prior"
_FICKLE = 0.25  # how strong a prior is beside others' where it is of a memory: these differ more by task


@learners.register("per_modality")
@dataclass(frozen=True)
class PerModality:
    """Late fusion `Σ_v w_v s_v(x)` of classifiers `v`: one of each modality alone, and one of all of them fused.

    The weights are a maximum a posteriori estimate in every task anew: they minimise the
    cross-entropy of the support rows under their leave-one-out logits, plus
    `½ τ Σ (w_v / μ_v − 1)²`. The prior means `μ_v` and its strength `τ` are meta-learned. With one
    example a class leave-one-out says nothing and the prior decides; with more, the support does.
    A classifier that lacks a row's modality, or a class in the support, contributes nothing to it.

    Where classes are known by name, each classifier has a known-class prior beside it: a linear classifier of
    the class names of training, which no support row changes. It is fitted after training
    (`metamodal.training.after.class_prior`); before, its weight is zero.

    Args:
        base: the learner of each modality; it must have leave-one-out predictions (`leave_one_out`).
        joint: whether the fusion of all modalities has a classifier too.
        newton: Newton steps on the weights.
        strength: the starting value of `τ`.
    """

    base: Annotated[Learner, OneOf(learners, "ridge")] = field(default_factory=Ridge)
    joint: bool = True
    newton: NonNegativeInt = 4
    strength: PositiveFloat = 4.0

    def __post_init__(self) -> None:
        if not isinstance(self.base, SelfTesting):
            raise OptionError(
                f"per_modality: {type(self.base).__name__} has no leave-one-out predictions. Set base=ridge or prototypes."
            )

    @property
    def reads(self) -> str:
        return self.base.reads

    def parameters(self, setting: Setting) -> Params:
        classifiers = _classifiers(setting.modalities, self.joint)
        params: Params = {"log_strength": scalar(setting, math.log(self.strength), shrinks=1)}
        for name in classifiers:
            params[f"{name}.fusion_weight"] = scalar(
                setting, _inverse_softplus(1.0 / len(classifiers)), rate=QUICK
            )
            params |= {f"{name}.{k}": v for k, v in self.base.parameters(setting).items()}
        if "model.class_encoder.names" in setting.model:
            names = len(setting.model["model.class_encoder.names"])
            for name in classifiers:
                params[f"{name}.{PRIOR}.weight"] = declared(torch.zeros(names, setting.dim), fitted=True)
                params[f"{name}.{PRIOR}.bias"] = declared(torch.zeros(names), fitted=True)
                params[f"{name}.{PRIOR}.scale"] = scalar(setting, 0.0, rate=QUICK, settled=True, fitted=True)
        return params

    def adapt(
        self, fn: Embed, params: Params, support: Batch
    ) -> tuple[dict[str, Any], Tensor] | tuple[dict[str, Any], Tensor, Tensor]:
        """The state of each classifier, the classifiers' weights `(*t, v)`, and the names `(*t, k)` where priors
        of class names take part."""
        states, tests = {}, []
        for name, batch, own_params in self.split(params, support):
            states[name] = self.base.adapt(fn, own_params, batch)
            tests.append(self.base.leave_one_out(fn, own_params, states[name], batch))  # type: ignore[attr-defined]
        prior_mean = F.softplus(torch.stack([own(params, f"{name}.fusion_weight") for name in states]))
        strength = own(params, "log_strength").exp()
        stacked = self._filled(fn.output, tests, support)
        names, prior_scale = support.class_info.get("name"), self._prior_scales(params, support)
        if names is None or not prior_scale.any():
            penalty = strength / prior_mean.square()
            counts = _others(support.targets) | (not fn.output.has_classes)
            return states, self._weights(stacked, support.targets, prior_mean, penalty, counts, fn.output)
        # The prior was not fitted to the support, so every support row tests it, even the only one of its class.
        stacked = stacked * _others(support.targets)[..., None]
        both = torch.cat([stacked, self._prior_logits(fn, params, names, support)], -1)
        penalty = torch.cat(
            [strength / prior_mean.square(), _FICKLE * strength / prior_scale.square().clamp(min=1e-6)]
        )
        prior_mean, counts = torch.cat([prior_mean, prior_scale]), seen(support)[..., None]
        return states, self._weights(both, support.targets, prior_mean, penalty, counts), names

    def predict(
        self, fn: Embed, params: Params, adapted: tuple[Any, ...], query: Batch
    ) -> Float[Tensor, "*t q k"]:
        states, weights, *names = adapted
        votes = self.votes(fn, params, states, query)
        if names:
            votes = torch.cat([votes, self._prior_logits(fn, params, names[0], query)], -1)
        return (votes * weights[..., None, None, :]).sum(-1)

    def leave_one_out(
        self, fn: Embed, params: Params, adapted: tuple[Any, ...], support: Batch
    ) -> Float[Tensor, "*t s k"]:
        """The classifiers' leave-one-out logits under the weights of this task, which all of the rows chose."""
        states, weights, *names = adapted
        tests = [
            self.base.leave_one_out(fn, own_params, states[name], batch)  # type: ignore[attr-defined]
            for name, batch, own_params in self.split(params, support)
        ]
        stacked = self._filled(fn.output, tests, support)
        if names:
            prior_logits = self._prior_logits(fn, params, names[0], support)
            stacked = torch.cat([stacked * _others(support.targets)[..., None], prior_logits], -1)
        return (stacked * weights[..., None, None, :]).sum(-1)

    def fusion_weights(self, adapted: tuple[Any, ...]) -> dict[str, float]:
        """The share of each classifier, with that of its class prior where there is one."""
        states, weights, *_ = adapted
        values = weights.detach().reshape(-1, len(states)).sum(0)
        return dict(zip(states, (values / values.sum().clamp(min=1e-12)).tolist()))

    def votes(
        self, fn: Embed, params: Params, states: dict[str, Any], query: Batch
    ) -> Float[Tensor, "*t q k v"]:
        """The logits of every name, before they are weighed."""
        votes = [
            self.base.predict(fn, own_params, states[name], batch)
            for name, batch, own_params in self.split(params, query)
        ]
        return self._filled(fn.output, votes, query)

    def _prior_scales(self, params: Params, batch: Batch) -> Float[Tensor, " v"]:
        """How far each name's memory is trusted; 0 where there is none."""
        classifiers = _classifiers(tuple(batch.inputs), self.joint)
        none = own(params, "log_strength").new_zeros(())
        return torch.stack([params.get(f"learner.{v}.{PRIOR}.scale", none) for v in classifiers])

    def _prior_logits(
        self, fn: Embed, params: Params, names: Tensor, batch: Batch
    ) -> Float[Tensor, "*t n k v"]:
        """Each name's logits from memory, centred over the classes that have a name; 0 where it is silent."""
        known = (names >= 0)[..., None, :].float()
        votes = []
        for _, mine, own_params in self.split(params, batch):
            z = F.normalize(fn(params, mine), dim=-1)
            every = z @ own(own_params, f"{PRIOR}.weight").mT + own(own_params, f"{PRIOR}.bias")
            at = names.clamp(min=0)[..., None, :].expand(*every.shape[:-1], -1)
            logits = every.gather(-1, at) * known
            logits = logits - known * logits.sum(-1, keepdim=True) / known.sum(-1, keepdim=True).clamp(min=1)
            votes.append(logits * seen(mine)[..., None])
        return torch.stack(votes, -1)

    def split(self, params: Params, batch: Batch) -> list[tuple[str, Batch, Params]]:
        """Each name with the modalities it sees and the parameters it goes by."""
        found = []
        for name in _classifiers(tuple(batch.inputs), self.joint):
            mine = f"learner.{name}."
            renamed = {f"learner.{k[len(mine) :]}": v for k, v in params.items() if k.startswith(mine)}
            found.append((name, batch if name == JOINT else _alone(batch, name), params | renamed))
        return found

    def _filled(self, output: Output, votes: list[Tensor], batch: Batch) -> Float[Tensor, "*t n k v"]:
        """The votes side by side. Of labels and numbers, where 0 is an answer and not silence, a name
        that cannot see a row says what all of them together say."""
        stacked = torch.stack(votes, -1)
        if output.has_classes or len(votes) == len(batch.inputs):
            return stacked
        there = torch.stack([*batch.present.values(), seen(batch)], -1)[..., None, :]
        return torch.where(there, stacked, stacked[..., -1:])

    def _weights(
        self,
        tests: Tensor,
        targets: Tensor,
        prior_mean: Tensor,
        penalty: Tensor,
        counts: Tensor,
        output: Output = CLASSIFICATION,
    ) -> Float[Tensor, "*t v"]:
        """Newton's method on the convex support loss, weights kept from falling below zero.

        Args:
            tests: `(*t, s, k, v)`, what each name says of each support row without it.
            prior_mean, penalty: prior mean and strength of each weight, `(v)`.
            counts: which rows do, `(*t, s, 1)`.
        """
        w = prior_mean.expand(*tests.shape[:-3], -1)
        offset = _log_rates(targets) if output.has_classes else 0.0
        for _ in range(self.newton):
            logits = (tests * w[..., None, None, :]).sum(-1) + offset
            error = output.gradient(logits, targets) * counts
            gradient = torch.einsum("...sk,...skv->...v", error, tests) + penalty * (w - prior_mean)
            bend = output.curvature(logits, targets) * counts
            spread = tests
            if output.has_classes:
                spread = tests - (output.link(logits)[..., None] * tests).sum(-2, keepdim=True)
            hessian = torch.einsum("...sk,...skv,...sku->...vu", bend, spread, spread) + torch.diag(penalty)
            w = (w - torch.linalg.solve(hessian, gradient)).clamp(min=0)
        return w


def _alone(batch: Batch, modality: str) -> Batch:
    """The rows through one modality. A description stands in for rows that a class has not, not for rows that
    this modality does not see: others do, and know more. A name that training knew is as good as rows."""
    mine = batch.only([modality])
    if "known" not in batch.class_info or not batch.targets.shape[-1]:
        return mine
    rows, visible = (((b.targets > 0) & seen(b)[..., None]).any(-2) for b in (batch, mine))
    heard = visible | ~rows | (batch.class_info["name"] >= 0 if "name" in batch.class_info else False)
    return mine._replace(class_info=batch.class_info | {"known": batch.class_info["known"] & heard})


def _others(targets: Tensor) -> Tensor:
    """Which rows `(*t, s, 1)` are of a class that has another row."""
    others = targets.sum(-2, keepdim=True) - targets
    return (others * targets).sum(-1, keepdim=True) > 0


def _log_rates(targets: Float[Tensor, "*t s k"]) -> Float[Tensor, "*t 1 k"]:
    """The log of how frequent each class is in the support, less its mean over classes that have a row.

    The answers themselves leave it out, so that a predictor may take classes for equally frequent.
    """
    counts = targets.sum(-2, keepdim=True)
    shown = counts > 0
    logs = torch.where(shown, counts.clamp(min=1).log(), 0.0)
    return torch.where(
        shown, logs - logs.sum(-1, keepdim=True) / shown.sum(-1, keepdim=True).clamp(min=1), 0.0
    )


def _classifiers(modalities: tuple[str, ...], joint: bool) -> tuple[str, ...]:
    return (*modalities, JOINT) if joint and len(modalities) > 1 else modalities


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
