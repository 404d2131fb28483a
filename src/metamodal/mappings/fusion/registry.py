"""The registry of fusions, and what all of them see of a row: its tokens, and which cells are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metamodal.mappings.layers import of_rows, picked
from metamodal.registry import Registry
from metamodal.types import Batch

__all__ = ["Attending", "KnowsPresence", "Presence", "Row", "attended", "fusions", "imputers", "split"]

fusions: Registry[Callable[[tuple[str, ...], int], nn.Module]] = Registry("fusion")
"""Fusions by name, builders `(modalities, dim) -> module`; the module takes a `Batch` of tokens to `(n, d)`."""

imputers: Registry[Callable[[int, int], nn.Module]] = Registry("imputer", contrib="imputation")
"""Builders of imputers of absent tokens by name: `(modalities, dim) -> module`. The module gives each absent cell a
token and the confidence in it; its `guesses` of every token from every other one are what its loss compares."""

_ABSENT_LOGIT = -4.0


@runtime_checkable
class KnowsPresence(Protocol):
    """A fusion in which absent tokens have a weight, and may be imputed."""

    presence: Presence


@runtime_checkable
class Attending(Protocol):
    """A fusion with attention weights."""

    def weights(self, tokens: Batch) -> Float[Tensor, "n h m m"]:
        """How much each of a row's tokens attends to each."""
        ...


class Row:
    """The tokens of rows side by side: `z (n, m, d)`, their log-weights `logits (n, m)`, and which
    modalities these are."""

    def __init__(self, z: Tensor, logits: Tensor, at: list[int]) -> None:
        self.z, self.logits, self.at = z, logits, at

    @property
    def weights(self) -> Float[Tensor, "n m 1"]:
        """Shares that sum to one: alike for all cells that are there."""
        return torch.softmax(self.logits, -1)[..., None]

    def mean(self, z: Float[Tensor, "n m d"]) -> Float[Tensor, "n d"]:
        """The mean over modalities by these shares."""
        return (self.weights * z).sum(-2)


class Presence(nn.Module):
    """The first part of a fusion: tokens of a row side by side, each with the log-weight of its presence.

    A fusion calls it and need not look at masks: an absent cell comes as the modality's learned absent token, with a
    small weight. That log-weight `e` is learned and starts at -4, almost nothing, so absence means nothing until
    training finds that it does.

    >>> import torch
    >>> from metamodal.extend import Batch, Presence
    >>> tokens = {"image": torch.randn(2, 4), "text": torch.randn(2, 4)}
    >>> present = {"image": torch.tensor([True, True]), "text": torch.tensor([True, False])}
    >>> row = Presence(("image", "text"))(Batch(tokens, present, torch.zeros(2, 0)))
    >>> row.z.shape, [round(w, 2) for w in row.weights[1, :, 0].tolist()]
    (torch.Size([2, 2, 4]), [0.98, 0.02])
    >>> row.mean(row.z).shape
    torch.Size([2, 4])

    With an `imputer`, the token imputed from the row's other modalities, of confidence `c`, is mixed with the
    absent one: together they count as `exp(e) + c`, and their mean has these weights.

    Args:
        modalities: names, in the model's order.
    """

    stackable = True

    def __init__(self, modalities: tuple[str, ...]) -> None:
        super().__init__()
        self.modalities = modalities
        self.absence = nn.Parameter(torch.full((len(modalities),), _ABSENT_LOGIT))
        self.imputer: Any = None

    def forward(self, tokens: Batch) -> Row:
        """Those modalities that have tokens, always in the model's order."""
        z, present, at = self._side_by_side(tokens)
        absence = picked(of_rows(self.absence, len(z), 1), at)
        if self.imputer is None or len(at) == 1:
            return Row(z, torch.where(present, 0.0, absence), at)
        guess, confidence = self.imputer(z, present, at)
        log_confidence = confidence.clamp(min=torch.finfo(z.dtype).tiny).log()
        instead = torch.lerp(z, guess, torch.sigmoid(log_confidence - absence)[..., None])
        logits = torch.where(present, 0.0, torch.logaddexp(absence, log_confidence))
        return Row(torch.where(present[..., None], z, instead), logits, at)

    def guesses(self, tokens: Batch) -> Any:
        """What the imputer, which must be there, says of every token from every other."""
        assert self.imputer is not None
        return self.imputer.guesses(*self._side_by_side(tokens))

    def _side_by_side(self, tokens: Batch) -> tuple[Tensor, Tensor, list[int]]:
        at = [i for i, m in enumerate(self.modalities) if m in tokens.inputs]
        names = [self.modalities[i] for i in at]
        z = torch.stack([tokens.inputs[m] for m in names], -2)
        return z, torch.stack([tokens.present[m] for m in names], -1), at


def split(h: Float[Tensor, "n m d"], heads: int) -> Float[Tensor, "n h m e"]:
    """The width shared out among heads."""
    return h.unflatten(-1, (heads, -1)).transpose(-2, -3)


def attended(scores: Float[Tensor, "n h q m"], values: Float[Tensor, "n h m e"]) -> Float[Tensor, "n q d"]:
    """What each query gathers, heads side by side again. Written out, so that it survives `vmap`."""
    return (torch.softmax(scores, -1) @ values).transpose(-2, -3).flatten(-2)
