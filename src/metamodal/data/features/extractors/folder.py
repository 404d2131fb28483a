"""Pretrained transformers from a local folder, as `save_pretrained` leaves it: text, image or audio."""

from __future__ import annotations

import copy
import hashlib
import json
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from metamodal.data.features.extractors.protocol import open_cell
from metamodal.data.modalities.mel import resampled
from metamodal.errors import OptionError

__all__ = ["PretrainedFolder"]

_BATCH = 32
_LENGTH = 256  # tokens of a window, where the model does not say
_TUNED_LENGTH = 64  # tokens of a text whose network is trained along: every text pays for all of them
_TUNED_SECONDS = 4.0
_LOCAL = {"local_files_only": True, "trust_remote_code": False}  # no download, no code from the folder
_TOKENIZING = threading.Lock()  # a fast tokenizer keeps padding and truncation as state of its own


class PretrainedFolder:
    """A transformer and its preprocessing, both from one folder; nothing is downloaded.

    Texts longer than the model reads at once are read in windows, whose vectors are averaged by
    their tokens. Tokens are pooled by their mean, or by the first where the folder says so
    (sentence-transformers' `1_Pooling`); images by the model's own pooling, sound by its mean.
    """

    def __init__(self, folder: Path, kind: str, spec: str) -> None:
        if kind not in ("text", "image", "audio"):
            raise OptionError(f"{spec}: reads text, images or audio, not {kind}. Name a callable for it.")
        self.folder, self.kind, self.spec = folder, kind, spec
        self.identity = _fingerprint(folder, kind)

    def open(self, cell: Any, base: Path) -> Any:
        return open_cell(self.kind, cell, base)

    def vectors(self, values: Sequence[Any]) -> np.ndarray:
        network = self._loaded
        order = sorted(range(len(values)), key=lambda i: _size(values[i]))  # like sizes share a batch
        size = 1 if self.kind == "audio" else _BATCH  # padded sound would change its neighbours' means
        found: dict[int, np.ndarray] = {}
        with torch.inference_mode():
            for at in range(0, len(order), size):
                rows = order[at : at + size]
                batch, windows, weights = self._inputs([values[i] for i in rows], fixed=False)
                vectors = network(batch) * weights[:, None]
                summed = torch.zeros(len(rows), vectors.shape[1]).index_add_(0, windows, vectors)
                total = torch.zeros(len(rows)).index_add_(0, windows, weights)
                for i, vector in zip(rows, (summed / total[:, None]).numpy()):
                    found[i] = vector
        return np.stack([found[i] for i in range(len(values))])

    def prepare(self, values: Sequence[Any]) -> Tensor:
        """One window a cell: the first 64 tokens of a text, the first 4 s of a sound."""
        return self._inputs(values, fixed=True)[0]

    def network(self) -> nn.Module:
        return copy.deepcopy(self._loaded)

    @cached_property
    def _loaded(self) -> _Pooled:
        transformers = _transformers(self.spec)
        model = transformers.AutoModel.from_pretrained(str(self.folder), **_LOCAL)
        return _Pooled(model, self.kind, _pools_first(self.folder)).eval()

    @cached_property
    def _preprocessing(self) -> Any:
        transformers = _transformers(self.spec)
        auto = {
            "text": transformers.AutoTokenizer,
            "image": transformers.AutoImageProcessor,
            "audio": transformers.AutoFeatureExtractor,
        }[self.kind]
        try:
            return auto.from_pretrained(str(self.folder), **_LOCAL)
        except (OSError, ValueError) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise OptionError(
                f"{self.spec}: no preprocessing for {self.kind} in it ({reason}). Add it to the folder."
            ) from None

    def _inputs(self, values: Sequence[Any], fixed: bool) -> tuple[Tensor, Tensor, Tensor]:
        """The network's input, which cell each row of it is a window of, and the windows' weights."""
        one = torch.arange(len(values)), torch.ones(len(values))
        if self.kind == "text":
            return self._tokens([str(v) for v in values], fixed)
        if self.kind == "image":
            pictures = [_rgb(v) for v in values]
            pixels = self._preprocessing(images=pictures, return_tensors="pt")["pixel_values"]
            return pixels.float(), *one
        rate = self._preprocessing.sampling_rate
        waves = [resampled(v.samples, v.rate or rate, rate) for v in values]
        pad: dict[str, Any] = {"padding": True}
        if fixed:
            pad = {"padding": "max_length", "max_length": int(_TUNED_SECONDS * rate), "truncation": True}
        read = self._preprocessing(waves, sampling_rate=rate, return_tensors="pt", **pad)
        return next(iter(read.values())).float(), *one

    def _tokens(self, texts: list[str], fixed: bool) -> tuple[Tensor, Tensor, Tensor]:
        tokenizer = self._preprocessing
        longest = min(_length(self.folder), tokenizer.model_max_length)
        longest = min(longest, _TUNED_LENGTH) if fixed else longest
        with _TOKENIZING:
            read = tokenizer(
                texts,
                padding="max_length" if fixed else True,
                truncation=True,
                max_length=longest,
                return_overflowing_tokens=not fixed and tokenizer.is_fast,
                return_tensors="pt",
            )
        ids, mask = read["input_ids"], read["attention_mask"]
        windows = (
            read["overflow_to_sample_mapping"]
            if "overflow_to_sample_mapping" in read
            else torch.arange(len(texts))
        )
        return torch.stack([ids, mask], 1).float(), windows, mask.sum(1).float()


class _Pooled(nn.Module):
    """A transformer and the pooling of what it gives to one vector a sample.

    Token numbers come as floats, which hold whole numbers up to 2²⁴ exactly: tensors of all kinds of
    modality can then be treated alike.
    """

    def __init__(self, model: nn.Module, kind: str, first: bool) -> None:
        super().__init__()
        self.model: Any = model
        self.kind, self.first = kind, first

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n f"]:
        if self.kind == "text":
            ids, mask = x[:, 0].long(), x[:, 1].long()
            if hasattr(self.model, "get_text_features"):
                return _pooled(self.model.get_text_features(input_ids=ids, attention_mask=mask))
            states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
            if self.first:
                return states[:, 0]
            weight = mask[..., None].to(states.dtype)
            return (states * weight).sum(1) / weight.sum(1).clamp(min=1)
        if self.kind == "image":
            if hasattr(self.model, "get_image_features"):
                return _pooled(self.model.get_image_features(pixel_values=x))
            return _pooled(self.model(pixel_values=x))
        encoder = self.model.get_encoder() if hasattr(self.model, "decoder") else self.model
        return encoder(x).last_hidden_state.mean(1)


def _pooled(output: Any) -> Tensor:
    if isinstance(output, Tensor):
        return output
    pooled = getattr(output, "pooler_output", None)
    if pooled is None:
        states = output.last_hidden_state
        pooled = states.mean(1) if states.dim() == 3 else states.flatten(2).mean(2)
    return pooled.flatten(1)


def _rgb(value: np.ndarray) -> np.ndarray:
    return np.repeat(value[..., None], 3, axis=2) if value.ndim == 2 else value


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str) else int(getattr(value, "size", 0))


def _length(folder: Path) -> int:
    said = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    return said or _json(folder / "config.json").get("max_position_embeddings") or _LENGTH


def _pools_first(folder: Path) -> bool:
    return bool(_json(folder / "1_Pooling" / "config.json").get("pooling_mode_cls_token"))


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def _fingerprint(folder: Path, kind: str) -> str:
    """A hash over every file that has a say in the vectors."""
    state = hashlib.blake2b(kind.encode(), digest_size=12)
    for path in sorted(
        p for p in folder.rglob("*") if p.suffix in (".json", ".txt", ".safetensors", ".bin", ".model")
    ):
        state.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                state.update(block)
    return f"folder-{state.hexdigest()}"


def _transformers(spec: str) -> Any:
    try:
        import transformers
    except ImportError:
        raise OptionError(
            f"{spec}: needs the transformers library. pip install 'metamodal[transformers]'."
        ) from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers
