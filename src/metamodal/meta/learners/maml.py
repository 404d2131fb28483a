"""Model-agnostic meta-learning: a few gradient steps from a start that was learned for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.meta.learners.protocol import learners, own, seen
from metamodal.types import Batch, Embed, Params

__all__ = ["MAML"]


@learners.register("maml")
@dataclass(frozen=True)
class MAML:
    """`θ' = θ − η ∇ L_support(θ)`, repeated, differentiated through (Finn, Abbeel and Levine, 2017).

    The head is a linear layer that starts at zero in every task, so that any number of classes will
    do and their order does not matter. The step size `η` is learned.

    Args:
        steps: inner gradient steps.
        inner_lr: the starting value of `η`.
        order: 2 differentiates through the inner gradients, 1 takes them as constants.
        adapts: `"all"` moves encoders, fusion and head; `"head"` the head alone (ANIL, Raghu et al., 2020).
    """

    steps: int = 5
    inner_lr: float = 0.1
    order: Literal[1, 2] = 2
    adapts: Literal["all", "head"] = "all"

    @property
    def reads(self) -> str:
        return "inputs" if self.adapts == "all" else "tokens"

    def parameters(self, modalities: tuple[str, ...]) -> Params:
        return {"log_inner_lr": torch.tensor(math.log(self.inner_lr))}

    def adapt(self, fn: Embed, params: Params, support: Batch) -> Params:
        """The fast weights: what moved of the model, and the head."""
        rate = own(params, "log_inner_lr").exp()
        weights = support.targets * seen(support)[:, None]
        moving = self.adapts == "all"
        fast = {k: v for k, v in params.items() if moving and k.startswith("model.")}
        with torch.no_grad():
            width = fn(params, support).shape[-1]
        classes = support.targets.shape[1]
        fast["head.weight"] = weights.new_zeros(classes, width)
        fast["head.bias"] = weights.new_zeros(classes)

        def loss(fast: Params) -> Tensor:
            log_p = torch.log_softmax(_logits(fn, params, fast, support), -1)
            return -(weights * log_p).sum() / weights.sum().clamp(min=1)

        for _ in range(self.steps):
            gradients = torch.func.grad(loss)(fast)
            if self.order == 1:
                gradients = {k: g.detach() for k, g in gradients.items()}
            fast = {k: v - rate * gradients[k] for k, v in fast.items()}
        return fast

    def predict(self, fn: Embed, params: Params, adapted: Params, query: Batch) -> Float[Tensor, "q k"]:
        return _logits(fn, params, adapted, query)


def _logits(fn: Embed, params: Params, fast: Params, batch: Batch) -> Tensor:
    z = fn(params | fast, batch)
    z = z * z.shape[-1] ** 0.5 / z.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    return z @ fast["head.weight"].T + fast["head.bias"]
