"""Imputation: the token of an absent cell from the tokens of those that are there, and how sure that is."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from metamodal.mappings.fusion.registry import imputers
from metamodal.mappings.layers import Linear, of_rows, picked
from metamodal.traits import declared

__all__ = ["Guesses", "Imputer", "surprise"]

_START = -4.0  # the log of what a translation adds to the prior's precision before it has learned anything
_QUICK = (
    20.0  # factor on the learning rate of logarithms, and of the means that all else of it is relative to
)
_MOST = 99.0  # and the most that it may add: one hundredth of the prior's variance is left
_LEAST = 0.1  # the least variance of a prior


class Guesses(NamedTuple):
    """What each modality a says of the normalised token of each b, and that token itself.

    `mean` and `log_variance` are of a Gaussian a row and pair, `prior` is the mean of that which knows no
    other token; `both` is true where a row has a and b, two different modalities.
    """

    mean: Float[Tensor, "n a b d"]
    log_variance: Float[Tensor, "n a b"]
    token: Float[Tensor, "n b d"]
    prior: Float[Tensor, "_ b d"]
    both: Bool[Tensor, "n a b"]


@imputers.register("gaussian")
class Imputer(nn.Module):
    """A Gaussian over the normalised token of every modality from every other one, of low rank.

    Tokens are normalised as `ẑ = (z − mean z) / std z`. Modality b has a prior `N(c_b, s_b²)` with learned `c_b`;
    as `ẑ` has unit power, `s_b² = 1 − |c_b|² / d`. From modality a its mean and variance are

        h_a = U_a (ẑ_a − c_a)    μ_ab = c_b + V_b h_a    σ²_ab = s_b² / (1 + g_ab)    log g_ab ≈ u_ab + w_b · h_a

    so that no translation is less sure than the prior. All that a row has are multiplied, the prior
    counted once (the Bayesian committee machine, Tresp, 2000):

        G_b = Σ_a g_ab    E[ẑ_b] = c_b + Σ_a (1 + g_ab) (μ_ab − c_b) / (1 + G_b)    Var[ẑ_b] = s_b² / (1 + G_b)

    The confidence `G_b / (1 + G_b)` is the share of the prior's variance that is explained: what all tokens
    of b have in common counts as nothing known. `V` starts at zero and `g` small, close to no imputation.
    """

    stackable = True

    def __init__(self, modalities: int, dim: int, rank: int = 32) -> None:
        super().__init__()
        rank = min(rank, dim)
        self.center = declared(nn.Parameter(torch.zeros(modalities, dim)), rate=_QUICK, decays=False)
        self.inwards = nn.ModuleList(Linear(dim, rank, bias=False) for _ in range(modalities))
        outwards = [Linear(rank, dim, bias=False) for _ in range(modalities)]
        for layer in outwards:
            nn.init.zeros_(layer.weight)
        self.outwards = nn.ModuleList(outwards)
        self.surety = declared(
            nn.Parameter(torch.full((modalities, modalities), _START)), rate=_QUICK, decays=False
        )
        self.slope = nn.Parameter(torch.zeros(modalities, rank))

    def forward(
        self, z: Float[Tensor, "n m d"], present: Bool[Tensor, "n m"], at: list[int]
    ) -> tuple[Float[Tensor, "n m d"], Float[Tensor, "n m"]]:
        """A token for each modality of `at` from the others, as large as the row's own on average, and the
        confidence in it: 0 where the row has none of the others. Tokens of absent cells have no influence."""
        z = torch.where(present[..., None], z, 0.0)
        center, pairs = picked(of_rows(self.center, len(z), 2), at), _pairs(present, at)
        codes, gains = self._read(z, center, at)
        gains = torch.where(pairs, gains, 0.0)
        gain = gains.sum(1)
        mixed = ((pairs + gains) / (1 + gain)[:, None]).mT @ codes
        guess = center + torch.stack([self.outwards[i](mixed[:, j]) for j, i in enumerate(at)], 1)
        sizes = torch.where(present, (z.var(-1, correction=0) + 1e-5).sqrt(), 0.0)
        size = sizes.sum(-1) / present.sum(-1).clamp(min=1)
        return size[:, None, None] * guess, gain / (1 + gain)

    def guesses(self, z: Float[Tensor, "n m d"], present: Bool[Tensor, "n m"], at: list[int]) -> Guesses:
        """Every single translation, for every pair of modalities of `at`; the prior's mean is a constant to them,
        or they could learn what all tokens have in common in its stead."""
        z = torch.where(present[..., None], z, 0.0)
        center = picked(of_rows(self.center, len(z), 2), at)
        known = center.detach()
        codes, gains = self._read(z, known, at)
        apart = torch.stack([self.outwards[i](codes) for i in at], 2)
        variance = (1 - known.square().mean(-1)).clamp(min=_LEAST)
        log_variance = variance.log()[:, None] - gains.log1p()
        both = _pairs(present, at) & present[:, None]
        return Guesses(known[:, None] + apart, log_variance, _normed(z), center, both)

    def _read(
        self, z: Tensor, center: Tensor, at: list[int]
    ) -> tuple[Float[Tensor, "n a r"], Float[Tensor, "n a b"]]:
        """The codes, and what each adds to the precision of each other modality's token, over the prior's."""
        apart = _normed(z) - center
        codes = torch.stack([self.inwards[i](apart[:, j]) for j, i in enumerate(at)], 1)
        surety = picked(picked(of_rows(self.surety, len(z), 2), at), at, 2)
        raw = surety + codes @ picked(of_rows(self.slope, len(z), 2), at).mT
        return codes, _MOST * torch.sigmoid(raw - math.log(_MOST))


def surprise(guesses: Guesses) -> Float[Tensor, ""]:
    """`mean of ½ ((ẑ_b − μ_ab)² / σ²_ab + log (σ²_ab / σ²_min)) + ½ (ẑ_b − c_b)²`, over dimensions and pairs that a
    row has both of.

    The first summand is the negative log-likelihood of a Gaussian above the least that a variance
    allows, and so never negative; the second makes `c_b` the mean of b. 0 where no row has two modalities.
    """
    error = (guesses.token[:, None] - guesses.mean).square().mean(-1)
    common = (guesses.token - guesses.prior).square().mean(-1)[:, None]
    relative = guesses.log_variance - math.log(_LEAST / (1 + _MOST))
    losses = 0.5 * (error * (-guesses.log_variance).exp() + relative + common)
    return torch.where(guesses.both, losses, 0.0).sum() / guesses.both.sum().clamp(min=1)


def _normed(z: Tensor) -> Tensor:
    return F.layer_norm(z, z.shape[-1:])


def _pairs(present: Bool[Tensor, "n m"], at: list[int]) -> Bool[Tensor, "n m m"]:
    """Of each row, which modality can be imputed from which: from those that are there of all others."""
    return present[..., None] & ~torch.eye(len(at), dtype=torch.bool, device=present.device)
