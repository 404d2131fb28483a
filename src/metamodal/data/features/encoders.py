"""Which modalities go through which pretrained encoders, frozen or trained along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from metamodal.data.features.extractors import Extractor, Tunable, is_weights, open_extractor
from metamodal.data.modalities.protocol import CellError
from metamodal.data.schema.inference import Schema
from metamodal.errors import ArtifactError, OptionError, suggestion

__all__ = ["Encoders", "Tuned", "open_encoders", "reopened"]

_CHUNK = 256


@dataclass(frozen=True)
class Encoders:
    """Encoders by modality: the cells of `frozen` ones become vectors, `tuned` ones are part of the model."""

    frozen: Mapping[str, Extractor] = field(default_factory=dict)
    tuned: Mapping[str, Tunable] = field(default_factory=dict)

    def __contains__(self, name: object) -> bool:
        return name in self.frozen or name in self.tuned

    def record(self, name: str) -> dict[str, Any]:
        """What an artifact keeps of an encoder."""
        encoder = self.frozen.get(name) or self.tuned[name]
        if encoder.spec is None:
            raise OptionError(
                f"encoder of {name}: an object of this process cannot be saved. "
                "Put it into a module and name it as 'package.module:name'."
            )
        return {"spec": encoder.spec, "identity": encoder.identity, "tuned": name in self.tuned}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], given: Mapping[str, Any]) -> Encoders:
        """The encoders that a saved preprocessor names, if they are still what they were.

        Of those trained along the artifact has the weights.

        Args:
            given: those that are code, by modality.

        Raises:
            ArtifactError: a frozen encoder's weights or settings are others than in training, or an
                encoder is code and not given.
        """
        found: dict[bool, dict[str, Any]] = {False: {}, True: {}}
        for name, entry in record.items():
            if said := entry.get("encoder"):
                found[said["tuned"]][name] = reopened(said, entry["kind"], name, given.get(name))
        return cls(found[False], found[True])


def reopened(said: Mapping[str, Any], kind: str, name: str, given: Any = None) -> Extractor:
    """The encoder of an artifact's record: `given` by the caller, or from a folder of weights.

    The record itself never causes an import.

    Raises:
        ArtifactError: it is code and not given, or it is another than in training.
    """
    spec = said["spec"]
    if given is None and not is_weights(spec):
        raise ArtifactError(
            f"encoder of {name}: {spec!r} is code, or a folder that is not there, and an artifact runs no code. "
            f"Restore the folder, or give the code again: --encoder {name}={spec}, "
            f"in Python load(folder, encoders={{{name!r}: …}})."
        )
    encoder = open_extractor(spec if given is None else given, kind, name)
    if not said.get("tuned") and encoder.identity != said["identity"]:
        raise ArtifactError(
            f"encoder of {name}: {encoder.spec or type(encoder).__name__} is not what it was in training ({spec}). "
            "Restore it, or train again."
        )
    return encoder


def open_encoders(said: Mapping[str, Any], tune: Sequence[str], schema: Schema) -> Encoders:
    """The encoders that a caller said for some of a table's modalities.

    Raises:
        OptionError: no such modality, nothing that encodes, or an encoder to tune that has no network.
    """
    known = dict(schema.modalities)
    if described := schema.role("describe"):
        known[described] = ("text", (described,))
    for name in said:
        if name not in known:
            raise OptionError(f"--encoder {name}: no such modality. {suggestion(name, known)}")
    for name in tune:
        if name not in said:
            raise OptionError(f"model.tune: {name!r} has no encoder. {suggestion(name, said)}")
    opened = {name: open_extractor(spec, known[name][0], name) for name, spec in said.items()}
    tuned: dict[str, Tunable] = {}
    for name in tune:
        encoder = opened[name]
        if name not in schema.modalities:
            raise OptionError(
                f"model.tune: {name} describes classes, its encoder stays as it is. Leave it frozen."
            )
        if not isinstance(encoder, Tunable):
            raise OptionError(f"model.tune: the encoder of {name} has no network to train. Leave it frozen.")
        tuned[name] = encoder
    return Encoders({n: e for n, e in opened.items() if n not in tuned}, tuned)


@dataclass(frozen=True)
class Tuned:
    """A fitted modality whose tensors are the input of a network that is trained along.

    The network brings its own preparation of cells: nothing is scaled or augmented here.
    """

    encoder: Tunable
    shape: tuple[int, ...]

    @classmethod
    def of(cls, encoder: Tunable, values: Sequence[Any]) -> Tuned:
        return cls(encoder, tuple(encoder.prepare(values[:1]).shape[1:]))

    @cached_property
    def _frozen(self) -> nn.Module:
        return self.encoder.network().eval()

    def tensor(self, values: Sequence[Any]) -> Float[Tensor, "n *shape"]:
        parts = [self.encoder.prepare(values[at : at + _CHUNK]) for at in range(0, len(values), _CHUNK)]
        for part in parts:
            if tuple(part.shape[1:]) != self.shape:
                raise CellError(
                    f"prepared to shape {tuple(part.shape[1:])}, in training {self.shape}. Fix the encoder"
                )
        return torch.cat(parts)

    def features(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n f"]:
        """What the network gives before it is trained along."""
        with torch.no_grad():
            return F.normalize(self._frozen(x), dim=1)

    def augment(self, x: Float[Tensor, "n *shape"], generator: Generator) -> Float[Tensor, "n *shape"]:
        return x

    @property
    def variants(self) -> int:
        return 1

    def variant(self, x: Float[Tensor, "n *shape"], number: int) -> Float[Tensor, "n *shape"]:
        return x
