"""Convolution and group normalisation with their second derivatives written out.

Meta-learning differentiates through gradients. A framework derives the derivative of a gradient from the gradient's
parts; here it is one expression, which passes over the rows a fraction as often. Rows of pictures lie channels last.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

__all__ = ["convolved", "normalised", "products"]

Pair = tuple[int, int]
Found = tuple[Tensor | None, ...]


def convolved(
    x: Float[Tensor, "n c h w"],
    weight: Float[Tensor, "o c k l"],
    bias: Float[Tensor, " o"] | None,
    stride: Pair,
    padding: Pair,
) -> Float[Tensor, "n o p q"]:
    """`F.conv2d`, for rows of one task."""
    y: Tensor = _Convolution.apply(_channels_last(x), _channels_last(weight), bias, stride, padding)
    return y


def products(
    x: Float[Tensor, "tn c h w"],
    weight: Float[Tensor, "t o c k l"],
    bias: Float[Tensor, "t o"] | None,
    stride: Pair,
    padding: Pair,
) -> Float[Tensor, "tn o p q"]:
    """Convolution with one weight a task: patches side by side, and one batched product."""
    tasks, out = weight.shape[:2]
    patches: Tensor = _Patches.apply(x.permute(0, 2, 3, 1), tuple(weight.shape[3:]), stride, padding)
    rows = patches.reshape(tasks, -1, weight[0, 0].numel())
    filters = weight.permute(0, 3, 4, 2, 1).reshape(tasks, -1, out)
    y = rows @ filters if bias is None else torch.baddbmm(bias[:, None], rows, filters)
    return y.view(len(x), *patches.shape[1:3], out).permute(0, 3, 1, 2)


def normalised(
    x: Float[Tensor, "tn c h w"],
    weight: Float[Tensor, "t c"] | Float[Tensor, " c"],
    bias: Float[Tensor, "t c"] | Float[Tensor, " c"],
    groups: int,
    eps: float,
) -> Float[Tensor, "tn c h w"]:
    """Group normalisation with one scale and shift, or one a task."""
    n, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(n, h * w, c).contiguous()
    if weight.dim() == 2:
        weight, bias = (p.repeat_interleave(n // len(p), 0) for p in (weight, bias))
    y: Tensor = _Normalisation.apply(rows, weight, bias, groups, eps)
    return y.view(n, h, w, c).permute(0, 3, 1, 2)


class _Convolution(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = stride, padding
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Found:
        x, weight = ctx.saved_tensors
        needed = ctx.needs_input_grad[0], ctx.needs_input_grad[2]
        return *_ConvolutionGradient.apply(x, weight, _channels_last(g), *ctx.how, *needed), None, None


class _ConvolutionGradient(Function):
    """The gradients in rows, weight and bias; each is linear in `g` and in the other of the first two."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        g: Tensor,
        stride: Pair,
        padding: Pair,
        of_rows: bool,
        of_bias: bool,
    ) -> Found:
        ctx.save_for_backward(x, weight, g)
        ctx.how = stride, padding
        ctx.set_materialize_grads(False)
        in_bias = g.permute(0, 2, 3, 1).flatten(0, 2).sum(0) if of_bias else None
        return *_gradients(x, weight, g, ctx.how, of_rows, True), in_bias

    @staticmethod
    def backward(ctx: Any, a: Tensor | None, b: Tensor | None, c: Tensor | None) -> Found:
        _refuse_third()
        x, weight, g = ctx.saved_tensors
        in_x = in_weight = in_g = None
        a, b = (None if d is None else _channels_last(d) for d in (a, b))
        if a is not None and ctx.needs_input_grad[1]:
            _, in_weight = _gradients(a, weight, g, ctx.how, False, True)
        if b is not None and ctx.needs_input_grad[0]:
            in_x, _ = _gradients(x, b, g, ctx.how, True, False)
        if a is not None and b is not None:
            in_g = F.conv2d(torch.cat([a, x], 1), torch.cat([weight, b], 1), c, *ctx.how)
        elif a is not None or b is not None:
            in_g = F.conv2d(x if a is None else a, weight if b is None else b, c, *ctx.how)
        elif c is not None:
            in_g = c[:, None, None].expand_as(g)
        return in_x, in_weight, in_g, None, None, None, None


def _refuse_third() -> None:
    if torch.is_grad_enabled():
        raise RuntimeError(
            "a gradient of a gradient of an adapted convolution or norm has no further derivative"
        )


def _gradients(
    x: Tensor, weight: Tensor, g: Tensor, how: tuple[Pair, Pair], of_rows: bool, of_weight: bool
) -> Found:
    """What `torch.nn.grad` gives, in less time."""
    mask = [of_rows, of_weight, False]
    found = torch.ops.aten.convolution_backward(g, x, weight, None, *how, (1, 1), False, (0, 0), 1, mask)
    return found[0], found[1]


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


class _Patches(Function):
    """What a filter sees at each place: rows `(n, h, w, c)` to `(n, p, q, k, l, c)`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Pair, stride: Pair, padding: Pair) -> Tensor:
        ctx.sides, ctx.how = tuple(x.shape[1:3]), (stride, padding)
        (down, right), (high, wide) = padding, kernel
        padded = F.pad(x, (0, 0, right, right, down, down))
        seen = padded.unfold(1, high, stride[0]).unfold(2, wide, stride[1])
        return seen.permute(0, 1, 2, 4, 5, 3).contiguous()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Found:
        return _Sums.apply(g, ctx.sides, *ctx.how), None, None, None


class _Sums(Function):
    """The transpose of `_Patches`: each place of a row gathers from every patch that saw it."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, sides: Pair, stride: Pair, padding: Pair) -> Tensor:
        n, p, q, high, wide, c = g.shape
        ctx.kernel, ctx.how = (high, wide), (stride, padding)
        (down, right), (step, side) = padding, stride
        total = g.new_zeros(n, sides[0] + 2 * down, sides[1] + 2 * right, c)
        for i in range(high):
            for j in range(wide):
                total[:, i : i + step * p - step + 1 : step, j : j + side * q - side + 1 : side] += g[
                    :, :, :, i, j
                ]
        return total[:, down : down + sides[0], right : right + sides[1]].contiguous()

    @staticmethod
    def backward(ctx: Any, a: Tensor) -> Found:
        return _Patches.apply(a, ctx.kernel, *ctx.how), None, None, None


class _Normalisation(Function):
    """`w x̂ + b` of rows `(n, m, c)`: `x̂ = (x − μ) ρ` has mean 0 and variance 1 over a group of a row's channels.

    Scale and shift are all rows' `(c,)` or each row's `(n, c)`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        n, m, c = x.shape
        every, level = (weight, bias) if weight.dim() == 1 else (None, None)
        y, mean, scale = torch.native_group_norm(_pictures(x), every, level, n, c, m, groups, eps)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.groups = groups
        rows: Tensor = y.permute(0, 2, 3, 1).view(n, m, c)
        return rows if weight.dim() == 1 else torch.addcmul(bias[:, None], weight[:, None], rows, out=rows)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Found:
        return *_NormalisationGradient.apply(g.contiguous(), *ctx.saved_tensors, ctx.groups), None, None


class _NormalisationGradient(Function):
    """The gradients in rows, scale and shift.

    With `J u = ρ (u − ⟨u⟩ − x̂ ⟨u x̂⟩)`, where ⟨·⟩ is the mean over a group, the gradient in `x` is `J (w g)`. The derivative
    of `a · J u` is `J a` in `u`, and `−J ρ(U a + A u) − ρ² D x̂` in `x`, where `A = ⟨a x̂⟩`, `U = ⟨u x̂⟩` and
    `D = ⟨a u⟩ − ⟨a⟩⟨u⟩ − A U`; that of the gradient in `w` along `p` is `p x̂` in `g` and `J (p g)` in `x`.
    """

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, groups: int
    ) -> Found:
        ctx.save_for_backward(g, x, weight, mean, scale)
        ctx.groups = groups
        n, m, c = x.shape
        if weight.dim() == 1:
            found = torch.ops.aten.native_group_norm_backward(
                _pictures(g), _pictures(x), mean, scale, weight, n, c, m, groups, [True] * 3
            )
            return found[0].permute(0, 2, 3, 1).view(n, m, c), found[1], found[2]
        mean, scale = _at_channels(torch.stack([mean, scale]), c)
        sums = g.sum(1)
        along = ((g * x).sum(1) - mean * sums) * scale
        level, tilt = _means(torch.stack([weight * sums, weight * along]), groups, m)
        slope = -scale.square() * tilt
        in_x = torch.addcmul((-scale * level - slope * mean)[:, None], (weight * scale)[:, None], g)
        return in_x.addcmul_(slope[:, None], x), along, sums

    @staticmethod
    def backward(ctx: Any, a: Tensor, p: Tensor, q: Tensor) -> Found:
        _refuse_third()
        g, x, weight, mean, scale = ctx.saved_tensors
        groups, m = ctx.groups, x.shape[1]
        mean, scale = _at_channels(torch.stack([mean, scale]), x.shape[2])
        sums, of_a = g.sum(1), a.sum(1)
        along, a_x = (((u * x).sum(1) - mean * v) * scale for u, v in ((g, sums), (a, of_a)))
        a_g = (a * g).sum(1)
        parts = [of_a, a_x, weight * sums, weight * along, weight * a_g, p * sums, p * along]
        mean_a, lean, level, tilt, both, p_sums, p_along = _means(torch.stack(parts), groups, m)
        slope, square = weight * scale, scale.square()
        rise = (p - slope * lean) * scale
        in_g = torch.addcmul((q - slope * mean_a - rise * mean)[:, None], slope[:, None], a)
        twist = (square * (3 * lean * tilt + mean_a * level - both) - scale * p_along) * scale
        shift = square * (tilt * mean_a + lean * level) - scale * p_sums - twist * mean
        in_x = torch.addcmul(shift[:, None], (scale * p - slope * scale * lean)[:, None], g)
        in_x = in_x.addcmul_((-square * tilt)[:, None], a).addcmul_(twist[:, None], x)
        in_weight = scale * (a_g - mean_a * sums - lean * along)
        if weight.dim() == 1:
            in_weight = in_weight.sum(0)
        return in_g.addcmul_(rise[:, None], x), in_x, in_weight, None, None, None


def _pictures(rows: Tensor) -> Tensor:
    """Rows `(n, m, c)` as `(n, c, m, 1)`, channels last."""
    return rows[:, :, None].permute(0, 3, 1, 2)


def _means(sums: Tensor, groups: int, places: int) -> Tensor:
    """A channel's sums `(…, n, c)` as the mean over its group, at each channel again."""
    channels = sums.shape[-1]
    means = sums.unflatten(-1, (groups, channels // groups)).sum(-1) * (groups / (channels * places))
    return _at_channels(means, channels)


def _at_channels(values: Tensor, channels: int) -> Tensor:
    """A group's values `(…, g)` at each of its channels `(…, c)`."""
    return values.repeat_interleave(channels // values.shape[-1], -1)
