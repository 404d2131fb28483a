"""The model: encoders, absent tokens and fusion composed into one mapping from rows to embeddings."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metamodal.mappings.encoders import Identity, PretrainedEncoder, encoders
from metamodal.mappings.fusion import Concatenation, fusions
from metamodal.types import Batch, Space

__all__ = ["Model", "build_model", "untrained_model"]


class Model(nn.Module):
    """`fuse ∘ encode`: rows of any subset of the modalities to embeddings.

    A modality that a batch does not mention counts as absent in every row.
    """

    def __init__(
        self, modalities: tuple[str, ...], networks: list[nn.Module], fusion: nn.Module, dim: int
    ) -> None:
        super().__init__()
        self.modalities = modalities
        self.encoders = nn.ModuleList(networks)
        self.fusion = fusion
        self.absent = nn.Parameter(torch.zeros(len(modalities), dim))

    def encode(self, batch: Batch) -> Batch:
        """One token a modality a row; an absent cell gives its modality's absent token.

        What an absent cell's input holds has no influence, be it NaN.
        """
        tokens, present = {}, {}
        rows = next(iter(batch.present.values()))
        for i, name in enumerate(self.modalities):
            there = batch.present.get(name, torch.zeros_like(rows))
            if name in batch.inputs:
                x = batch.inputs[name]
                x = torch.where(there.view(-1, *[1] * (x.dim() - 1)), x, 0.0)
                z = self.encoders[i](x)
                absent = self.absent[i] if self.absent.shape[1] else torch.zeros_like(z)
                tokens[name] = torch.where(there[:, None], z, absent)
            elif self.absent.shape[1]:
                tokens[name] = self.absent[i].expand(len(rows), -1)
            else:
                continue
            present[name] = there
        return Batch(tokens, present, batch.targets)

    def fuse(self, tokens: Batch) -> Float[Tensor, "n d"]:
        """One embedding a row from the tokens that are given."""
        return self.fusion(tokens)

    def forward(self, batch: Batch, stage: str = "embed") -> Batch | Tensor:
        """`encode`, `fuse` or, by default, both: one door for `torch.func.functional_call`."""
        if stage == "encode":
            return self.encode(batch)
        return self.fuse(batch if stage == "fuse" else self.encode(batch))


def build_model(
    spaces: dict[str, tuple[str, Space]],
    *,
    fusion: str,
    dim: int,
    pretrained: Mapping[str, nn.Module] | None = None,
) -> Model:
    """A model for modalities given by name as (kind, space), with weights from torch's generator.

    Args:
        pretrained: networks that some modalities' encoders start from, instead of their kind's own.
    """
    names = tuple(spaces)
    given = pretrained or {}
    networks = [
        PretrainedEncoder(given[name], space.shape, dim)
        if name in given
        else encoders[kind](space.shape, dim)
        for name, (kind, space) in spaces.items()
    ]
    return Model(names, networks, fusions[fusion](names, dim), dim)


def untrained_model(modalities: tuple[str, ...]) -> Model:
    """A model without weights over generic features: identity encoders, concatenation."""
    return Model(modalities, [Identity() for _ in modalities], Concatenation(modalities), dim=0)
