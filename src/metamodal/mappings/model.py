"""The model: encoders, absent tokens and fusion composed into one mapping from rows to embeddings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metamodal.components import Built, component, component_record, kind_of
from metamodal.errors import OptionError
from metamodal.mappings.class_encoder import ClassEncoder
from metamodal.mappings.decoders import decoders as decoders_by_kind
from metamodal.mappings.encoders import Identity, PretrainedEncoder, encoders
from metamodal.mappings.fusion import Attending, KnowsPresence, SideBySide, fusions, imputers
from metamodal.mappings.layers import of_rows, stackable
from metamodal.traits import declared
from metamodal.types import Batch, Space

__all__ = ["Model", "NetworkSpec", "build_model", "untrained_model"]


class Model(nn.Module):
    """`fuse ∘ encode`: rows of any subset of the modalities to embeddings.

    A modality that a batch does not mention counts as absent in every row. Rows may have several
    leading axes. Parameters may have one more leading axis than their own, one value a task; the
    rows' first axis is then the tasks' (see `metamodal.mappings.layers`).

    Args:
        class_encoder: maps class information to embeddings.
        decoders: by modality, for those that have one; they map tokens and embeddings back to inputs.
    """

    def __init__(
        self,
        modalities: tuple[str, ...],
        networks: list[nn.Module],
        fusion: nn.Module,
        dim: int,
        class_encoder: nn.Module | None = None,
        decoders: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.modalities = modalities
        self.dim = dim
        self.encoders = nn.ModuleList(networks)
        for name, network in zip(modalities, networks):
            for parameter in network.parameters():
                declared(parameter, modality=name)
        self.fusion = fusion
        self.absent = nn.Parameter(torch.zeros(len(modalities), dim))
        self.class_encoder = class_encoder
        self.decoded = tuple(decoders or ())
        self.decoders = nn.ModuleList((decoders or {}).values())

    @property
    def stacks(self) -> bool:
        """Whether the parameters may differ from task to task, and a stack of tasks is no slower: where maps
        are pooled, and so large before, it is."""
        pooled = any(isinstance(part, nn.MaxPool2d) for part in self.modules())
        return not pooled and all(stackable(part) for part in (*self.encoders, self.fusion))

    @property
    def imputes(self) -> bool:
        """Whether tokens of absent cells come from those that are there."""
        return isinstance(self.fusion, KnowsPresence) and self.fusion.presence.imputer is not None

    def encode(self, batch: Batch) -> Batch:
        """One token a modality a row; an absent cell gives its modality's absent token.

        What an absent cell's input holds has no influence, be it NaN.
        """
        tokens, present = {}, {}
        rows = next(iter(batch.present.values()))
        absent = of_rows(self.absent, len(rows), 2)
        for i, name in enumerate(self.modalities):
            there = batch.present.get(name, torch.zeros_like(rows))
            if name in batch.inputs:
                x = batch.inputs[name]
                x = torch.where(there.view(-1, *[1] * (x.dim() - 1)), x, 0.0)
                z = self.encoders[i](x)
                instead = absent[:, i] if self.dim else torch.zeros_like(z)
                tokens[name] = torch.where(there[:, None], z, instead)
            elif self.dim:
                tokens[name] = absent[:, i].expand(len(rows), -1)
            else:
                continue
            present[name] = there
        return batch._replace(inputs=tokens, present=present)

    def fuse(self, tokens: Batch) -> Float[Tensor, "n d"]:
        """One embedding a row from the tokens that are given."""
        return self.fusion(tokens)

    @property
    def attends(self) -> bool:
        """Whether the fusion has attention weights to show."""
        return isinstance(self.fusion, Attending)

    def attend(self, tokens: Batch) -> Float[Tensor, "n h m m"]:
        """How much each of a row's tokens attends to each, where the model attends."""
        fusion: Any = self.fusion
        return fusion.weights(tokens)

    def impute(self, tokens: Batch) -> Any:
        """What each of a flat row's tokens says of each other one, where the model imputes."""
        presence: Any = self.fusion.presence
        return presence.guesses(tokens)

    def embed_classes(self, class_info: dict[str, Tensor]) -> dict[str, Tensor]:
        """An embedding of each class from its class information, and which of them have one."""
        return self.class_encoder(class_info) if self.class_encoder is not None and class_info else {}

    def decode(self, tokens: Batch, targets: Collection[str] | None = None) -> dict[str, dict[str, Tensor]]:
        """Of each input, be it a modality's token or an embedding, the targets that have a decoder, by default
        all of them."""
        chosen = {
            m: decoder for m, decoder in zip(self.decoded, self.decoders) if targets is None or m in targets
        }
        return {name: {m: back(z) for m, back in chosen.items()} for name, z in tokens.inputs.items()}

    def forward(self, batch: Batch, stage: str = "embed", targets: Collection[str] | None = None) -> Any:
        """`encode`, `fuse`, `decode`, `impute`, `attend`, `embed_classes` or, by default, the first two: one door for
        `functional_call`."""
        if stage == "embed_classes":
            return self.embed_classes(batch.class_info)
        axes = next(iter(batch.present.values())).shape
        flat = batch.flat()
        if stage in ("impute", "attend"):
            return self.impute(flat) if stage == "impute" else self.attend(flat)
        if stage == "decode":
            found = self.decode(flat, targets)
            return {a: {b: x.unflatten(0, axes) for b, x in of.items()} for a, of in found.items()}
        if stage == "encode":
            tokens = self.encode(flat)
            return batch._replace(
                inputs={m: x.unflatten(0, axes) for m, x in tokens.inputs.items()},
                present={m: p.view(axes) for m, p in tokens.present.items()},
            )
        return self.fuse(flat if stage == "fuse" else self.encode(flat)).unflatten(0, axes)


@dataclass(frozen=True)
class NetworkSpec:
    """What a network is built from, beside the spaces of its modalities.

    Args:
        fusion: how tokens become one embedding.
        dim: width of the shared space.
        decoders: whether every modality that can be decoded has a decoder: not one behind a pretrained network.
        impute: whether the fusion fills in absent tokens from those that are present.
        encoders: by modality, those that are not the default of their kind.
    """

    fusion: Built
    dim: int = 128
    decoders: bool = False
    impute: bool = False
    encoders: Mapping[str, Built] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.dim <= 2**16:
            raise ValueError(f"dim={self.dim}: not between 1 and 65,536")

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "fusion": component_record(fusions, self.fusion),
            "dim": self.dim,
            "decoders": self.decoders,
            "impute": self.impute,
            "encoders": {name: component_record(encoders, e) for name, e in self.encoders.items()},
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> NetworkSpec:
        """The inverse of `to_dict`."""
        chosen = {name: component(encoders, e, f"encoders.{name}") for name, e in record["encoders"].items()}
        fusion = component(fusions, record["fusion"], "fusion")
        return cls(fusion, record["dim"], record["decoders"], record["impute"], chosen)


def build_model(
    spaces: dict[str, tuple[str, Space]],
    spec: NetworkSpec,
    *,
    pretrained: Mapping[str, nn.Module] | None = None,
    descriptions: Space | None = None,
    names: int = 0,
) -> Model:
    """A model for modalities given by name as (kind, space), with weights from torch's generator.

    Args:
        pretrained: networks that some modalities' encoders start from, instead of their kind's own.
        descriptions: the space of descriptions of classes, if there are any.
        names: how many classes are known by name, the same in several tasks.

    Raises:
        OptionError: to impute in a fusion of another package that has no `Presence`.
    """
    order, dim = tuple(spaces), spec.dim
    given = pretrained or {}
    networks = [
        PretrainedEncoder(given[name], space.shape, dim)
        if name in given
        else spec.encoders.get(name, encoders[kind])(space.shape, dim)
        for name, (kind, space) in spaces.items()
    ]
    class_encoder = ClassEncoder(descriptions, names, dim) if descriptions or names else None
    fused = spec.fusion(order, dim)
    back = {
        name: decoders_by_kind[kind](space.shape, dim)
        for name, (kind, space) in spaces.items()
        if spec.decoders and kind in decoders_by_kind and name not in given
    }
    if spec.impute:
        if not isinstance(fused, KnowsPresence):
            raise OptionError(
                f"model.impute=true: the fusion {kind_of(fusions, spec.fusion)} has no Presence to impute in. Leave it out."
            )
        fused.presence.imputer = imputers["gaussian"](len(order), dim)
    return Model(order, networks, fused, dim, class_encoder, back)


def untrained_model(modalities: tuple[str, ...]) -> Model:
    """A model without weights over generic features: identity encoders, concatenation."""
    return Model(modalities, [Identity() for _ in modalities], SideBySide(modalities), dim=0)
