"""The option tree of an experiment: the same as YAML, `key=value`, keyword arguments and the artifact's record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, cast

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from metamodal.components import Auto, Built, EachOf, OneOf, component, component_record
from metamodal.data.modalities import modalities
from metamodal.data.options import DataOptions
from metamodal.device import Device, Precision
from metamodal.mappings.encoders import encoders
from metamodal.mappings.fusion import fusions
from metamodal.mappings.maps import Map, maps
from metamodal.mappings.model import NetworkSpec
from metamodal.meta.learners import UNTRAINED, learners
from metamodal.options import Misfit, Options, refused
from metamodal.spec import ModelSpec
from metamodal.training.options import TrainOptions
from metamodal.types import Learner

__all__ = ["FUSIONS", "LEARNERS", "Experiment", "ModelOptions"]

FUSIONS = ("mean", "attention")
"""The fusions that `auto` chooses among, the first where there is no choice."""

LEARNERS = ("per_modality", "ridge", "prototypes", "in_context", "convex", "anil", "matching", "modulated")
"""The learners that `auto` chooses among, the first where there is no choice."""


def _fit(kind: Any) -> Any:
    return kind.fit


class ModelOptions(Options):
    """The shared space, and how modalities become tensors."""

    renamed: ClassVar[Mapping[str, str]] = {
        "image_size": "kinds.image.size",
        "series_length": "kinds.series.length",
        "text_buckets": "kinds.text.buckets",
        "audio_rate": "kinds.audio.rate",
        "audio_seconds": "kinds.audio.seconds",
        "audio_mels": "kinds.audio.mels",
        "video_frames": "kinds.video.frames",
        "video_size": "kinds.video.size",
        "graph_nodes": "kinds.graph.nodes",
        "points": "kinds.points.count",
    }

    dim: int = Field(128, ge=8, le=65_536, description="width of the shared space")
    fusion: Annotated[Built | Auto, OneOf(fusions, auto=True)] = Field(
        Auto(),
        description="how the modalities' tokens become one embedding; auto: chosen on validation tasks",
    )
    decoders: bool = Field(
        False, description="whether modalities are decoded, which translation can be trained with"
    )
    impute: bool = Field(False, description="whether absent tokens are imputed from those that are present")
    encoders: dict[str, Any] = Field(
        {},
        description="encoders by modality: pretrained (minilm, a folder, or package.module:name), or a record with kind",
    )
    tune: list[str] = Field([], description="modalities whose pretrained encoder is fine-tuned")
    kinds: Annotated[dict[str, Built], EachOf(modalities, _fit)] = Field(
        {}, validate_default=True, description="options of each kind of modality"
    )

    @field_validator("encoders", mode="after")
    @classmethod
    def _components(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Networks of the registry in place of their records and names."""
        found = dict(given)
        for name, spec in given.items():
            named = isinstance(spec, str) and spec in encoders
            if named or isinstance(spec, Mapping):
                try:
                    found[name] = OneOf(encoders).parsed(spec)
                except PydanticCustomError as error:
                    wrong: list[Misfit] = (error.context or {})["misfits"]
                    raise refused([misfit.under(name) for misfit in wrong]) from None
        return found

    @property
    def by_kind(self) -> dict[str, dict[str, Any]]:
        """The options of each kind's `fit`."""
        return {name: fit.options for name, fit in self.kinds.items()}

    @property
    def pretrained(self) -> dict[str, Any]:
        """The pretrained encoders by modality."""
        return {name: spec for name, spec in self.encoders.items() if not isinstance(spec, Built)}

    @property
    def networks(self) -> dict[str, Built]:
        """Encoders by modality that are trained here and are not the default of their kind."""
        return {name: spec for name, spec in self.encoders.items() if isinstance(spec, Built)}

    def network(self, fusion: Built | None = None) -> NetworkSpec:
        """What the network is built from; a fusion that is `auto` is the first choice unless one is given."""
        if fusion is None:
            auto = isinstance(self.fusion, Auto)
            fusion = self.fusion.chosen(fusions, FUSIONS) if auto else self.fusion  # type: ignore[union-attr,assignment]
        assert fusion is not None
        return NetworkSpec(fusion, self.dim, self.decoders, self.impute, self.networks)


class Experiment(Options):
    """Everything that decides a training run."""

    seed: int = Field(0, ge=0, description="of every random choice")
    device: Device = Field(
        "auto", description="where to compute; auto: an NVIDIA GPU where there is one, else the CPU"
    )
    precision: Precision = Field("float32", description="of encoders, fusion and decoders")
    data: DataOptions = DataOptions()
    model: ModelOptions = ModelOptions()
    learner: Annotated[Learner | Auto, OneOf(learners, auto=True)] = Field(
        Auto(), description="a name, a record with kind, or auto: chosen on validation tasks"
    )
    mapping: Annotated[Map | Auto, OneOf(maps, auto=True)] = Field(
        Auto(),
        description="the map between modalities that retrieval uses, a name or a record with kind; auto: chosen on validation "
        "rows, of training with train.losses.align",
    )
    train: TrainOptions = TrainOptions()

    @property
    def searches(self) -> bool:
        """Whether training chooses among learners; not where the number of steps is set."""
        return isinstance(self.learner, Auto) and self.train.steps is None

    @property
    def first_learner(self) -> Learner:
        """The learner that is set; of `auto` the first choice."""
        chosen: Learner = (
            self.learner.chosen(learners, LEARNERS) if isinstance(self.learner, Auto) else self.learner
        )
        return chosen

    @property
    def untrained_learner(self) -> Learner:
        """The learner that is set; of `auto` that of a model without weights."""
        if isinstance(self.learner, Auto):
            return cast(Learner, component(learners, UNTRAINED, "learner"))
        return self.learner

    @property
    def spec(self) -> ModelSpec:
        """What the model is built from; where something is `auto`, from the first choice."""
        return ModelSpec(self.model.network(), self.first_learner)

    def record(self) -> dict[str, Any]:
        """As JSON values: of an encoder that is an object, its type."""
        record = self.model_dump()
        for name, spec in self.model.encoders.items():
            if isinstance(spec, Built):
                record["model"]["encoders"][name] = component_record(encoders, spec)
            elif not isinstance(spec, str):
                record["model"]["encoders"][name] = f"<{type(spec).__name__}>"
        return record
