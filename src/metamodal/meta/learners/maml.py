"""Model-agnostic meta-learning: a few gradient steps from a start that was learned for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor

from metamodal.meta.dual import Descended, Head, answers, descend
from metamodal.meta.learners.protocol import (
    QUICK,
    gate,
    learners,
    own,
    regression_prior_start,
    scalar,
    seen,
    shown,
)
from metamodal.types import Batch, Embed, Params, Setting

__all__ = ["MAML"]


@learners.register("maml")
@dataclass(frozen=True)
class MAML:
    """`θ' = θ − η ∇ L_support(θ)`, repeated, differentiated through (Finn, Abbeel and Levine, 2017).

    The head's last layer starts in every task anew, so that any number of classes will do and their
    order does not matter; that of labels and numbers starts at the regression prior.

    Args:
        steps: inner gradient steps.
        inner_lr: the starting value of `η`, which is learned.
        order: 2 differentiates through the inner gradients, 1 takes them as constants.
        adapts: `"all"` moves encoders, fusion and head; `"head"` the head alone (ANIL, Raghu et al., 2020).
        hidden: units of a hidden layer in the head, learned and moved; 0 for none.
        start: of the last layer over classes: `"prototypes"` starts it as the classifier by distance to
            class means that it then improves on (Triantafillou et al., 2020), `"zero"` at zero.
        rates: `"one"` step size, or one for `"each"` weight that moves (Meta-SGD, Li et al., 2017).
    """

    steps: NonNegativeInt = 5
    inner_lr: PositiveFloat = 0.01
    order: Literal[1, 2] = 2
    adapts: Literal["all", "head"] = "all"
    hidden: NonNegativeInt = 0
    start: Literal["prototypes", "zero"] = "prototypes"
    rates: Literal["one", "each"] = "one"
    temperature: PositiveFloat = 8.0

    @property
    def reads(self) -> str:
        return "inputs" if self.adapts == "all" else "tokens"

    def parameters(self, setting: Setting) -> Params:
        start: Params = {"log_inner_lr": scalar(setting, math.log(self.inner_lr), rate=QUICK, shrinks=-1)}
        if setting.output.has_classes and self.start == "prototypes":
            start |= {
                "log_temperature": scalar(setting, math.log(self.temperature)),
                "bias": scalar(setting, 1.0),
            }
        if self.hidden:
            start |= _hidden(setting.dim, self.hidden)
        if self.rates == "each":
            width = self.hidden or setting.dim
            moved = {k: v for k, v in setting.model.items() if self.adapts == "all" and _moves(k)}
            moved |= {k: v for k, v in start.items() if k.startswith("hidden.")}
            shapes = {k: v.shape for k, v in moved.items()} | {"head.weight": (width,), "head.bias": ()}
            start |= {f"log_rate.{k}": torch.full(s, math.log(self.inner_lr)) for k, s in shapes.items()}
            del start["log_inner_lr"]
        return start | gate(setting) | regression_prior_start(setting)

    def adapt(self, fn: Embed, params: Params, support: Batch) -> Any:
        """The fast weights, or where the head alone moves at one rate, what stands for them."""
        z, targets, weights = self._shown(fn, params, support)
        head = self._start(fn, params, z, targets, weights)
        if self.adapts == "head" and self.rates == "one":
            rate = own(params, "log_inner_lr").exp()
            found = descend(
                z, targets, weights, head, fn.output, rate=rate, steps=self.steps, order=self.order
            )
            return {"rows": found.rows, "added": found.added} | found.head._asdict()
        return self._moved(fn, params, support, head)

    def predict(self, fn: Embed, params: Params, adapted: Any, query: Batch) -> Float[Tensor, "*t q k"]:
        if "added" in adapted:
            head = Head(*(adapted[name] for name in Head._fields))
            logits = answers(Descended(adapted["rows"], adapted["added"], head), _scaled(fn(params, query)))
        else:
            logits = _logits(adapted, _scaled(fn(params | adapted, query)))
        return logits * seen(query)[..., None] if fn.output.has_probabilities else logits

    def moved(self, fn: Embed, params: Params, support: Batch, rows: Batch) -> Params:
        """Where descent on `rows` leads the parameters of model and learner, one a task; the head starts
        as the support has it."""
        z, targets, weights = self._shown(fn, params, support)
        fast = self._moved(fn, params, rows, self._start(fn, params, z, targets, weights))
        names = {
            "head.weight": "learner.regression_prior.weight",
            "head.bias": "learner.regression_prior.bias",
        }
        names |= {"hidden.weight": "learner.hidden.weight", "hidden.bias": "learner.hidden.bias"}
        return {names.get(k, k): v for k, v in fast.items()}

    def _shown(self, fn: Embed, params: Params, support: Batch) -> tuple[Tensor, Tensor, Tensor]:
        z, targets, weights = shown(fn, params, support)
        return _scaled(z), targets, weights

    def _start(self, fn: Embed, params: Params, z: Tensor, targets: Tensor, weights: Tensor) -> Head:
        """The head before descent."""
        hidden = own(params, "hidden.weight") if self.hidden else z.new_zeros(0, z.shape[-1])
        hidden_bias = own(params, "hidden.bias") if self.hidden else z.new_zeros(0)
        width, classes = self.hidden or z.shape[-1], targets.shape[-1]
        axes = z.shape[:-2]
        weight, bias = z.new_zeros(*axes, classes, width), z.new_zeros(*axes, classes)
        if not fn.output.has_classes:
            if not self.hidden and "learner.regression_prior.weight" in params:
                weight = weight + own(params, "regression_prior.weight")
                bias = bias + own(params, "regression_prior.bias")
        elif self.start == "prototypes":
            units = torch.relu(z @ hidden.mT + hidden_bias) if self.hidden else z
            weight, bias = self._by_distance(params, units, targets * weights[..., None])
        return Head(weight, bias, hidden, hidden_bias)

    def _by_distance(self, params: Params, z: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """`τ (b − 1 + 2 z·p / d − |p|² / d)`, the distance to class means as a linear layer."""
        counts = shares.sum(-2)
        means = shares.mT @ z / counts.clamp(min=1e-6)[..., None]
        sharp = own(params, "log_temperature").exp()
        bias = sharp * (own(params, "bias") - 1 - means.square().sum(-1) / z.shape[-1])
        return 2 * sharp / z.shape[-1] * means, bias * (counts > 0)

    def _moved(self, fn: Embed, params: Params, support: Batch, head: Head) -> Params:
        """Every weight that moves, after `steps` of descent, one a task."""
        axes = support.targets.shape[:-2]
        fast = {"head.weight": head.weight, "head.bias": head.bias}
        if head.deep:
            fast["hidden.weight"] = head.hidden.expand(*axes, *head.hidden.shape)
            fast["hidden.bias"] = head.hidden_bias.expand(*axes, *head.hidden_bias.shape)
        if self.adapts == "all":
            fast |= {k: v.expand(*axes, *v.shape) for k, v in params.items() if _moves(k)}

        def loss(fast: Params) -> Tensor:
            z, targets, weights = self._shown(fn, params | fast, support)
            share = weights / weights.sum(-1, keepdim=True).clamp(min=1)
            return (fn.output.losses(_logits(fast, z), targets) * share).sum()

        for _ in range(self.steps):
            gradients = _gradients(loss, fast, constant=self.order == 1 or not torch.is_grad_enabled())
            fast = {k: v - self._rate(params, k) * gradients[k] for k, v in fast.items()}
        return fast

    def _rate(self, params: Params, name: str) -> Tensor:
        return own(params, "log_inner_lr" if self.rates == "one" else f"log_rate.{name}").exp()


def _gradients(loss: Callable[[Params], Tensor], at: Params, *, constant: bool) -> Params:
    """The loss's gradient by name; `constant` spares the graph of the gradient itself."""
    with torch.enable_grad():
        leaves = {
            k: v if v.requires_grad and not constant else v.detach().requires_grad_() for k, v in at.items()
        }
        found = torch.autograd.grad(
            loss(leaves), list(leaves.values()), create_graph=not constant, materialize_grads=True
        )
    return dict(zip(at, found))


def _moves(name: str) -> bool:
    return name.startswith("model.") and not name.startswith(("model.class_encoder.", "model.decoders."))


def _hidden(width: int, units: int) -> Params:
    bound = 1 / math.sqrt(width)
    return {
        "hidden.weight": torch.empty(units, width).uniform_(-bound, bound),
        "hidden.bias": torch.zeros(units),
    }


def _scaled(z: Tensor) -> Tensor:
    """Embeddings of length `√d`; smooth at 0, where a row without modalities may be."""
    return z * (z.square().mean(-1, keepdim=True) + 1e-12).rsqrt()


def _logits(fast: Params, z: Tensor) -> Tensor:
    if "hidden.weight" in fast:
        z = torch.relu(z @ fast["hidden.weight"].mT + fast["hidden.bias"][..., None, :])
    return z @ fast["head.weight"].mT + fast["head.bias"][..., None, :]
