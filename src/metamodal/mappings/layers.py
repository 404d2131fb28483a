"""Layers whose weights may differ from task to task: one network for a whole stack of tasks.

Rows are always flat, `(t·n, …)`, task by task. A weight with one more leading axis than usual holds
one weight a task, and each task's rows meet their own. With ordinary weights these are the layers of
`torch.nn`, by the same parameter names.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Conv1d", "Conv2d", "GroupNorm", "LayerNorm", "Linear", "of_rows", "stackable"]

_UNFOLDED = 300_000  # values of one task's patches, beyond which unfolding them costs more than it saves


class Linear(nn.Linear):
    """`x Wᵀ + b`, as one batched product over the tasks."""

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
    """Normalisation over the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dim() == 1:
            return super().forward(x)
        y = F.layer_norm(x, self.normalized_shape, eps=self.eps)
        return _scaled(y, self.weight, self.bias, last=True)


class GroupNorm(nn.GroupNorm):
    """Normalisation over groups of channels of one row."""

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dim() == 1:
            return super().forward(x)
        return _scaled(F.group_norm(x, self.num_groups, eps=self.eps), self.weight, self.bias, last=False)


class Conv2d(nn.Conv2d):
    """Convolution in two dimensions; with a weight a task, as one batched product where patches are few."""

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dim() == 4:
            return super().forward(x)
        tasks, out = self.weight.shape[:2]
        rows = len(x) // tasks
        (pad, _), (kernel, _), (stride, _) = _pairs(self.padding), self.kernel_size, self.stride
        sides = [(side + 2 * pad - kernel) // stride + 1 for side in x.shape[2:]]
        if tasks == 1 or rows * math.prod(sides) * self.weight[0, 0].numel() > _UNFOLDED:
            return _one_by_one(self, x)
        patches = F.unfold(x, kernel, padding=pad, stride=stride)
        patches = patches.unflatten(0, (tasks, rows)).transpose(1, 2).flatten(2)
        y = self.weight.flatten(2) @ patches
        if self.bias is not None:
            y = y + self.bias[..., None]
        return y.unflatten(2, (rows, *sides)).transpose(1, 2).reshape(tasks * rows, out, *sides)


class Conv1d(nn.Conv1d):
    """Convolution in one dimension, by way of two."""

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dim() == 3:
            return super().forward(x)
        tasks, out = self.weight.shape[:2]
        if tasks == 1:
            return _one_by_one(self, x)
        rows = len(x) // tasks
        padded = F.pad(x, _pairs(self.padding) * 2)
        patches = padded.unfold(2, self.kernel_size[0], self.stride[0])
        length = patches.shape[2]
        patches = patches.unflatten(0, (tasks, rows)).permute(0, 2, 4, 1, 3).reshape(tasks, -1, rows * length)
        y = self.weight.flatten(2) @ patches
        if self.bias is not None:
            y = y + self.bias[..., None]
        return y.unflatten(2, (rows, length)).transpose(1, 2).reshape(tasks * rows, out, length)


def _one_by_one(layer: Conv1d | Conv2d, x: Tensor) -> Tensor:
    """One ordinary convolution a task: faster where there is much to convolve."""
    biases = [None] * len(layer.weight) if layer.bias is None else list(layer.bias)
    parts = zip(x.unflatten(0, (len(layer.weight), -1)), layer.weight, biases)
    return torch.cat([layer._conv_forward(*part) for part in parts])


def _pairs(padding: str | tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(padding, str):
        raise TypeError(f"padding={padding!r}: these layers take numbers")
    return padding


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
