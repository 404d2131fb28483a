"""Matching networks: a query row's answer is that of the support rows it is like."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import PositiveFloat
from torch import Tensor

from metamodal.meta.learners.protocol import (
    gate,
    learners,
    own,
    regression_prior,
    regression_prior_start,
    scalar,
    seen,
    shown,
)
from metamodal.types import Batch, Embed, Params, Setting

__all__ = ["Matching"]


class _Keys(NamedTuple):
    """Unit embeddings `(*t, s, d)`, what each row says `(*t, s, k)`, log-weights `(*t, s, k)`."""

    keys: Tensor
    values: Tensor
    log_weights: Tensor


@learners.register("matching")
@dataclass(frozen=True)
class Matching:
    """Attention over the support rows by cosine (Vinyals et al., 2016).

    *Classes*: a class's logit is `τ` times the cosine to its rows, as a soft maximum over them,
    less a learned cosine `b` that says nothing: `log mean exp τ (cos − b)`. Its limit for large `τ`
    is the nearest row. A class that no row shows has the logit 0.

    *Labels and numbers*: the regression prior, corrected by the mean of its residuals on the
    support rows, weighted by `exp τ (cos − b)` beside a weight of 1 for leaving it as it is.
    """

    temperature: PositiveFloat = 10.0
    neutral: float = 0.3

    @property
    def reads(self) -> str:
        return "tokens"

    def parameters(self, setting: Setting) -> Params:
        start: Params = {
            "log_temperature": scalar(setting, math.log(self.temperature)),
            "neutral": scalar(setting, self.neutral),
        }
        return start | gate(setting) | regression_prior_start(setting)

    def adapt(self, fn: Embed, params: Params, support: Batch) -> _Keys:
        z, targets, weights = shown(fn, params, support)
        if not fn.output.has_classes:
            known = fn.output.known(targets) & (weights > 0)[..., None]
            signs = fn.output.centred(targets)
            left = torch.where(known, signs, 0.0) - regression_prior(params, z, targets.shape[-1])
            values, shares = torch.where(known, left, 0.0), known.to(z.dtype)
        else:
            values, shares = targets, targets * weights[..., None]
        return _Keys(F.normalize(z, dim=-1), values, shares.clamp(min=1e-30).log())

    def predict(
        self, fn: Embed, params: Params, adapted: tuple[Tensor, Tensor, Tensor], query: Batch
    ) -> Float[Tensor, "*t q k"]:
        keys, values, log_weights = adapted
        z = fn(params, query)
        sharp = own(params, "log_temperature").exp()
        alike = sharp * (F.normalize(z, dim=-1) @ keys.mT - own(params, "neutral"))
        votes = alike[..., None] + log_weights[..., None, :, :]
        there = seen(query)[..., None]
        if not fn.output.has_classes:
            # one more key, of weight 1 and value 0: the regression prior as it is
            shares = torch.softmax(F.pad(votes, (0, 0, 0, 1)), -2)[..., :-1, :]
            answer = regression_prior(params, z, values.shape[-1]) + (shares * values[..., None, :, :]).sum(
                -2
            )
            return (sharp * answer if fn.output.has_probabilities else answer) * there
        counts = log_weights.exp().sum(-2)
        known = counts > 1e-6
        logits = torch.logsumexp(votes, -2) - counts.clamp(min=1e-6).log()[..., None, :]
        return logits * known[..., None, :] * there
