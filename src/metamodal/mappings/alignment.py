"""Alignment: tokens of what belongs together are near, whichever modalities they are of."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["START", "contrast"]

START = 2.66
"""Where the logarithm of the scale starts: a temperature of 0.07."""

_HIGHEST = 4.605  # a scale of 100


def contrast(
    tokens: Mapping[str, Float[Tensor, "n d"]],
    present: Mapping[str, Bool[Tensor, "n"]],
    codes: Int[Tensor, "n"],
    log_scale: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """InfoNCE from every modality to every other, `mean over a ≠ b, i of −mean_{j ∈ P(i)} log p_ab(j | i)`.

    `p_ab(· | i)` is the softmax over the rows that have b of `exp(log_scale) cos(z_a[i], z_b[·])`, and
    `P(i)` are those among them of the code of row i. With a code a row and two modalities it is the
    symmetric cross-entropy of CLIP (Radford et al., 2021); with a code a class, the supervised
    contrast between modalities, with the mean outside of the logarithm (Khosla et al., 2020).

    Each ordered pair of modalities counts alike, and of it each row that has the first and meets a
    positive in the second. Without any such row the value is 0. What an absent cell's token holds has
    no influence, be it NaN.

    >>> z = torch.eye(2)
    >>> there = torch.ones(2, dtype=torch.bool)
    >>> contrast({"a": z, "b": z}, {"a": there, "b": there}, torch.arange(2), torch.tensor(0.0))
    tensor(0.3133)
    """
    scale = log_scale.clamp(max=_HIGHEST).exp()
    units = {m: F.normalize(torch.where(present[m][:, None], z, 0.0), dim=-1) for m, z in tokens.items()}
    same = codes[:, None] == codes
    total, pairs = 0.0 * scale, 0.0 * scale.detach()
    for a, b in permutations(units, 2):
        logits = torch.where(present[b], scale * units[a] @ units[b].mT, torch.finfo(scale.dtype).min)
        positive = (same & present[b]).to(logits.dtype)
        count = positive.sum(1)
        counts = present[a] & (count > 0)
        losses = -(torch.log_softmax(logits, 1) * positive).sum(1) / count.clamp(min=1)
        total = total + torch.where(counts, losses, 0.0).sum() / counts.sum().clamp(min=1)
        pairs = pairs + counts.any()
    return total / pairs.clamp(min=1)
