"""What maps that are networks share: starting weights, held-out rows, and the descent."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn
from torch.func import functional_call

from metamodal.types import Params

__all__ = ["applied", "descended", "halves", "spread"]

_LOOKS = 40  # at the held-out rows
_PATIENCE = 8


def halves(rows: int, generator: Generator) -> tuple[Int[Tensor, "a"], Int[Tensor, "b"]]:
    """Nine tenths of the rows to learn from, and a tenth, one at least, to judge by."""
    order = torch.randperm(rows, generator=generator)
    held = max(1, rows // 10)
    return order[held:], order[:held]


def descended(
    build: Callable[[], nn.Module],
    learn: tuple[Float[Tensor, "n f"], Float[Tensor, "n g"]],
    judge: tuple[Float[Tensor, "q f"], Float[Tensor, "q g"]],
    generator: Generator,
    *,
    steps: int,
    lr: float,
    rows: int = 256,
) -> Params:
    """The weights of a network, by mean squared error, that did best on the rows to judge by.

    Adam (Kingma and Ba, 2015) under a learning rate that falls as a cosine, ended early where eight looks
    in a row are no better. All chance comes from the generator.

    Args:
        rows: of a step.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        network = build().to(learn[0].dtype)
    optimiser = torch.optim.Adam(network.parameters(), lr=lr)
    every, least, worse = max(1, steps // _LOOKS), math.inf, 0
    best = _weights(network)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        at = torch.randint(len(learn[0]), (min(rows, len(learn[0])),), generator=generator)
        optimiser.zero_grad()
        (network(learn[0][at]) - learn[1][at]).square().mean().backward()
        optimiser.step()
        if (step + 1) % every == 0:
            with torch.no_grad():
                error = float((network(judge[0]) - judge[1]).square().mean())
            worse = 0 if error < least else worse + 1
            if not worse:
                least, best = error, _weights(network)
            elif worse == _PATIENCE:
                break
    return best


def applied(build: Callable[[], nn.Module], weights: Params, x: Float[Tensor, "n f"]) -> Float[Tensor, "n g"]:
    """A network under given weights; building it draws nothing."""
    with torch.device("meta"):
        network = build()
    return functional_call(network, weights, (x,))


def spread(error: Float[Tensor, "q g"]) -> Float[Tensor, "g"]:
    """The root mean square of held-out errors of each output, drawn to that of all outputs as four
    rows more would draw it: a handful of rows says little of each."""
    square = error.square()
    return ((square.sum(0) + 4 * square.mean()) / (len(error) + 4)).sqrt()


def _weights(network: nn.Module) -> Params:
    return {name: value.detach().clone() for name, value in network.named_parameters()}
