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
    errors = []
    for a, b in pairs:
        both = present[a] & present[b]
        if both.any():
            square = (decoded[a][b][both] - inputs[b][both]).square().mean()
            errors.append(square / _variance(inputs[b][present[b]]))
    return torch.stack(errors).mean() if errors else next(iter(inputs.values())).new_zeros(())


def _variance(rows: Tensor) -> Tensor:
    """The mean variance of the entries over rows."""
    return rows.detach().var(0, correction=0).mean().clamp(min=_LEAST)
