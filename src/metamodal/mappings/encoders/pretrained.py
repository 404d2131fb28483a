"""An encoder that starts from a network of another library."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metamodal.mappings.layers import Linear
from metamodal.traits import declared

__all__ = ["PretrainedEncoder"]


class PretrainedEncoder(nn.Module):
    """A network that came trained, and a linear map from what it gives to the shared width.

    It stays in evaluation mode: no dropout, and batch statistics as they came.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.pretrained = network.eval()
        for parameter in network.parameters():
            declared(parameter, pretrained=True)
        with torch.no_grad():
            width = network(torch.ones(1, *shape)).shape[1]
        self.out = Linear(width, dim)

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        return self.out(self.pretrained(x))
