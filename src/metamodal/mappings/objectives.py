"""Losses of decoded rows: each modality from itself, and from every other one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Decoded", "reconstruction", "translation"]

Decoded = dict[str, dict[str, Tensor]]
"""`decoded[a][b]` `(n, *shape)`: modality b as decoded from the token of modality a."""

_LEAST = 0.01  # the smallest variance that an error is relative to: encoded cells vary by about 1


def reconstruction(
    decoded: Decoded, inputs: Mapping[str, Tensor], present: Mapping[str, Bool[Tensor, "n"]]
) -> Float[Tensor, ""]:
    """`mean over m of E[(decoder_m(encoder_m(x_m)) - x_m)²] / Var[x_m]`: 1 for who answers the mean.

    Expectation and variance are over the rows that have modality m (Hinton and Salakhutdinov, 2006). What
    an absent cell holds has no influence. 0 where no row has a modality with a decoder.

    Args:
        decoded: of each modality's token, every modality that has a decoder.
        inputs: the rows that were encoded, `(n, *shape)` a modality.
    """
    return _mean_error(decoded, inputs, present, [(m, m) for m in decoded if m in decoded[m]])


def translation(
    decoded: Decoded, inputs: Mapping[str, Tensor], present: Mapping[str, Bool[Tensor, "n"]]
) -> Float[Tensor, ""]:
    """`mean over a ≠ b of E[(decoder_b(encoder_a(x_a)) - x_b)²] / Var[x_b]`: 1 for who answers the mean.

    All ordered pairs of modalities that some row has both of, the expectation over those rows (Ngiam et al.,
    2011); the arguments are those of `reconstruction`. 0 where there is no such pair.
    """
    pairs = [(a, b) for a, targets in decoded.items() for b in targets if a != b]
    return _mean_error(decoded, inputs, present, pairs)


def _mean_error(
    decoded: Decoded,
    inputs: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    pairs: Iterable[tuple[str, str]],
) -> Tensor:
    """The mean over pairs that some row has both of, by masks: no value has to leave the device to decide it."""
    total, count = next(iter(inputs.values())).new_zeros(2)
    for a, b in pairs:
        both = present[a] & present[b]
        target = torch.where(_aligned(present[b], inputs[b]), inputs[b], 0.0)
        error = (decoded[a][b] - target).square().flatten(1).mean(1)
        error = torch.where(both, error, 0.0).sum() / both.sum().clamp(min=1)
        total = total + error / _variance(target, present[b]) * both.any()
        count = count + both.any()
    return total / count.clamp(min=1)


def _variance(rows: Tensor, present: Tensor) -> Tensor:
    """The mean variance of the entries over the rows that are present; the others are zero."""
    rows, count = rows.detach(), present.sum().clamp(min=1)
    away = torch.where(_aligned(present, rows), rows - rows.sum(0) / count, 0.0)
    return (away.square().sum(0) / count).mean().clamp(min=_LEAST)


def _aligned(mask: Tensor, rows: Tensor) -> Tensor:
    return mask.view(-1, *[1] * (rows.dim() - 1))
