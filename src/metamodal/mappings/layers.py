"""Layers whose weights may differ from task to task: one network for a whole stack of tasks.

Rows are always flat, `(t·n, …)`, task by task. A weight with one more leading axis than usual holds
one weight a task, and each task's rows meet their own. With ordinary weights these are the layers of
`torch.nn`, by the same parameter names. A weight that was worked out from others (a step of descent) is about to be
differentiated through its gradient, which `metamodal.mappings.twice` knows how to do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metamodal.mappings.twice import convolved, normalised, products

__all__ = ["Conv1d", "Conv2d", "GroupNorm", "LayerNorm", "Linear", "of_rows", "picked", "stackable"]

_FEW = 64  # values that a filter sees, up to which a product is faster than a convolution
_UNFOLDED = 300_000  # values of one task's patches, beyond which it is slower


class Linear(nn.Linear):
    """A linear layer `x Wᵀ + b` whose weight may differ from task to task.

    Use it in an encoder or a fusion in place of `torch.nn.Linear`. With ordinary weights it is that layer, by the
    same parameter names; with one more leading axis each task's rows meet their own weight in one batched product.

    >>> import torch
    >>> from metamodal.extend import Linear
    >>> layer = Linear(3, 2)
    >>> weights = {"weight": torch.randn(4, 2, 3), "bias": torch.randn(4, 2)}  # four tasks
    >>> torch.func.functional_call(layer, weights, torch.randn(4 * 5, 3)).shape
    torch.Size([20, 2])

    Args:
        in_features, out_features, bias: as of `torch.nn.Linear`. Rows are flat, `(t·n, in)`, task by task.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dim() == 2:
            return super().forward(x)
        rows = x.reshape(len(self.weight), -1, x.shape[-1])
        y = (
            rows @ self.weight.mT
            if self.bias is None
            else torch.baddbmm(self.bias[:, None], rows, self.weight.mT)
        )
        return y.reshape(*x.shape[:-1], -1)


class LayerNorm(nn.LayerNorm):
    """Layer normalisation over the last axis, whose scale and shift may differ from task to task.

    It keeps no statistics of a batch: a row's embedding depends on that row alone. With ordinary weights it is
    `torch.nn.LayerNorm`.

    >>> import torch
    >>> from metamodal.extend import LayerNorm
    >>> layer = LayerNorm(6)
    >>> y = layer(torch.randn(5, 6))
    >>> y.shape, bool(y.mean(-1).abs().max() < 1e-5)
    (torch.Size([5, 6]), True)

    Args:
        normalized_shape, eps: as of `torch.nn.LayerNorm`; one axis.

    Source: Ba et al. (2016), *Layer normalization*.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dim() == 1:
            return super().forward(x)
        y = F.layer_norm(x, self.normalized_shape, eps=self.eps)
        return _scaled(y, self.weight, self.bias, last=True)


class GroupNorm(nn.GroupNorm):
    """Normalisation over groups of channels of one row, whose scale and shift may differ from task to task.

    It stands where convolutional networks usually have batch normalisation, which would leak one row into another
    and one task into the next. With ordinary weights it is `torch.nn.GroupNorm`.

    >>> import torch
    >>> from metamodal.extend import GroupNorm
    >>> GroupNorm(2, 8)(torch.randn(5, 8, 4, 4)).shape
    torch.Size([5, 8, 4, 4])

    Args:
        num_groups, num_channels, eps: as of `torch.nn.GroupNorm`.

    Source: Wu and He (2018), *Group normalization*.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 4 and _worked_out(self.weight):
            return normalised(x, self.weight, self.bias, self.num_groups, self.eps)
        if self.weight.dim() == 1:
            return super().forward(x)
        return _scaled(F.group_norm(x, self.num_groups, eps=self.eps), self.weight, self.bias, last=False)


class Conv2d(nn.Conv2d):
    """Convolution in two dimensions, whose filters may differ from task to task.

    Rows are `(t·n, c, h, w)`, task by task. With a filter a task it is one batched product where patches are few,
    and a convolution a task elsewhere; both give the same numbers.

    >>> import torch
    >>> from metamodal.extend import Conv2d
    >>> layer = Conv2d(1, 8, 3, stride=2, padding=1)
    >>> layer(torch.randn(6, 1, 28, 28)).shape
    torch.Size([6, 8, 14, 14])

    Args:
        in_channels, out_channels, kernel_size, stride, padding, bias: as of `torch.nn.Conv2d`. Padding is given as
            numbers, and dilation and groups are not supported where filters differ.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dim() == 4 and not _worked_out(self.weight):
            return super().forward(x)
        weight, bias = _of_tasks(self.weight, self.bias)
        how = _pair(self.stride), _pair(self.padding)
        sides = [(x.shape[2 + i] + 2 * how[1][i] - self.kernel_size[i]) // how[0][i] + 1 for i in (0, 1)]
        seen = weight[0, 0].numel()
        patches = len(x) // len(weight) * math.prod(sides) * seen
        if seen <= _FEW or (len(weight) > 1 and patches <= _UNFOLDED):
            return products(x, weight, bias, *how)
        biases = [None] * len(weight) if bias is None else list(bias)
        parts = zip(x.unflatten(0, (len(weight), -1)), weight, biases)
        found = [convolved(*part, *how) for part in parts]
        return torch.cat(found) if len(found) > 1 else found[0]


class Conv1d(nn.Conv1d):
    """Convolution in one dimension, whose filters may differ from task to task.

    Rows are `(t·n, c, l)`, task by task: series, sounds and pen strokes. With a filter a task it unfolds the rows
    and does one batched product.

    >>> import torch
    >>> from metamodal.extend import Conv1d
    >>> layer = Conv1d(2, 8, 3, padding=1)
    >>> layer(torch.randn(6, 2, 40)).shape
    torch.Size([6, 8, 40])

    Args:
        in_channels, out_channels, kernel_size, stride, padding, bias: as of `torch.nn.Conv1d`. Padding is given as
            numbers, and dilation and groups are not supported where filters differ.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dim() == 3:
            return super().forward(x)
        tasks, out = self.weight.shape[:2]
        if tasks == 1:
            return self._conv_forward(x, self.weight[0], None if self.bias is None else self.bias[0])
        rows = len(x) // tasks
        padded = F.pad(x, _pair(self.padding))
        patches = padded.unfold(2, self.kernel_size[0], self.stride[0])
        length = patches.shape[2]
        patches = patches.unflatten(0, (tasks, rows)).permute(0, 2, 4, 1, 3).reshape(tasks, -1, rows * length)
        y = self.weight.flatten(2) @ patches
        if self.bias is not None:
            y = y + self.bias[..., None]
        return y.unflatten(2, (rows, length)).transpose(1, 2).reshape(tasks * rows, out, length)


def _worked_out(weight: Tensor) -> bool:
    """Whether a weight has a history, outside `torch.func`, which differentiates in its own way."""
    return not (weight.is_leaf or torch._C._functorch.is_functorch_wrapped_tensor(weight))


def _of_tasks(weight: Tensor, bias: Any) -> tuple[Tensor, Any]:
    """A convolution's weight and bias with an axis of tasks."""
    return (weight, bias) if weight.dim() == 5 else (weight[None], None if bias is None else bias[None])


def _pair(numbers: str | tuple[int, ...]) -> tuple[int, int]:
    if isinstance(numbers, str):
        raise TypeError(f"padding={numbers!r}: these layers take numbers")
    return numbers[0], numbers[-1]


def of_rows(parameter: Tensor, rows: int, dims: int) -> Tensor:
    """A parameter of `dims` axes as one that broadcasts over rows: `(1, …)`, or a task's own `(rows, …)`."""
    if parameter.dim() == dims:
        return parameter[None]
    return parameter.repeat_interleave(rows // len(parameter), 0)


def stackable(module: nn.Module) -> bool:
    """Whether every layer with weights of its own is one of these, or says so of itself."""
    return all(
        isinstance(layer, (Linear, LayerNorm, GroupNorm, Conv1d, Conv2d))
        or getattr(layer, "stackable", False)
        for layer in module.modules()
        if next(layer.parameters(recurse=False), None) is not None
    )


def _scaled(x: Tensor, weight: Tensor, bias: Tensor, *, last: bool) -> Tensor:
    tasks, width = weight.shape
    between = [1] * (x.dim() - 2)
    shape = (tasks, 1, *between, width) if last else (tasks, 1, width, *between)
    y = x.unflatten(0, (tasks, -1)) * weight.view(shape) + bias.view(shape)
    return y.flatten(0, 1)


def picked(x: Tensor, at: Sequence[int], dim: int = 1) -> Tensor:
    """Some places of an axis. By views: an index tensor would have to travel to the device of `x` at each call."""
    return torch.stack([x.select(dim, i) for i in at], dim)
