"""The trained thing on disk: a folder of JSON, safetensors and a model card; nothing that executes.

config.json         format number, version, what is in the tensors file, options, outcome
model.safetensors   parameters (and, of a predictor, the adapted state)
README.md           a model card for people
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from metamodal.config import component, component_record
from metamodal.data.descriptors import Descriptors
from metamodal.data.encode import Preprocessor
from metamodal.data.roles import Roles
from metamodal.data.targets import Targets
from metamodal.errors import ArtifactError, MetamodalError
from metamodal.mappings.bridges import without_bridges
from metamodal.mappings.model import untrained_model
from metamodal.meta.engine import Engine
from metamodal.meta.learners import learners
from metamodal.predictor import MetaModel, Predictor, Seen, initial_model

__all__ = ["FORMAT", "load_artifact", "save_artifact"]

FORMAT = 1
"""The number of the folder's layout; a change that older readers cannot read raises it."""


def save_artifact(item: MetaModel | Predictor, folder: str | Path) -> Path:
    """Write a model or a predictor; the folder appears whole or not at all.

    An artifact that is there already is replaced; any other non-empty folder is an error.
    """
    folder = Path(folder)
    if folder.exists() and not (
        folder.is_dir() and (not any(folder.iterdir()) or (folder / "config.json").exists())
    ):
        raise ArtifactError(f"{folder}: exists and is no artifact. Give another folder.")
    model = item.model if isinstance(item, Predictor) else item
    tensors = dict(model.params)
    record = _record(model)
    if isinstance(item, Predictor):
        record["predictor"] = {"labels": list(item.labels), "state": _flattened(item.state, "state", tensors)}
    data = save({k: v.detach().contiguous().clone() for k, v in tensors.items()})
    record["sha256"] = hashlib.sha256(data).hexdigest()
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        part.chmod(0o755)
        (part / "model.safetensors").write_bytes(data)
        (part / "config.json").write_text(json.dumps(record, indent=1, ensure_ascii=False))
        (part / "README.md").write_text(_card(item, record))
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return folder


def load_artifact(folder: str | Path) -> MetaModel | Predictor:
    """A model or a predictor as it was saved.

    Raises:
        ArtifactError: no artifact, a newer format, or tensors that are not those that were saved.
    """
    folder = Path(folder)
    config = folder / "config.json"
    if not config.is_file():
        raise ArtifactError(
            f"{folder}: no artifact (config.json is missing). Give a folder that train or adapt wrote."
        )
    try:
        record = json.loads(config.read_text())
        found = record["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{config}: damaged ({error}). Train or adapt again, or restore a copy."
        ) from None
    if found != FORMAT:
        raise ArtifactError(
            f"{folder}: artifact format {found}, this version reads {FORMAT}. "
            f"Use metamodal {record.get('version', 'of a later date')} or newer."
        )
    tensors = _tensors(folder / "model.safetensors", record.get("sha256"))
    try:
        return _rebuilt(record, tensors)
    except MetamodalError as error:
        raise ArtifactError(f"{config}: {error}") from None
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(
            f"{config}: damaged ({type(error).__name__}: {error}). Train or adapt again."
        ) from None


def _record(model: MetaModel) -> dict[str, Any]:
    network = model.record.get("model", {})
    return {
        "format": FORMAT,
        "version": version("metamodal"),
        "generic": model.generic,
        "network": {k: network[k] for k in ("fusion", "dim", "decoders", "impute") if k in network},
        "learner": component_record(learners, model.engine.learner),
        "modalities": model.preprocessor.to_dict(),
        "roles": asdict(model.roles),
        "descriptors": model.descriptors.to_dict(),
        "targets": model.targets.to_dict(),
        "seen": {k: sorted(v) for k, v in asdict(model.seen).items()},
        "training": model.record,
    }


def _rebuilt(record: dict[str, Any], tensors: dict[str, Tensor]) -> MetaModel | Predictor:
    preprocessor = Preprocessor.from_dict(record["modalities"])
    learner = component(learners, record["learner"], "learner")
    said = {"target_kind": "classes" if record["roles"]["target"] else None} | record["roles"]
    targets = Targets.from_dict(record.get("targets"))
    roles = Roles(**said | {"use": tuple(said["use"]) if said["use"] else None})
    descriptors = Descriptors.from_dict(record.get("descriptors", {}))
    if record["generic"]:
        network = untrained_model(preprocessor.modalities)
        engine = Engine(network, learner, preprocessor.modalities, targets.output, targets.outputs)
    else:
        initial = initial_model(
            preprocessor, learner, roles, **record["network"], targets=targets, descriptors=descriptors
        )
        engine = initial.engine
    params = {k: v for k, v in tensors.items() if not k.startswith("state")}
    expected = {k: v.shape for k, v in engine.initial().items()}
    if expected != {k: v.shape for k, v in without_bridges(params).items()}:
        raise ValueError("the tensors do not fit the configuration")
    seen = Seen(**{k: frozenset(v) for k, v in record["seen"].items()})
    model = MetaModel(
        preprocessor,
        engine,
        params,
        roles,
        seen,
        record["generic"],
        record["training"],
        targets,
        descriptors,
    )
    if "predictor" not in record:
        return model
    state = _unflattened(record["predictor"]["state"], tensors)
    return Predictor(model, state, tuple(record["predictor"]["labels"]))


def _tensors(path: Path, sha256: str | None) -> dict[str, Tensor]:
    if not path.is_file():
        raise ArtifactError(f"{path}: missing. Train or adapt again, or restore a copy.")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ArtifactError(f"{path}: damaged (its checksum is not the one in config.json). Restore a copy.")
    try:
        return load(data)
    except SafetensorError as error:
        raise ArtifactError(f"{path}: damaged ({error}). Restore a copy.") from None


def _flattened(tree: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """The shape of a tree of tensors as JSON, its leaves added to `tensors` by name."""
    if isinstance(tree, Tensor):
        tensors[name] = tree
        return name
    if isinstance(tree, dict):
        return {"dict": {k: _flattened(v, f"{name}/{k}", tensors) for k, v in tree.items()}}
    return {"tuple": [_flattened(v, f"{name}/{i}", tensors) for i, v in enumerate(tree)]}


def _unflattened(shape: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(shape, str):
        return tensors[shape]
    if "dict" in shape:
        return {k: _unflattened(v, tensors) for k, v in shape["dict"].items()}
    return tuple(_unflattened(v, tensors) for v in shape["tuple"])


def _card(item: MetaModel | Predictor, record: dict[str, Any]) -> str:
    kind = "predictor" if isinstance(item, Predictor) else "model"
    model = item.model if isinstance(item, Predictor) else item
    names = ", ".join(f"{n} ({e['kind']})" for n, e in record["modalities"].items())
    lines = [
        f"# A metamodal {kind}",
        "",
        f"* modalities: {names}",
        f"* learner: {record['learner']['kind']}",
        f"* target: {', '.join(model.roles.columns('target')) or None} ({record['targets']['kind']})",
        f"* made by metamodal {record['version']}, artifact format {record['format']}",
    ]
    if isinstance(item, Predictor):
        lines.append(f"* labels: {', '.join(item.labels[:50])}{' …' if len(item.labels) > 50 else ''}")
    outcome = record["training"].get("outcome", {})
    score = outcome.get("score", "accuracy")
    if f"valid_{score}" in outcome:
        lines.append(
            f"* validation {score.replace('_', ' ')}: {outcome[f'valid_{score}']:.3f} ± {outcome['valid_ci95']:.3f} "
            f"({outcome['valid_episodes']} episodes)"
        )
    if outcome:
        lines.append(
            f"* training: {outcome['steps']} steps in {outcome['seconds']:.0f} s, ended by {outcome['ended']}"
        )
    seen = record["seen"]["classes"]
    if seen:
        lines.append(f"* classes seen in training or validation: {len(seen)}")
    use = "predict" if isinstance(item, Predictor) else "adapt"
    follow = "TABLE" if isinstance(item, Predictor) else "SUPPORT --out PREDICTOR"
    return "\n".join([*lines, "", f"Use it: `metamodal {use} <this folder> {follow}`", ""])
