"""The meta-model: everything that turns a support set into a predictor."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metamodal.data.class_info import ClassInfo
from metamodal.data.dataset import Dataset
from metamodal.data.features.encode import Preprocessor
from metamodal.data.features.encoders import Encoders
from metamodal.data.features.reading import read_cells
from metamodal.data.roles import Roles
from metamodal.data.schema.targets import Targets
from metamodal.data.tables.rows import Rows, dataset_of, rows_of_kinds
from metamodal.device import Precision, device_of, numpy_of, opened_device
from metamodal.errors import MetamodalWarning, OptionError
from metamodal.manifest import write_folder
from metamodal.mappings.cross_modal_maps import CrossModalMaps
from metamodal.mappings.fusion import AttentionWeights
from metamodal.meta.engine import Engine
from metamodal.spec import ModelSpec
from metamodal.translation import HOW_TO_TRAIN, Route, Translated, Translator
from metamodal.types import Batch, Learner, Params

__all__ = ["MetaModel", "Seen", "built", "untrained"]


@dataclass(frozen=True)
class Seen:
    """What training and model selection looked at, so that evaluation can keep away from it.

    Names are kept as fingerprints: a group may be a patient, and a model travels.
    """

    classes: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class MetaModel:
    """Everything that turns a support set into a predictor.

    `spec` is all that the engine is built from, beside what `preprocessor` and `class_info` were fitted to.
    `record` says where the model comes from, the options and the outcome of training as plain values; nothing
    is built from it.
    """

    spec: ModelSpec
    preprocessor: Preprocessor
    engine: Engine
    params: Params
    roles: Roles
    seen: Seen = field(default_factory=Seen)
    record: dict[str, Any] = field(default_factory=dict)
    targets: Targets = field(default_factory=Targets)
    class_info: ClassInfo = field(default_factory=ClassInfo)

    @property
    def generic(self) -> bool:
        """Whether the model has no weights and reads generic features."""
        return self.spec.network is None

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.preprocessor.modalities

    @property
    def maps(self) -> CrossModalMaps:
        """Maps between modalities, where validation rows were retrieved better with them."""
        return CrossModalMaps(self.spec.mapping, self.params)

    def on(self, device: str = "auto", precision: Precision = "float32") -> MetaModel:
        """The same model, computing on another device or in another precision.

        >>> model.on("cuda", "bfloat16").adapt(support)  # doctest: +SKIP

        Args:
            device: `cpu`, `cuda`, `mps`, or `auto`: an NVIDIA GPU where there is one, else the CPU.
            precision: `float32`, or `bfloat16` for encoders, fusion and decoders.

        Raises:
            OptionError: torch cannot use that device on this machine.
        """
        where = opened_device(device)
        params = {name: value.to(where) for name, value in self.params.items()}
        return replace(self, params=params, engine=self.engine.at(precision))

    def under(self, learner: Learner) -> MetaModel:
        """The same encoders under another learner, its own parameters as they start: a probe of the embedding."""
        engine = self.engine.under(learner)
        fresh = {k: v for k, v in engine.initial().items() if k.startswith("learner.")}
        kept = {k: v for k, v in self.params.items() if not k.startswith("learner.")}
        params = kept | {k: v.detach().to(device_of(self.params)) for k, v in fresh.items()}
        return replace(self, spec=self.spec.under(learner), engine=engine, params=params)

    def answered_by(self, learner: Learner) -> MetaModel:
        """The same model under a learner that shares its parameters."""
        return replace(self, spec=self.spec.under(learner), engine=self.engine.under(learner))

    def inputs(
        self, dataset: Dataset, unreadable: str = "error", faults: dict[int, str] | None = None
    ) -> Batch:
        """Any table's rows as this model reads them, before its encoders.

        A column that the model knows and the table lacks is a `MetamodalWarning`, and so is a column of
        categories none of which training knew.

        Args:
            faults: receives, by row, what cannot be read in it.
        """
        cells = self.preprocessor.read(dataset, unreadable, faults)
        for message in (
            *self.preprocessor.lacking(dataset, self.roles.columns("target")),
            *self.preprocessor.unknown(cells),
        ):
            warnings.warn(message, MetamodalWarning, stacklevel=2)
        batch = self.preprocessor.encode(cells)
        return self.preprocessor.features(batch) if self.generic else batch

    def batch(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        """Records as this model reads them; nothing is inferred. See `Predictor.batch`."""
        wanted = self.preprocessor.wanted
        dataset = dataset_of(rows, self.roles) if self.roles.triples else rows_of_kinds(rows, wanted)
        batch = self.preprocessor.encode(self.preprocessor.read(dataset))
        return self.preprocessor.features(batch) if self.generic else batch

    def tokens(self, inputs: Batch) -> Batch:
        """What the learner reads of the rows, without gradients."""
        with torch.no_grad():
            return self.engine.encode(self.params, inputs)

    def shared(self, inputs: Batch) -> Batch:
        """A token a modality in the shared space, before any task, without gradients."""
        with torch.no_grad():
            return self.engine.tokens(self.params, inputs)

    def embed(self, rows: Rows) -> np.ndarray:
        """The embedding `(n, d)` of each row in the shared space."""
        inputs = self.inputs(dataset_of(rows, self.roles))
        with torch.no_grad():
            return numpy_of(self.engine.embed(self.params, inputs))

    def attention(self, rows: Rows) -> AttentionWeights:
        """How much each modality of each row attends to each, before any task.

        Raises:
            OptionError: the model's fusion has no attention weights.
        """
        if not self.engine.model.attends:
            raise OptionError(
                "attention: this model's fusion has no attention weights. Train one with model.fusion=attention."
            )
        tokens = self.shared(self.inputs(dataset_of(rows, self.roles)))
        with torch.no_grad():
            values = self.engine.attend(self.params, tokens)
        present = torch.stack([tokens.present[m] for m in self.modalities], -1)
        return AttentionWeights(self.modalities, numpy_of(values), numpy_of(present))

    def save(self, folder: str | Path) -> Path:
        """Write the model as a folder that `metamodal.load` reads.

        An artifact that is there already is replaced, whole or not at all.

        Raises:
            OutputError: the folder holds files of others, or cannot be written.
            OptionError: an encoder that is an object of this process alone.
        """
        return write_folder(folder, self.to_record(), self.params)

    def to_record(self) -> dict[str, Any]:
        """All but the tensors, as JSON values."""
        return {
            "spec": self.spec.to_dict(),
            "packages": self.spec.packages(kind for kind, _ in self.preprocessor.wanted.values()),
            "modalities": self.preprocessor.to_dict(),
            "roles": asdict(self.roles),
            "class_info": self.class_info.to_dict(),
            "targets": self.targets.to_dict(),
            "seen": {k: sorted(v) for k, v in asdict(self.seen).items()},
            "training": self.record,
        }

    def translate(
        self,
        rows: Rows,
        source: str | Sequence[str],
        target: str,
        *,
        against: Rows | None = None,
        top: int | None = None,
    ) -> Translated:
        """The target modality's cell of each row, from the source modalities: decoded, or retrieved from
        those of `against`; see `Translator.translated`.

        Raises:
            OptionError: an unknown modality, no decoder of the target, or a model without a shared space.
            DataError: nothing to translate from, or nothing to choose among.
        """
        if self.generic:
            raise OptionError(
                "translate: an untrained model has no shared space. Train one: metamodal train TABLE --out DIR "
                f"{HOW_TO_TRAIN}."
            )
        route = Route((source,) if isinstance(source, str) else tuple(source), target, top)
        among = None if against is None else dataset_of(against, self.roles)
        translator = Translator(self.preprocessor, self.engine, self.params, self.maps)
        return translator.translated(dataset_of(rows, self.roles), route, among)

    def blank(self, rows: int = 1) -> Batch:
        """Rows without any modality or target."""
        inputs = {m: torch.zeros(rows, *kind.shape) for m, kind in self.preprocessor.fitted.items()}
        absent = {m: torch.zeros(rows, dtype=torch.bool) for m in inputs}
        batch = Batch(inputs, absent, torch.full((rows, self.targets.outputs), torch.nan))
        return self.preprocessor.features(batch) if self.generic else batch


def built(
    spec: ModelSpec,
    preprocessor: Preprocessor,
    roles: Roles,
    targets: Targets | None = None,
    class_info: ClassInfo | None = None,
) -> MetaModel:
    """A model as `spec` has it, with random weights from torch's generator, ready for meta-training."""
    targets, class_info = targets or Targets(), class_info or ClassInfo()
    engine = spec.engine(preprocessor, targets, class_info)
    return MetaModel(
        spec, preprocessor, engine, engine.initial(), roles, targets=targets, class_info=class_info
    )


def untrained(
    rows: Dataset, learner: Learner, unreadable: str = "error", encoders: Encoders | None = None
) -> MetaModel:
    """The model `none`: features that need no training here, scaled by the rows given, as numbers are."""
    cells = read_cells(rows, unreadable=unreadable, encoders=encoders)
    preprocessor = Preprocessor.fit(cells, encoders=encoders)
    targets = Targets.fit(rows, np.arange(len(rows)))
    return built(ModelSpec(None, learner), preprocessor, rows.schema.to_roles(), targets)
