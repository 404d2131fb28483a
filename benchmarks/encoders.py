"""Training speed of the image encoder against the four-block network of few-shot papers.

One JSON line a case. Both see the same 120 grey pictures of 32 × 32 pixels, forward and backward,
on one thread; repeats alternate and the median counts.
"""

from __future__ import annotations

import statistics
import time
from functools import partial

import torch
from torch import nn

from measured import peak_mib, print_line
from metamodal.mappings.encoders import ConvEncoder

REPEATS, PICTURES, SIDE = 7, 120, 32


def four_blocks(width: int = 64) -> nn.Module:
    """Four blocks of convolution, batch normalisation, ReLU and max-pooling (Vinyals et al., 2016)."""
    layers: list[nn.Module] = []
    channels = 1
    for _ in range(4):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        channels = width
    return nn.Sequential(*layers, nn.Flatten())


def seconds(network: nn.Module, pictures: torch.Tensor) -> float:
    began = time.perf_counter()
    network(pictures).square().mean().backward()
    return time.perf_counter() - began


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pictures = torch.randn(PICTURES, 1, SIDE, SIDE)
    ours, theirs = ConvEncoder((1, SIDE, SIDE), 128), four_blocks()
    for network in (ours, theirs):
        seconds(network, pictures)
    times = [(seconds(ours, pictures), seconds(theirs, pictures)) for _ in range(REPEATS)]
    own, peer = (statistics.median(column) for column in zip(*times))
    print_line(
        "conv encoder, forward and backward",
        order="first",
        formulation="strided residual",
        baseline="four blocks with max-pooling",
        seconds=own,
        baseline_seconds=peer,
        peak_mb=peak_mib(partial(seconds, ours, pictures)),
        repeats=REPEATS,
    )


if __name__ == "__main__":
    main()
