"""The trained thing on disk: a folder of JSON, safetensors and a model card; nothing that executes.

config.json         format number, version, digests, what is in the tensors file, options, outcome
model.safetensors   parameters (and, of a predictor, the adapted state)
README.md           a model card for people
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from metamodal.errors import ArtifactError, OptionError, OutputError
from metamodal.model_card import model_card
from metamodal.storage import check_folder, payload_of, replace_folder

__all__ = [
    "FORMAT",
    "Manifest",
    "PredictorManifest",
    "PredictorPart",
    "check_artifact_folder",
    "is_artifact",
    "read_folder",
    "referring",
    "write_folder",
]

FORMAT = 4
"""The number of the folder's layout; a change that older readers cannot read raises it."""
_CONFIG, _TENSORS, _CARD = "config.json", "model.safetensors", "README.md"
_ATTEMPTS = 5  # of a reader while a writer is at work
_AGAIN = "Train or adapt again, or restore a copy"


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)


class _Encoder(_Part):
    spec: str
    identity: str | None
    tuned: bool


class ModalityPart(_Part):
    """A modality: its kind, the columns it is read from, what was fitted, and its pretrained encoder."""

    kind: str
    columns: list[str] = Field(min_length=1)
    fitted: dict[str, Any]
    encoder: _Encoder | None = None


class _Seen(_Part):
    classes: list[str]
    tasks: list[str]
    groups: list[str]


class _Network(_Part):
    fusion: dict[str, Any]
    dim: int = Field(ge=1, le=2**16)
    decoders: bool
    impute: bool
    encoders: dict[str, dict[str, Any]]


class SpecPart(_Part):
    """What the model is built from: a network, or none, a learner, and the kind of its maps between modalities, each component as a record with `kind`."""

    network: _Network | None
    learner: dict[str, Any]
    mapping: dict[str, Any] | None = None


class PredictorPart(_Part):
    """What a predictor has beside its model: its labels, the names of its state's tensors as a tree, and how
    its logits become answers."""

    labels: list[str] = Field(min_length=1)
    state: Any
    shift: list[pydantic.FiniteFloat] = []
    thresholds: list[pydantic.FiniteFloat] = []

    def check(self) -> None:
        """ValueError unless each label stands once and has its numbers."""
        count = len(self.labels)
        if len(set(self.labels)) < count:
            raise ValueError("predictor.labels: a label stands twice")
        for name in ("shift", "thresholds"):
            if len(getattr(self, name)) not in (0, count):
                raise ValueError(f"predictor.{name}: not one for each of {count} labels")


class ModelReference(_Part):
    """Where the model of a predictor is that does not embed it, and the digest of that folder's configuration.

    A relative `folder` starts from the predictor's own.
    """

    digest: str
    folder: str


class PredictorManifest(_Part):
    """The content of `config.json` of a predictor that refers to its model."""

    format: Literal[4]
    version: str
    digest: str
    sha256: str
    model: ModelReference
    targets: dict[str, Any]
    predictor: PredictorPart

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> PredictorManifest:
        self.predictor.check()
        return self


class Manifest(_Part):
    """The content of `config.json`, parsed: every field is there and of its type."""

    format: Literal[4]
    version: str
    digest: str
    sha256: str
    spec: SpecPart
    packages: dict[str, str]
    modalities: dict[str, ModalityPart] = Field(min_length=1)
    roles: dict[str, Any]
    class_info: dict[str, Any]
    targets: dict[str, Any]
    seen: _Seen
    training: dict[str, Any]
    predictor: PredictorPart | None = None

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if self.predictor:
            self.predictor.check()
        for part in ("modalities", "class_info", "targets"):
            for number in _numbers(self.model_dump()[part]):
                if not math.isfinite(number):
                    raise ValueError(f"{part}: holds {number}, which is no finite number")
        return self


def write_folder(folder: str | Path, record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Path:
    """Write an artifact; a reader, or a kill at any moment, finds the old or the new, never neither.

    Raises:
        OutputError: the folder holds files of others, or cannot be written.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise OptionError(f"save: {folder!r} is no folder. Give the path of a folder to write.")
    folder = Path(folder)
    check_artifact_folder(folder)
    data = _bytes_of(tensors)
    whole = {"format": FORMAT, "version": version("metamodal"), **record, "sha256": sha256(data).hexdigest()}
    whole["digest"] = _digest(whole)
    config = _encoded(json.dumps(whole, indent=1, ensure_ascii=False))
    return replace_folder(folder, (_CONFIG, config), (_TENSORS, data), {_CARD: _encoded(model_card(whole))})


def referring(
    folder: str | Path, model: str | Path, record: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> dict[str, str]:
    """What a predictor's folder says of its model's, which must hold this model.

    Raises:
        ArtifactError: `model` is no artifact.
        OptionError: it is the folder of another model, or of a predictor.
    """
    manifest, _ = read_folder(model)
    same = isinstance(manifest, Manifest) and manifest.predictor is None
    same = same and manifest.sha256 == sha256(_bytes_of(tensors)).hexdigest()
    if not same or manifest.spec.model_dump() != record["spec"]:  # type: ignore[union-attr]
        raise OptionError(
            f"model={model}: not the folder of this predictor's model. Name the one it was adapted from."
        )
    own, other = Path(folder).resolve(), Path(model).resolve()
    try:
        path = os.path.relpath(other, own)
    except ValueError:  # another drive
        path = str(other)
    return {"digest": manifest.digest, "folder": Path(path).as_posix()}


def _bytes_of(tensors: Mapping[str, Tensor]) -> bytes:
    return save({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()})


def read_folder(folder: str | Path) -> tuple[Manifest | PredictorManifest, dict[str, Tensor]]:
    """An artifact's manifest and tensors, as they were written.

    Raises:
        ArtifactError: no artifact, another format, or anything that is not as it was written.
    """
    folder = Path(folder)
    for _ in range(_ATTEMPTS):
        text = _config(folder)
        manifest = _parsed(text, folder)
        try:
            data = payload_of(folder, _TENSORS, manifest.sha256)
        except OSError as error:
            raise ArtifactError(
                f"{folder / _TENSORS}: cannot be read ({error.strerror or error}). Restore a copy."
            ) from None
        if data is not None:
            return manifest, _tensors(data, folder / _TENSORS)
        if _config(folder) == text:
            break
    if not (folder / _TENSORS).is_file():
        raise ArtifactError(f"{folder / _TENSORS}: missing. {_AGAIN}.")
    raise ArtifactError(
        f"{folder / _TENSORS}: damaged (its checksum is not the one in {_CONFIG}). Restore a copy."
    )


def is_artifact(folder: str | Path) -> bool:
    """Whether metamodal wrote this folder, in this format, and its configuration is undamaged."""
    try:
        _parsed(_config(Path(folder)), Path(folder))
    except ArtifactError:
        return False
    return True


def check_artifact_folder(folder: str | Path) -> None:
    """OutputError unless an artifact may be written here: a new, an empty, or an artifact's folder."""
    if (found := _format(Path(folder))) not in (None, FORMAT):
        raise OutputError(
            f"{folder}: holds an artifact of format {found}, and this version writes {FORMAT}. Name another folder."
        )
    check_folder(folder, ours=is_artifact(folder))


def _config(folder: Path) -> bytes:
    try:
        return (folder / _CONFIG).read_bytes()
    except FileNotFoundError:
        raise ArtifactError(
            f"{folder}: no artifact ({_CONFIG} is missing). Give a folder that train or adapt wrote."
        ) from None
    except OSError as error:
        raise ArtifactError(
            f"{folder}: no readable artifact ({error.strerror or error}). Give a folder that train or adapt wrote."
        ) from None


def _format(folder: Path) -> int | None:
    """The format of the artifact in a folder, this version's or another's; `None` where there is none."""
    try:
        record = json.loads(_config(folder).decode("utf-8"))
        return int(record["format"]) if record.keys() >= {"format", "version", "digest"} else None
    except (ArtifactError, ValueError, RecursionError, AttributeError, TypeError):
        return None


def _parsed(text: bytes, folder: Path) -> Manifest | PredictorManifest:
    config = folder / _CONFIG
    try:
        record = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{config}: damaged ({_line(error)}). {_AGAIN}.") from None
    found = record.get("format") if isinstance(record, dict) else None
    if type(found) is not int:
        raise ArtifactError(f"{config}: no artifact's configuration. {_AGAIN}.")
    if found > FORMAT:
        by = record.get("version")
        raise ArtifactError(
            f"{folder}: artifact format {found}, this version reads {FORMAT}. "
            f"Use metamodal {by if isinstance(by, str) else 'of a later date'} or newer."
        )
    if found < FORMAT:
        raise ArtifactError(
            f"{folder}: artifact format {found}, written by metamodal {record.get('version', 'of an earlier version')}, which reads it; "
            f"this version reads {FORMAT}. Use that version, or train or adapt again."
        )
    try:
        if record.get("digest") != _digest(record):
            raise ArtifactError(f"{config}: damaged (its digest is not that of its content). {_AGAIN}.")
        refers = "model" in record and "spec" not in record
        return (PredictorManifest if refers else Manifest).model_validate(record)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        path = ".".join(map(str, first["loc"]))
        raise ArtifactError(
            f"{config}: damaged ({': '.join(filter(None, [path, first['msg']]))}). {_AGAIN}."
        ) from None
    except RecursionError:
        raise ArtifactError(f"{config}: damaged (nested too deeply). {_AGAIN}.") from None


def _tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        tensors = load(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{path}: damaged ({_line(error)}). {_AGAIN}.") from None
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.isnan().any():
            raise ArtifactError(f"{path}: {name} holds NaN. {_AGAIN}.")
    return tensors


def _digest(record: Mapping[str, Any]) -> str:
    """The SHA-256 of everything but the digest itself, whatever the order and the white space."""
    content = {k: v for k, v in record.items() if k != "digest"}
    return sha256(_encoded(json.dumps(content, sort_keys=True, separators=(",", ":")))).hexdigest()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _numbers(part)
