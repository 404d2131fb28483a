"""Artifacts: a model or a predictor to a folder and back. `metamodal.manifest` says what is in the folder."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metamodal.data.class_info import ClassInfo
from metamodal.data.features.encode import Preprocessor
from metamodal.data.modalities import modalities
from metamodal.data.roles import Roles
from metamodal.data.schema.targets import Targets
from metamodal.errors import ArtifactError, MetamodalError, OptionError, suggestion
from metamodal.manifest import Manifest, PredictorManifest, PredictorPart, read_folder
from metamodal.mappings.cross_modal_maps import without_maps
from metamodal.mappings.decoders import decoders
from metamodal.mappings.encoders import encoders
from metamodal.mappings.fusion import fusions
from metamodal.mappings.maps import maps
from metamodal.meta.learners import learners
from metamodal.model import MetaModel, Seen, built
from metamodal.options import typed
from metamodal.predictor import Predictor
from metamodal.spec import ModelSpec
from metamodal.tensor_tree import unflattened

__all__ = ["load_artifact", "save_artifact"]

_LARGEST = 2**22  # values of a row of a modality, beyond any that is fitted: 9 s of sound, an image of 1182²


def save_artifact(item: MetaModel | Predictor, folder: str | Path) -> Path:
    """Write a model or a predictor; the same as its method `save`."""
    return item.save(folder)


def load_artifact(
    folder: str | Path, encoders: Mapping[str, Any] | None = None, model: str | Path | None = None
) -> MetaModel | Predictor:
    """A model or a predictor as it was saved. Loading runs no code that the folder names.

    Args:
        model: the folder of a predictor's model, where it refers to one that has moved.
        encoders: by modality, the encoders that are Python code: as objects, or as `package.module:name`.
            They must be those of training.

    Raises:
        ArtifactError: no artifact, another format, anything that is not as it was saved, or an encoder
            that is code and is not given, or not the one of training.
        OptionError: an encoder of a modality that has none.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise OptionError(f"load: {folder!r} is no folder. Give the folder that train, adapt or save wrote.")
    folder = Path(folder)
    manifest, tensors = read_folder(folder)
    given = dict(encoders or {})
    try:
        if isinstance(manifest, PredictorManifest):
            whole = _referred(manifest, folder, given, model)
            targets = Targets.from_dict(manifest.targets)
            return _predictor(replace(whole, targets=targets), manifest.predictor, tensors)
        if model is not None:
            raise OptionError(f"model={model}: {folder} does not refer to a model. Leave it out.")
        built_from = _model(manifest, tensors, given)
        return (
            built_from if manifest.predictor is None else _predictor(built_from, manifest.predictor, tensors)
        )
    except OptionError as error:
        if given and any(str(error).startswith(f"--encoder {name}") for name in given):
            raise
        raise ArtifactError(f"{folder}: {error}") from None
    except MetamodalError as error:
        raise ArtifactError(f"{folder}: {error}") from None
    except Exception as error:  # whatever a configuration that fits its digest may still get wrong
        reason = (str(error).splitlines() or [""])[0]
        raise ArtifactError(
            f"{folder}: damaged ({type(error).__name__}: {reason}). Train or adapt again."
        ) from None


def _model(manifest: Manifest, tensors: Mapping[str, Tensor], given: dict[str, Any]) -> MetaModel:
    _check_packages(manifest.packages)
    parts = {name: part.model_dump(exclude_none=True) for name, part in manifest.modalities.items()}
    roles = typed(Roles, manifest.roles)
    known = {name for name, part in parts.items() if "encoder" in part} | set(roles.columns("describe"))
    for name in given:
        if name not in known:
            raise OptionError(f"--encoder {name}: no such modality has an encoder. {suggestion(name, known)}")
    spec = ModelSpec.from_dict(manifest.spec.model_dump())
    preprocessor = Preprocessor.from_dict(parts, given)
    _check_shapes({name: fitted.shape for name, fitted in preprocessor.fitted.items()})
    targets = Targets.from_dict(manifest.targets)
    typed(Targets, manifest.targets)
    encoder = next((given[c] for c in roles.columns("describe") if c in given), None)
    class_info = ClassInfo.from_dict(manifest.class_info, encoder)
    params = {k: v for k, v in tensors.items() if not k.startswith("state")}
    _check_width(spec, params)
    with torch.random.fork_rng([]):
        if not any(
            "encoder" in part for part in parts.values()
        ):  # code of others knows no device without memory
            with torch.device("meta"):  # shapes alone: a size that the tensors have not costs no memory
                _check_tensors(built(spec, preprocessor, roles, targets, class_info), params)
        model = built(spec, preprocessor, roles, targets, class_info)
    _check_tensors(model, params)
    seen = Seen(**{k: frozenset(v) for k, v in manifest.seen.model_dump().items()})
    return replace(model, params=params, seen=seen, record=manifest.training)


def _referred(
    manifest: PredictorManifest, folder: Path, given: dict[str, Any], model: str | Path | None
) -> MetaModel:
    """The model that a predictor refers to.

    Raises:
        ArtifactError: it is not where it was, or not as it was.
    """
    at = folder / manifest.model.folder if model is None else Path(model)
    remedy = "Restore it, or name the folder that it is in now: --model DIR, or mm.load(folder, model=DIR)"
    if not at.is_dir():
        raise ArtifactError(f"its model is not in {at}. {remedy}.")
    found, tensors = read_folder(at)
    if not isinstance(found, Manifest) or found.digest != manifest.model.digest:
        raise ArtifactError(
            f"{at} holds another model than the one it was adapted from (its digest differs). {remedy}."
        )
    return _model(found, tensors, given)


def _predictor(model: MetaModel, part: PredictorPart, tensors: Mapping[str, Tensor]) -> Predictor:
    state = unflattened(part.state, tensors)
    predictor = Predictor(model, state, tuple(part.labels), tuple(part.shift), tuple(part.thresholds))
    if not model.targets.has_classes and predictor.labels != model.targets.names:
        raise ValueError(f"the outputs are {model.targets.names}, the labels {predictor.labels}")
    width = predictor.outputs
    if width != len(predictor.labels):
        raise ValueError(f"{len(predictor.labels)} labels for {width} outputs")
    return predictor


def _check_packages(packages: Mapping[str, str]) -> None:
    """ArtifactError unless the components of other packages are installed."""
    rooms = {r.room: r for r in (learners, fusions, encoders, decoders, modalities, maps)}
    for component, package in packages.items():
        room, _, name = component.partition(" ")
        if room not in rooms or name not in rooms[room]:
            raise ArtifactError(
                f"needs the {component!r} of the package {package}. Install it: pip install {package.split()[0]}."
            )


def _check_width(spec: ModelSpec, params: Mapping[str, Tensor]) -> None:
    """ValueError unless the shared space is as wide as the tensors have it, before anything of that width is made."""
    if spec.network and params["model.absent"].shape[-1] != spec.network.dim:
        raise ValueError("the tensors do not fit the configuration")


def _check_tensors(model: MetaModel, params: dict[str, Tensor]) -> None:
    expected = {k: (v.shape, v.dtype) for k, v in model.params.items()}
    held = {k: (v.shape, v.dtype) for k, v in without_maps(params).items()}
    if model.generic:  # the width of generic features, and so of the regression prior, is the table's
        held = {k: v for k, v in held.items() if k in expected or ".regression_prior." not in k}
    if expected != held:
        raise ValueError("the tensors do not fit the configuration")


def _check_shapes(shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        if not all(size >= 0 for size in shape) or math.prod(shape) > _LARGEST:
            raise ValueError(f"modality {name} has shape {shape}")
