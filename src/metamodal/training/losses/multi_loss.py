"""The joint objective `Σ λ_m L_m`: a step's losses, and the one gradient that comes of theirs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from metamodal.components import Built, kind_of
from metamodal.errors import OptionError
from metamodal.training.context import Context
from metamodal.training.episodes.sampler import EpisodeSampler
from metamodal.training.losses import Step, active, drawn_step
from metamodal.training.losses.modality_balance import scores
from metamodal.training.losses.surgery import aggregated, surgeries
from metamodal.training.losses.weighing import Fixed, Gap, State, begun, weighings
from metamodal.training.options import TrainOptions
from metamodal.traits import Trait, trait_of
from metamodal.types import Params

__all__ = ["MultiLoss", "Outcome"]


class Outcome(NamedTuple):
    """What a step found: the gradient on the weights' device, and on the CPU `Σ λ_m L_m` with the fixed λ and the losses.

    `norms` are those of the weighted gradients in the weights that are kept, `scores` how good each
    modality is by itself; zeros where nothing needs them.
    """

    gradient: Float[Tensor, "p"]
    value: Float[Tensor, "1"]
    losses: Float[Tensor, "k"]
    norms: Float[Tensor, "k"]
    scores: Float[Tensor, "m"]


class MultiLoss:
    """The losses of a training with their λ, and how their gradients become one.

    What the weighing remembers is in the first process, and the factors on the λ in shared memory, set
    between steps. Surgery works on each worker's own gradients, in the weights that are kept; what is
    learned beside them (`outer.…`, the last of the parameters) follows the plain sum.
    """

    def __init__(self, context: Context, sampler: EpisodeSampler, options: TrainOptions) -> None:
        self.context, self.sampler, self.modalities = context, sampler, tuple(context.rows.inputs)
        self.weighing, self.balance = options.weighing, options.modality_balance
        self.objectives = active(options.losses, context, sampler)
        self.fixed = {name: weight for _, weights in self.objectives for name, weight in weights.items()}
        if options.outer == "displacement" and not isinstance(self.weighing, Fixed):
            raise OptionError(
                f"train.weighing={kind_of(weighings, self.weighing)}: train.outer=displacement has a direction and no loss to weigh by. Set train.weighing=fixed."
            )
        self.weighing.check(list(self.fixed))
        self.state: State = begun(len(self.fixed))
        self.factors = self.state["factors"].clone().share_memory_()
        self.surgery, self.generator = options.surgery, Generator().manual_seed(context.seed)
        aggregated(torch.eye(2), self.surgery)  # a package that is missing is known at once
        self.apart = self.surgery != Built(surgeries["none"]) or self.weighing.norms

    @cached_property
    def start(self) -> Params:
        """The auxiliary parameters of losses and weighing, at their start; the saved model is without them."""
        found = dict(self.weighing.parameters(len(self.fixed)))
        for objective, _ in self.objectives:
            found |= objective.start(self.context, self.sampler)
        return found

    @property
    def traits(self) -> dict[str, Trait]:
        """What the auxiliary parameters declare about themselves."""
        return {name: trait_of(value) for name, value in self.start.items()}

    @cached_property
    def probe(self) -> EpisodeSampler:
        """Episodes to look at, beside those that are trained on."""
        return EpisodeSampler(self.context)

    def size(self, params: Params) -> int:
        """The length of the vector of `outcome`."""
        return sum(v.numel() for v in params.values()) + 1 + 2 * len(self.fixed) + len(self.modalities)

    def parsed(self, vector: Tensor) -> Outcome:
        """The vector of `outcome`, or a mean of such, in its parts."""
        k, m = len(self.fixed), len(self.modalities)
        gradient, rest = vector.split([len(vector) - 1 - 2 * k - m, 1 + 2 * k + m])
        return Outcome(gradient, *rest.cpu().split([1, k, k, m]))

    def outcome(self, params: Params) -> Tensor:
        """The next step's `Outcome` as one vector, the gradient in the order of the parameters."""
        step = drawn_step(self.context, self.sampler, params)
        losses = self.losses(step)
        values = torch.stack([loss.detach() for loss in losses.values()])
        value = _sum(self.fixed, losses).detach()
        fixed = values.new_tensor(list(self.fixed.values()))
        extra = self.weighing.loss(params, fixed, values)
        norms = torch.zeros_like(values)
        if self.apart:
            rows = self.rows(losses, params)
            kept = self.kept(params)
            norms = rows[:, :kept].norm(dim=1)
            agreed = aggregated(rows[:, :kept], self.surgery, self.generator)
            gradient = torch.cat([agreed, rows[:, kept:].sum(0)])
            gradient = gradient if extra is None else gradient + _gradient(extra, params)
        else:
            total = _sum(self.weights(params), losses)
            gradient = _gradient(total if extra is None else total + extra, params, more=False)
        known = scores(step) if self.balance.scored else values.new_zeros(len(self.modalities))
        return torch.cat([gradient, value[None], values, norms, known])

    def losses(self, step: Step) -> dict[str, Tensor]:
        """The losses of a step by name, without λ."""
        return {name: loss for o, _ in self.objectives for name, loss in o.losses(step).items()}

    def weights(self, params: Params) -> dict[str, float]:
        """The λ in effect: as the options say, times the weighing's factor."""
        factors = self.weighing.factors({"factors": self.factors}, params).tolist()
        return {name: fixed * factor for (name, fixed), factor in zip(self.fixed.items(), factors)}

    def rows(self, losses: dict[str, Tensor], params: Params) -> Float[Tensor, "k p"]:
        """The gradient of each weighted loss in all parameters: one backward pass a loss."""
        weights = self.weights(params)
        return torch.stack([_gradient(weights[name] * loss, params) for name, loss in losses.items()])

    def balanced(self, outcome: Outcome, params: Params) -> Float[Tensor, "p"]:
        """The gradient with that of each modality's encoder changed as the balance says."""
        factors = self.balance.factors(dict(zip(self.modalities, outcome.scores.tolist())))
        if not factors:
            return outcome.gradient
        parts = outcome.gradient.split([v.numel() for v in params.values()])
        changed = []
        for name, part in zip(params, parts):
            factor = factors.get(self.modality_of(name))
            changed.append(part if factor is None else self.balance.changed(part, factor, self.generator))
        return torch.cat(changed)

    def modality_of(self, name: str) -> str:
        """The modality whose encoder a parameter is of; nothing of other parameters."""
        trait = self.context.engine.traits.get(name)
        return trait.modality if trait else ""

    def kept(self, params: Params) -> int:
        """How many of the values stay in the saved model: those that come first."""
        return sum(v.numel() for name, v in params.items() if name not in self.start)

    def stepped(self, outcome: Outcome) -> None:
        """Let the weighing see a step."""
        self._adopt(self.weighing.stepped(self.state, outcome.losses, outcome.norms))

    def validated(self, gap: Callable[[], Gap]) -> None:
        """Let the weighing see a validation, or the start."""
        self._adopt(self.weighing.validated(self.state, gap))

    def _adopt(self, state: State) -> None:
        self.state = state
        self.factors.copy_(state["factors"])


def _sum(weights: dict[str, float], losses: dict[str, Tensor]) -> Float[Tensor, ""]:
    """`Σ λ_m L_m`."""
    return sum((weights[name] * loss for name, loss in losses.items()), start=torch.zeros(()))


def _gradient(loss: Tensor, params: Params, *, more: bool = True) -> Float[Tensor, "p"]:
    """The gradient in all parameters as one vector; the graph stays if there are more losses of it."""
    values = list(params.values())
    if not loss.requires_grad:
        return values[0].new_zeros(sum(v.numel() for v in values))
    found = torch.autograd.grad(loss, values, materialize_grads=True, retain_graph=more)
    return torch.cat([g.flatten() for g in found])
