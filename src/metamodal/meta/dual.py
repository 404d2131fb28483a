"""Gradient descent on a head, carried out on the support rows instead of the weights.

A gradient step on a linear layer changes its weights by a combination of the rows it saw. After any
number of steps `W = W₀ − Gᵀ X` with one vector of `G` a support row, so that the layer's answers are

    X' Wᵀ = X' W₀ᵀ − (X' Xᵀ) G

and all that gradient descent has to carry is `G`, through the Gram matrix `X Xᵀ` (`+ 1` for the bias).
It is the same descent, not an approximation; `docs/speed.md` derives it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metamodal.outputs import Output

__all__ = ["Descended", "Head", "answers", "descend"]


class Head(NamedTuple):
    """Where descent starts: a linear layer, and in front of it a hidden one if there are hidden units.

    `weight` is `(*t, k, h)`, `bias` `(*t, k)`; `hidden` is `(h, d)` and `hidden_bias` `(h)`, or both
    are empty, and then `h = d`.
    """

    weight: Tensor
    bias: Tensor
    hidden: Tensor
    hidden_bias: Tensor

    @property
    def deep(self) -> bool:
        return self.hidden.numel() > 0


class Descended(NamedTuple):
    """A head after descent: support rows `(*t, s, d)`, what each adds to the first layer `(*t, s, h)`,
    and the head, whose last layer has moved if there is a hidden one in front of it."""

    rows: Tensor
    added: Tensor
    head: Head


def descend(
    rows: Tensor,
    targets: Tensor,
    weights: Tensor,
    head: Head,
    output: Output,
    *,
    rate: Tensor,
    steps: int,
    order: int = 2,
) -> Descended:
    """`steps` of gradient descent on the weighted mean loss of the rows.

    Args:
        rows: support rows `(*t, s, d)`.
        targets: `(*t, s, k)`.
        weights: how much each row counts, `(*t, s)`.
        rate: the step size.
        order: 1 takes the inner gradients as constants for whoever differentiates the result.
    """
    step = rate * (weights / weights.sum(-1, keepdim=True).clamp(min=1))[..., None]
    if order == 2:
        return _descended(rows, targets, step, head, output, steps)
    with torch.no_grad():
        found = _descended(rows, targets, step, head, output, steps)
    weight, bias = (old + (new - old).detach() for old, new in zip(head[:2], found.head[:2]))
    return found._replace(rows=rows.detach(), head=head._replace(weight=weight, bias=bias))


def _descended(
    rows: Tensor, targets: Tensor, step: Tensor, head: Head, output: Output, steps: int
) -> Descended:
    gram = rows @ rows.mT + 1
    start = _first(rows, head)
    added = torch.zeros_like(start)
    weight, bias = head.weight, head.bias
    for number in range(steps):
        reached = _less(start, gram, added) if number else start
        if not head.deep:
            added = added + step * output.gradient(reached, targets)
            continue
        units = torch.relu(reached)
        slope = step * output.gradient(_more(bias[..., None, :], units, weight.mT), targets)
        back = torch.ops.aten.threshold_backward(slope @ weight, units, 0.0)
        bias = bias - slope.sum(-2)
        weight = _less(weight, slope.mT, units)
        added = added + back
    return Descended(rows, added, head._replace(weight=weight, bias=bias))


def answers(descended: Descended, rows: Tensor) -> Tensor:
    """Logits `(*t, q, k)` of rows `(*t, q, d)`."""
    support, added, head = descended
    first = _less(_first(rows, head), rows @ support.mT + 1, added)
    return _more(head.bias[..., None, :], torch.relu(first), head.weight.mT) if head.deep else first


def _first(rows: Tensor, head: Head) -> Tensor:
    """What the first layer says of rows before descent."""
    if head.deep:
        return rows @ head.hidden.mT + head.hidden_bias
    return rows @ head.weight.mT + head.bias[..., None, :]


def _more(c: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`c + a b`, in one go for a stack."""
    return torch.baddbmm(c, a, b) if a.dim() == b.dim() == 3 else c + a @ b


def _less(c: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`c − a b`, in one go for a stack."""
    return torch.baddbmm(c, a, b, alpha=-1) if a.dim() == b.dim() == 3 else c - a @ b
