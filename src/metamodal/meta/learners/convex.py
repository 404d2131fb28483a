"""A convex head: logistic regression or a support vector machine's smooth kin, solved in every task."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from metamodal.meta.learners.protocol import evenly, gate, learners, only_for, own, scalar, seen, shown
from metamodal.outputs import CLASSIFICATION, MULTILABEL
from metamodal.types import Batch, Embed, Params, Setting

__all__ = ["Convex"]

_BOUND = {"classification": 0.5, "multilabel": 0.25}


@learners.register("convex")
@dataclass(frozen=True)
class Convex:
    """Regularised logistic regression on unit embeddings, solved to its optimum and differentiated
    through (as MetaOptNet does with a support vector machine: Lee et al., 2019).

    The weights lie in the span of the support rows, `W = Zᵀ α`, so that with `K = Z Zᵀ` the problem is

        min over α of  Σ_i w_i L(τ (K α)_i, y_i) + ½ λ τ tr(αᵀ K α)

    The curvature of `L` in its logits is at most `B` (½ for classes, ¼ for labels; Böhning, 1992), so
    that each step `α ← α − (B W K + λI)⁻¹ (slope + λ α)` lowers the loss, and the one inverse serves all steps.
    Each class counts alike, however many rows it has. `λ` and `τ`, the scale of the logits, are learned.

    Args:
        steps: steps towards the optimum.
        penalty: the starting value of `λ`.
        temperature: the starting value of `τ`.
    """

    steps: PositiveInt = 15
    penalty: PositiveFloat = 0.1
    temperature: PositiveFloat = 3.0

    @property
    def reads(self) -> str:
        return "tokens"

    def parameters(self, setting: Setting) -> Params:
        only_for(setting, "convex", CLASSIFICATION, MULTILABEL)
        start = {
            "log_penalty": scalar(setting, math.log(self.penalty), shrinks=1),
            "log_temperature": scalar(setting, math.log(self.temperature)),
        }
        return start | gate(setting)

    def adapt(self, fn: Embed, params: Params, support: Batch) -> tuple[Tensor, Tensor]:
        """Weights `(*t, d, k)`, and how many rows are behind each class `(*t, k)`."""
        rows = shown(fn, params, support)
        z, targets, weights = rows
        z = F.normalize(z, dim=-1)
        if not fn.output.has_classes:
            counts = (fn.output.known(targets) * weights[..., None]).sum(-2)
        else:
            weights, counts = evenly(rows)
        penalty, sharp = own(params, "log_penalty").exp(), own(params, "log_temperature").exp()
        weights = weights[..., None]
        gram = z @ z.mT
        bound = _BOUND[fn.output.name] * sharp * weights * gram
        inverse = torch.linalg.inv(
            bound + penalty * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        )
        known = (counts > 0)[..., None, :]
        hidden = (
            torch.where(known, 0.0, -1e4) if fn.output.has_classes else torch.zeros_like(counts)[..., None, :]
        )
        alpha = torch.zeros_like(torch.nan_to_num(targets))
        for _ in range(self.steps):
            slopes = fn.output.gradient(sharp * gram @ alpha + hidden, targets) * weights
            alpha = alpha - inverse @ (slopes + penalty * alpha)
        return z.mT @ alpha, counts

    def predict(
        self, fn: Embed, params: Params, adapted: tuple[Tensor, Tensor], query: Batch
    ) -> Float[Tensor, "*t q k"]:
        weights, counts = adapted
        logits = own(params, "log_temperature").exp() * (F.normalize(fn(params, query), dim=-1) @ weights)
        return logits * (counts > 0)[..., None, :] * seen(query)[..., None]
