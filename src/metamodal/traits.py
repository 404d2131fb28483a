"""What a parameter declares about itself: how fast it learns, whether it decays, what moves it after training.

A component declares the traits of its parameters where it makes them; whoever trains, shrinks or saves
parameters asks for the traits and never for a name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import Tensor, nn

__all__ = ["Trait", "decays", "declared", "trait_of"]


@dataclass(frozen=True)
class Trait:
    """How training treats a parameter: learning rate, weight decay, and what changes it after training.

    A component declares traits with `declared`, where it makes the parameter. Training, adaptation shrinkage and
    saving ask for the traits and never for a name, so a parameter can be renamed.

    >>> import torch
    >>> from metamodal.extend import Trait, declared
    >>> temperature = declared(torch.tensor(0.0), rate=20.0)
    >>> temperature.trait == Trait(rate=20.0)
    True

    Args:
        rate: factor on the learning rate; logarithms and weights between 0 and 1 need a larger one.
        decays: whether it has weight decay; by default a matrix has and a vector or scalar has not.
        pretrained: whether it has the learning rate of pretrained networks.
        modality: the modality whose encoder it is part of.
        shrinks: the direction in which adaptation shrinkage moves it: 1 for a penalty, -1 for a step size.
        settled: whether validation tasks choose it after training, so that more training leaves it.
        fitted: whether it is fitted after training, and zero before.
    """

    rate: float = 1.0
    decays: bool | None = None
    pretrained: bool = False
    modality: str = ""
    shrinks: int = 0
    settled: bool = False
    fitted: bool = False


T = TypeVar("T", Tensor, nn.Parameter)


def declared(value: T, **traits: Any) -> T:
    """The same parameter with these traits, besides those that it has already.

    Use it where a learner or a module makes a parameter that training should treat in a particular way. A
    temperature kept as a logarithm has to move far in few steps, so it takes a larger learning rate:

    >>> import torch
    >>> log_scale = declared(torch.tensor(0.0), rate=20.0)
    >>> trait_of(log_scale).rate, trait_of(torch.tensor(0.0)).rate
    (20.0, 1.0)

    Args:
        value: a tensor or an `nn.Parameter`; it is changed in place and returned.
        traits: fields of `Trait`.
    """
    value.trait = replace(trait_of(value), **traits)  # type: ignore[attr-defined]
    return value


def trait_of(value: Tensor) -> Trait:
    """The traits of a parameter as its component made it."""
    found = getattr(value, "trait", None)
    return found if isinstance(found, Trait) else Trait()


def decays(trait: Trait, value: Tensor) -> bool:
    """Whether a parameter has weight decay."""
    return value.dim() > 1 if trait.decays is None else trait.decays
