"""The mean of the tokens: where every other fusion starts."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from metamodal.mappings.fusion.registry import Presence, fusions
from metamodal.types import Batch

__all__ = ["Mean"]


@fusions.register("mean")
class Mean(nn.Module):
    """The mean of the tokens, those of absent cells weighed by a learned factor."""

    def __init__(self, modalities: tuple[str, ...], dim: int) -> None:
        super().__init__()
        self.presence = Presence(modalities)

    def forward(self, tokens: Batch) -> Float[Tensor, "n d"]:
        row = self.presence(tokens)
        return row.mean(row.z)
