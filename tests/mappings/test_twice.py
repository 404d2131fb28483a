"""Second derivatives that are written out against those of autograd, in double precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from metamodal.mappings.layers import Conv2d, GroupNorm
from metamodal.mappings.twice import convolved, normalised, products


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.double, requires_grad=True)


def through_gradients(fn: Callable[..., Tensor], of: list[Tensor]) -> list[Tensor]:
    """The answer, its gradients and the gradients of a sum over those."""
    y = fn(*of)
    found = torch.autograd.grad((y.pow(3) + y).sum(), of, create_graph=True)
    total = sum(((i + 1) * g.square().sum() for i, g in enumerate(found)), torch.zeros(()))
    return [y, *found, *torch.autograd.grad(total, of)]


def assert_same(fn: Callable[..., Tensor], plain: Callable[..., Tensor], of: list[Tensor]) -> None:
    for got, expected in zip(through_gradients(fn, of), through_gradients(plain, of)):
        torch.testing.assert_close(
            got, expected, rtol=1e-10, atol=1e-10 * float(expected.detach().abs().max())
        )


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(st.integers(0, 1), st.integers(0, 1)),
    st.tuples(st.integers(3, 6), st.integers(3, 6)),
)
def test_a_convolution(kernel, stride, padding, sides):
    torch.manual_seed(0)
    of = [leaf(3, 4, *sides), leaf(5, 4, *kernel), leaf(5)]

    def plain(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return F.conv2d(x, w, b, stride, padding)

    assert_same(lambda x, w, b: convolved(x, w, b, stride, padding), plain, of)
    assert_same(lambda x, w, b: products(x, w[None], b[None], stride, padding), plain, of)


def test_a_convolution_with_a_weight_a_task():
    torch.manual_seed(0)
    of = [leaf(6, 4, 5, 5), leaf(2, 5, 4, 3, 3), leaf(2, 5)]

    def plain(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return torch.cat([F.conv2d(x[3 * t : 3 * t + 3], w[t], b[t], 2, 1) for t in (0, 1)])

    assert_same(lambda x, w, b: products(x, w, b, (2, 2), (1, 1)), plain, of)


@pytest.mark.parametrize("held", ["rows", "weight", "bias"])
def test_a_convolution_of_which_a_part_is_constant(held):
    torch.manual_seed(0)
    parts = {"rows": leaf(3, 4, 5, 5), "weight": leaf(5, 4, 3, 3), "bias": leaf(5)}
    constant = parts.pop(held).detach()

    def of(fn: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def some(*free: Tensor) -> Tensor:
            known = dict(zip(parts, free)) | {held: constant}
            return fn(known["rows"], known["weight"], known["bias"])

        return some

    def ours(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return convolved(x, w, b, (2, 2), (1, 1))

    assert_same(of(ours), of(lambda x, w, b: F.conv2d(x, w, b, 2, 1)), list(parts.values()))


@pytest.mark.parametrize("tasks", [0, 1, 2])
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_group_normalisation(tasks, groups):
    """With one scale and shift, and with one a task."""
    torch.manual_seed(0)
    own = (tasks, 8) if tasks else (8,)
    of = [leaf(6, 8, 3, 4), leaf(*own), leaf(*own)]

    def plain(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        w, b = (
            p.expand(max(tasks, 1), 8).repeat_interleave(6 // max(tasks, 1), 0)[..., None, None]
            for p in (w, b)
        )
        return F.group_norm(x, groups, eps=1e-2) * w + b

    assert_same(lambda x, w, b: normalised(x, w, b, groups, 1e-2), plain, of)


def test_a_third_derivative_is_refused_not_wrong():
    x, w, b = leaf(2, 4, 3, 3), leaf(4), leaf(4)
    (first,) = torch.autograd.grad(normalised(x, w, b, 2, 1e-5).pow(3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no further derivative"):
        torch.autograd.grad(first.square().sum(), x, create_graph=True)


@pytest.mark.parametrize("layer", [Conv2d(4, 8, 3, padding=1), GroupNorm(2, 4)], ids=["convolution", "norm"])
def test_a_layer_whose_weights_were_worked_out_answers_as_ever(layer):
    x = torch.randn(3, 4, 5, 5)
    moved = {k: v * 1 for k, v in layer.named_parameters()}
    torch.testing.assert_close(torch.func.functional_call(layer, moved, (x,)), layer(x))
