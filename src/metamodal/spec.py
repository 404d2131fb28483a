"""What a model is built from: a value that the artifact holds, that training starts from and that a run resumes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from metamodal.components import component, component_record, kind_of, options_of_value
from metamodal.data.class_info import ClassInfo
from metamodal.data.features.encode import Preprocessor
from metamodal.data.modalities import modalities
from metamodal.data.schema.targets import Targets
from metamodal.mappings.decoders import decoders
from metamodal.mappings.encoders import encoders
from metamodal.mappings.fusion import fusions
from metamodal.mappings.maps import Map, maps
from metamodal.mappings.model import NetworkSpec, build_model, untrained_model
from metamodal.meta.engine import Engine
from metamodal.meta.learners import learners
from metamodal.registry import Registry
from metamodal.types import Learner

__all__ = ["ModelSpec"]


@dataclass(frozen=True)
class ModelSpec:
    """The network and the learner; kinds and shapes are those of the modalities that it is built for.

    Args:
        network: `None` for a model without weights, over generic features.
        mapping: the kind of the maps between modalities that it retrieves with, if any.

    >>> ModelSpec(None, component(learners, "ridge")).to_dict()["network"] is None
    True
    """

    network: NetworkSpec | None
    learner: Learner
    mapping: Map | None = None

    def under(self, learner: Learner) -> ModelSpec:
        """The same network under another learner."""
        return replace(self, learner=learner)

    def engine(self, preprocessor: Preprocessor, targets: Targets, class_info: ClassInfo) -> Engine:
        """Network and learner, with random weights from torch's generator."""
        if self.network is None:
            model = untrained_model(preprocessor.modalities)
        else:
            pretrained = {name: e.network() for name, e in preprocessor.encoders.tuned.items()}
            model = build_model(
                preprocessor.spaces,
                self.network,
                pretrained=pretrained,
                descriptions=class_info.space,
                names=len(class_info.names),
            )
        return Engine(model, self.learner, preprocessor.modalities, targets.output, targets.outputs)

    def packages(self, kinds: Iterable[str]) -> dict[str, str]:
        """The components of other packages that the model is built from, each with its package and version.

        Args:
            kinds: those of its modalities.
        """
        used: list[tuple[Registry[Any], Any]] = [(learners, self.learner)]
        for _, learner in used:  # and the learners that it is built on
            used += [(learners, v) for v in options_of_value(learner).values() if isinstance(v, Learner)]
        if self.network:
            used += [(fusions, self.network.fusion), *((encoders, e) for e in self.network.encoders.values())]
        used += [(maps, self.mapping)] if self.mapping else []
        named = [(registry, kind_of(registry, item)) for registry, item in used]
        named += [(registry, kind) for kind in kinds for registry in (modalities, encoders, decoders)]
        return {
            f"{registry.room} {name}": registry.packages[name]
            for registry, name in named
            if name in registry and name in registry.packages
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "network": self.network.to_dict() if self.network else None,
            "learner": component_record(learners, self.learner),
            "mapping": component_record(maps, self.mapping) if self.mapping else None,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ModelSpec:
        """The inverse of `to_dict`.

        Raises:
            OptionError: a component that is not installed, or an option that it does not have.
        """
        network, mapping = record["network"], record["mapping"]
        return cls(
            None if network is None else NetworkSpec.from_dict(network),
            component(learners, record["learner"], "learner"),
            None if mapping is None else component(maps, mapping, "mapping"),
        )
