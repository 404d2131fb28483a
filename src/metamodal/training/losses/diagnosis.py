"""Diagnosis: how far each loss, and each modality, moves the weights, and which losses are at odds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from metamodal.training.losses import drawn_step
from metamodal.training.losses.multi_loss import MultiLoss
from metamodal.types import Params

__all__ = ["Diagnosis", "Pull", "Push", "diagnosed", "pushes"]

_WORKERS = 10_007  # numbers of episodes begin here that no worker trains on


@dataclass(frozen=True)
class Push:
    """What a loss does to the weights that are kept: its value, the λ in effect, the norm of its weighted
    gradient, that norm's share of all losses', and the cosine with the sum of the others' gradients.
    """

    loss: float
    weight: float
    norm: float
    share: float
    cosine: float


@dataclass(frozen=True)
class Pull:
    """How far a modality's encoder is moved by all losses: the norm of its gradient, and its share."""

    norm: float
    share: float


@dataclass(frozen=True)
class Diagnosis:
    """What the losses do to the weights at one moment, before surgery, balance and the optimiser."""

    losses: dict[str, Push]
    modalities: dict[str, Pull]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def diagnosed(joint: MultiLoss, params: Params, step: int = 0) -> Diagnosis:
    """The diagnosis of a step's episodes that no training step sees: a backward pass a loss.

    Training goes on as if it had not happened.

    Args:
        step: where training stands; the episodes are others at every step.
    """
    joint.probe.reseed(_WORKERS + step)
    losses = joint.losses(drawn_step(joint.context, joint.probe, params))
    rows = joint.rows(losses, params)
    sizes = [v.numel() for v in params.values()]
    names = [joint.modality_of(name) for name in params]
    kept = joint.kept(params)
    parts = rows.sum(0).split(sizes)
    norms = {
        m: float(
            torch.cat([part for part, own in zip(parts, names) if own == m] or [rows.new_zeros(1)]).norm()
        )
        for m in joint.modalities
    }
    total = sum(norms.values())
    return Diagnosis(
        pushes(
            {name: float(loss.detach()) for name, loss in losses.items()},
            joint.weights(params),
            rows[:, :kept],
        ),
        {m: Pull(norm, norm / total if total else 0.0) for m, norm in norms.items()},
    )


def pushes(
    losses: dict[str, float], weights: dict[str, float], rows: Float[Tensor, "k p"]
) -> dict[str, Push]:
    """What each loss does, from its weighted gradient; a cosine with nothing is 0."""
    norms, whole = rows.norm(dim=1), rows.sum(0)
    shares = norms / norms.sum().clamp(min=1e-30)
    found = {}
    for i, (name, loss) in enumerate(losses.items()):
        others = whole - rows[i]
        scale = float(norms[i] * others.norm())
        cosine = float(rows[i] @ others) / scale if scale else 0.0
        found[name] = Push(loss, weights[name], float(norms[i]), float(shares[i]), cosine)
    return found
