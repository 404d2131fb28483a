"""Encoders that are Python code: a `torch.nn.Module`, a Keras 3 model on torch, or any callable."""

from __future__ import annotations

import copy
import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn

from metamodal.data.features.extractors.protocol import open_cell
from metamodal.errors import MetamodalError, OptionError

__all__ = ["FromCallable", "FromModule", "hashed_words"]

_BATCH = 64
_SIDE = 64
_WORDS = (32, 4096)


class FromModule:
    """A network of torch or Keras, with the preparation of cells that it brings or that its kind has.

    `module.prepare(cells)`, if there is such a method, turns read cells into the network's input. Else
    images become `(n, 3, 64, 64)` with values in 0..1, or for a Keras model what its input layer says
    (channels last); texts become the numbers of their words, `hashed_words`, for a Keras model as many as its
    input layer takes; arrays are stacked as they are.
    """

    def __init__(self, module: nn.Module, kind: str, spec: str | None) -> None:
        self.module, self.kind, self.spec = _frozen(module), kind, spec
        self.identity = _fingerprint(module, kind)

    def open(self, cell: Any, base: Path) -> Any:
        return open_cell(self.kind, cell, base)

    def vectors(self, values: Sequence[Any]) -> np.ndarray:
        with torch.no_grad():
            parts = [
                _flat(self._output(values[i : i + _BATCH]), self.spec or self.kind)
                for i in range(0, len(values), _BATCH)
            ]
        return torch.cat(parts).cpu().numpy().astype(np.float32)

    def _output(self, values: Sequence[Any]) -> Any:
        with _named_failure(self.spec or type(self.module).__name__, "a batch of cells"):
            return self.module(self.prepare(values))

    def prepare(self, values: Sequence[Any]) -> Tensor:
        own = getattr(self.module, "prepare", None)
        if callable(own):
            return torch.as_tensor(own(list(values))).float()
        layer = getattr(
            self.module, "input_shape", None
        )  # Keras: (None, height, width, channels), or (None, words)
        if self.kind == "image":
            if isinstance(layer, tuple) and len(layer) == 4:
                return _pictures(values, (layer[1] or _SIDE, layer[2] or _SIDE), grey=layer[3] == 1)
            return _pictures(values, (_SIDE, _SIDE), grey=False).permute(0, 3, 1, 2).contiguous()
        if self.kind == "text":
            length = layer[1] if isinstance(layer, tuple) and len(layer) == 2 else None
            return hashed_words(values, length or _WORDS[0], _vocabulary(self.module))
        try:
            return torch.from_numpy(np.stack([np.asarray(v, np.float32) for v in values]))
        except (TypeError, ValueError):
            name = type(self.module).__name__
            raise OptionError(
                f"{self.spec or name}: cells of {self.kind} have no one shape. Give {name} a method prepare(cells)."
            ) from None

    def network(self) -> nn.Module:
        return _Flat(copy.deepcopy(self.module), self.spec or self.kind)


class FromCallable:
    """Any function of a list of read cells that gives an array `(n, width)`.

    Its vectors are kept between runs only if it has a string attribute `identity`, since nothing else
    tells when two functions are the same.
    """

    def __init__(self, function: Callable[[list[Any]], Any], kind: str, spec: str | None) -> None:
        self.function, self.kind, self.spec = function, kind, spec
        own = getattr(function, "identity", None)
        digest = hashlib.blake2b(f"{kind} {own}".encode(), digest_size=12).hexdigest()
        self.identity = f"callable-{digest}" if isinstance(own, str) else None

    def open(self, cell: Any, base: Path) -> Any:
        return open_cell(self.kind, cell, base)

    def vectors(self, values: Sequence[Any]) -> np.ndarray:
        name = self.spec or getattr(self.function, "__name__", "the callable")
        with _named_failure(name, "a list of cells"):
            found = self.function(list(values))
            array = np.asarray(found.detach().cpu() if isinstance(found, Tensor) else found, np.float32)
        if array.ndim != 2 or len(array) != len(values):
            raise OptionError(f"{name}: gave shape {array.shape} for {len(values)} cells. Return (n, width).")
        return array


@contextmanager
def _named_failure(name: str | None, given: str) -> Iterator[None]:
    """Whatever the user's own code raises, as an error that names that code; the cause is kept for --debug."""
    try:
        yield
    except MetamodalError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0].rstrip(".")[:200]
        raise OptionError(
            f"encoder {name}: failed on {given} ({type(error).__name__}: {reason}). Give a function of a list of cells "
            "that returns an array (n, width), or fix it."
        ) from error


class _Flat(nn.Module):
    def __init__(self, module: nn.Module, name: str) -> None:
        super().__init__()
        self.module, self.name = module, name

    def forward(self, x: Tensor) -> Tensor:
        return _flat(self.module(x), self.name)


def hashed_words(values: Sequence[str], length: int, vocabulary: int) -> Tensor:
    """The first words of each text as whole numbers from 1, told by a hash; 0 where there is none."""
    numbers = torch.zeros(len(values), length)
    for i, text in enumerate(values):
        for j, word in enumerate(str(text).lower().split()[:length]):
            numbers[i, j] = 1 + zlib.crc32(word.encode()) % (vocabulary - 1)
    return numbers


def _frozen(module: nn.Module) -> nn.Module:
    """The module in evaluation mode; one that its owner trains stays as it is, and a copy is taken."""
    training = any(part.training for part in module.modules())
    return copy.deepcopy(module).eval() if training else module


def _vocabulary(module: nn.Module) -> int:
    """The rows of the first embedding table: torch's `num_embeddings`, Keras's `input_dim`."""
    for part in [*module.modules(), *getattr(module, "layers", [])]:
        for name in ("num_embeddings", "input_dim"):
            if isinstance(size := getattr(part, name, None), int) and "mbedding" in type(part).__name__:
                return size
    return _WORDS[1]


def _pictures(values: Sequence[np.ndarray], size: tuple[int, int], grey: bool) -> Tensor:
    """Pictures `(n, height, width, channels)` with values in 0..1."""
    height, width = size
    pixels = []
    for value in values:
        picture = PIL.Image.fromarray(value).convert("L" if grey else "RGB")
        pixels.append(np.asarray(picture.resize((width, height), PIL.Image.Resampling.BILINEAR)))
    x = torch.from_numpy(np.stack(pixels)).float() / 255
    return x[..., None] if grey else x


def _flat(output: Any, name: str) -> Tensor:
    if not isinstance(output, Tensor) or output.dim() < 2:
        raise OptionError(f"{name}: the module must give one tensor (n, …) of features.")
    return output.flatten(1)


def _fingerprint(module: nn.Module, kind: str) -> str:
    state = hashlib.blake2b(f"{kind} {type(module).__qualname__} {module!r}".encode(), digest_size=12)
    for name, tensor in module.state_dict().items():
        state.update(name.encode())
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return f"module-{state.hexdigest()}"
