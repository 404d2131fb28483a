"""A module as a pure function of its parameters, for any number of threads at once."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

__all__ = ["Pure"]


class Pure:
    """`pure(params, *args)` is what `module(*args)` gives with `params` in place of its own parameters.

    `functional_call` puts the parameters into the module for as long as a call takes, so two calls at once
    would read each other's. Each call under way therefore has a copy of the module to itself: the
    structure is copied, the tensors are shared. As many copies are kept as calls were ever under way at once.

    >>> import torch
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> Pure(layer)({"weight": torch.ones(1, 2)}, torch.tensor([[1.0, 2.0]])).tolist()
    [[3.0]]
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._idle: deque[nn.Module] = deque()

    def __call__(self, params: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        try:
            own = self._idle.pop()
        except IndexError:
            own = self._copy()
        try:
            return functional_call(own, dict(params), args, kwargs)
        finally:
            self._idle.append(own)

    def _copy(self) -> nn.Module:
        tensors = (*self.module.parameters(), *self.module.buffers())
        return copy.deepcopy(self.module, {id(tensor): tensor for tensor in tensors})

    def __getstate__(self) -> dict[str, Any]:
        return {"module": self.module}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["module"])  # type: ignore[misc]
