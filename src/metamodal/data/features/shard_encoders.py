"""What computes each modality's features: a pretrained encoder, or the kind's own, fitted once."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np

from metamodal.data.dataset import Dataset
from metamodal.data.features.cache import cache_folder
from metamodal.data.features.digests import digest
from metamodal.data.features.encode import fit_options, fitted_from
from metamodal.data.features.encoders import open_encoders
from metamodal.data.features.extraction import Features, Generic, content_of
from metamodal.data.features.extractors import Extractor
from metamodal.data.features.reading import raw_cells, read_cells
from metamodal.data.features.shard_options import ShardOptions
from metamodal.data.modalities import modalities
from metamodal.data.modalities.capabilities import capabilities_of
from metamodal.data.modalities.protocol import CellError
from metamodal.errors import OutputError
from metamodal.storage import write_text

__all__ = ["modality_features"]

_MEDIA_SAMPLE = 256  # rows that a kind is fitted to, where a cell takes long to decode and much memory


def modality_features(sample: Dataset, options: ShardOptions) -> dict[str, Features]:
    """What computes each modality's vectors."""
    said = open_encoders(options.encoders, [], sample.schema).frozen
    found: dict[str, Features] = {}
    for name, (kind, _) in sample.schema.modalities.items():
        encoder: Extractor | None = said.get(name) or _generic(sample, name, kind, options)
        if encoder is not None:
            found[name] = Features(encoder)
    return found


def _generic(sample: Dataset, name: str, kind: str, options: ShardOptions) -> Generic | None:
    """The kind's own features, fitted to the sample: once, and kept by what the sample holds."""
    settings = fit_options(sample, options.kinds).get(kind, {})
    if capabilities_of(kind).threaded and len(sample) > _MEDIA_SAMPLE:
        at = np.linspace(0, len(sample) - 1, _MEDIA_SAMPLE).round().astype(int)
        sample = sample.rows(at)
    limits = sample.schema.limits
    wanted = {name: sample.schema.modalities[name]}
    content = _digests(sample, kind, raw_cells(sample, *wanted[name]))
    key = hashlib.blake2b(repr((kind, settings, content)).encode(), digest_size=16).hexdigest()
    path = cache_folder() / "fits" / f"{key}.json"
    try:
        return Generic(kind, fitted_from(kind, json.loads(path.read_text("utf-8"))), limits)
    except (OSError, ValueError, TypeError, KeyError):
        pass
    values = [v for v in read_cells(sample, wanted, options.unreadable).values[name] if v is not None]
    if not values:
        return None
    modality = modalities[kind].fit(values, **settings)
    with suppress(OutputError):
        write_text(path, json.dumps(asdict(modality)))  # type: ignore[call-overload]
    return Generic(kind, modality, limits)


def _digests(sample: Dataset, kind: str, cells: list[Any]) -> list[bytes | None]:
    found: list[bytes | None] = []
    for cell in cells:
        try:
            found.append(None if cell is None else digest(content_of(cell, kind, sample.base)))
        except CellError:  # reported when the cells are read
            found.append(None)
    return found
