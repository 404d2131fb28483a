"""Translation: a modality's cells from other modalities of the same rows, decoded or looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from metamodal.data.dataset import Dataset
from metamodal.data.features.encode import Preprocessor
from metamodal.data.features.reading import raw_cells
from metamodal.data.tables.cells import is_absent
from metamodal.errors import DataError, OptionError, suggestion
from metamodal.mappings.cross_modal_maps import CrossModalMaps
from metamodal.mappings.decoders import decoders
from metamodal.meta.engine import Engine
from metamodal.types import Batch, Params

__all__ = ["HOW_TO_TRAIN", "Match", "Route", "Translated", "Translator"]

HOW_TO_TRAIN = "model.decoders=true train.losses.translate=1"
"""The options under which training makes a model that translates."""

_TOP = 5
_CHUNK = 1024  # rows whose similarity to all candidates is computed at a time


@dataclass(frozen=True)
class Route:
    """From which modalities to which. `top` candidates are named of each row; to say so asks for candidates
    even where there is a decoder."""

    source: tuple[str, ...]
    target: str
    top: int | None = None

    def __post_init__(self) -> None:
        if self.top is not None and self.top < 1:
            raise OptionError(f"--top {self.top}: no number of candidates. Give 1 or more.")
        if not self.source:
            raise OptionError("--from: no modality is named. Name one or more.")


@dataclass(frozen=True)
class Match:
    """A candidate: its row, counted from 1, and its cosine similarity in the shared space and by the maps."""

    row: int
    score: float


@dataclass(frozen=True)
class Translated:
    """One cell a row, `None` where nothing was to translate from; `how` says `given`, `decoded` or `retrieved`.

    `columns` are those of the target in a table, several of a row of scalars.
    """

    columns: tuple[str, ...]
    cells: list[Any]
    how: list[str | None]
    matches: list[tuple[Match, ...]]

    def columnwise(self) -> dict[str, list[Any]]:
        """The cells by column: a record of scalars is spread over theirs."""
        records = [cell for cell in self.cells if cell is not None]
        if records and all(isinstance(cell, dict) and cell.keys() <= set(self.columns) for cell in records):
            return {c: [None if r is None else r.get(c) for r in self.cells] for c in self.columns}
        return {self.columns[0]: self.cells}


@dataclass(frozen=True)
class Translator:
    """A model's way through the shared space: encoders, fusion and decoders, before any task."""

    preprocessor: Preprocessor
    engine: Engine
    params: Params
    maps: CrossModalMaps = field(default_factory=lambda: CrossModalMaps(None, {}))

    def translated(
        self, dataset: Dataset, route: Route, candidates: Dataset | None = None, unreadable: str = "error"
    ) -> Translated:
        """The target's cell of each row that has one of the sources.

        A target that is itself among the sources comes back as it is, where it is there. Else it is decoded
        if the model has a decoder and neither candidates nor their number are said; or it is that of the
        nearest candidate, by the cosine of its own token. By default a row's candidates are all other rows
        of the table. Maps that adapt to a task are corrected by the candidates that have a source, too.

        Raises:
            OptionError: an unknown modality, or a target that the model has no decoder of.
            DataError: no row has any of the sources, or no candidate the target.
        """
        choosing = candidates is not None or route.top is not None
        self._check(route, choosing=choosing)
        if candidates is not None:
            return self._adapted(candidates, route, unreadable)._translated(
                dataset, route, candidates, unreadable
            )
        return self._translated(dataset, route, None, unreadable)

    def _adapted(self, candidates: Dataset, route: Route, unreadable: str) -> Translator:
        """The same with maps that are corrected by candidates that have a source themselves, if they are of a kind
        that adapts to a task."""
        if not self.maps.adapts:
            return self
        reader = self.preprocessor.only({*route.source, route.target})
        rows = reader.encode(reader.read(candidates, unreadable))
        return replace(self, maps=self.maps.adapted(reader.features(rows)))

    def _translated(
        self, dataset: Dataset, route: Route, candidates: Dataset | None, unreadable: str
    ) -> Translated:
        choosing = candidates is not None or route.top is not None
        kind, columns = self.preprocessor.wanted[route.target]
        cells: list[Any] = [None] * len(dataset)
        how: list[str | None] = [None] * len(dataset)
        if route.target in route.source:
            cells = raw_cells(dataset, kind, columns)
            how = [None if is_absent(cell) else "given" for cell in cells]
        z, rows = self._embedded(dataset, route.source, unreadable)
        seen = torch.stack([rows.present[m] for m in route.source]).any(0)
        if not seen.any():
            raise DataError(f"{dataset.name}: no row has {' or '.join(route.source)}. Name another source.")
        at = np.flatnonzero(seen.numpy() & np.array([said is None for said in how]))
        matches: list[tuple[Match, ...]] = [()] * len(dataset)
        if len(at) and self._decodes(route.target) and not choosing:
            for i, cell in zip(at, self._decoded(z[at], route.target)):
                cells[i], how[i] = cell, "decoded"
        elif len(at):
            others = dataset if candidates is None else candidates
            known = raw_cells(others, kind, columns)
            own = at if candidates is None else None
            asked = self._points(z, rows, [(m, route.target) for m in route.source])[at]
            for i, near in zip(at, self._nearest(asked, others, own, route, unreadable)):
                if near:
                    cells[i], how[i] = known[near[0][0]], "retrieved"
                    matches[i] = tuple(Match(int(others.numbers[j]), score) for j, score in near)
        return Translated(columns, cells, how, matches)

    def _check(self, route: Route, *, choosing: bool) -> None:
        known = self.preprocessor.modalities
        for option, name in (*(("--from", name) for name in route.source), ("--to", route.target)):
            if name not in known:
                raise OptionError(f"{option} {name}: no such modality. {suggestion(name, known)}")
        kind, _ = self.preprocessor.wanted[route.target]
        could = kind in decoders and route.target not in self.preprocessor.encoders
        if could and not choosing and not self._decodes(route.target) and route.source != (route.target,):
            raise OptionError(
                f"--to {route.target}: this model has no decoder of it. Train with {HOW_TO_TRAIN}, or say "
                "--against TABLE or --top K to choose among cells that are there."
            )

    def _decodes(self, target: str) -> bool:
        """Whether the target's cells can be decoded: vectors of a frozen encoder are no cells."""
        decoded = self.engine.model.decoded
        return target in decoded and target not in self.preprocessor.encoders

    def _embedded(
        self, dataset: Dataset, source: Sequence[str], unreadable: str
    ) -> tuple[Float[Tensor, "n d"], Batch]:
        """Each row's embedding in the shared space by the sources alone, and the rows as the encoders read them."""
        reader = self.preprocessor.only(source)
        rows = reader.encode(reader.read(dataset, unreadable))
        with torch.no_grad():
            tokens = self.engine.tokens(self.params, rows).only(source)
            z = tokens.inputs[source[0]] if len(source) == 1 else self.engine.fuse(self.params, tokens)
        return z, rows

    def _points(
        self, z: Float[Tensor, "n d"], rows: Batch, between: Sequence[tuple[str, str]]
    ) -> Float[Tensor, "n e"]:
        """What is compared to find one modality's cells by another's: see `CrossModalMaps.points`."""
        features = self.preprocessor.only(rows.inputs).features(rows) if self.maps else rows
        return self.maps.points(z, features, between)

    def _decoded(self, z: Float[Tensor, "n d"], target: str) -> list[Any]:
        fitted: Any = self.preprocessor.fitted[target]
        cells: list[Any] = []
        for part in z.split(_CHUNK):
            there = torch.ones(len(part), dtype=torch.bool)
            with torch.no_grad():
                batch = Batch({"": part}, {"": there}, part.new_zeros(len(part), 0))
                cells += fitted.cells(self.engine.decode(self.params, batch, (target,))[""][target])
        return cells

    def _nearest(
        self,
        z: Float[Tensor, "n d"],
        candidates: Dataset,
        own: np.ndarray | None,
        route: Route,
        unreadable: str,
    ) -> list[list[tuple[int, float]]]:
        """Positions and similarities of each row's nearest candidates, nearest first.

        Args:
            own: the position of each row among the candidates, which is none of its own.
        """
        tokens, rows = self._embedded(candidates, (route.target,), unreadable)
        places = rows.present[route.target].nonzero()[:, 0]
        if not len(places):
            raise DataError(
                f"{candidates.name}: no row has {route.target} to choose from. Name others with --against."
            )
        points = self._points(tokens, rows, [(route.target, m) for m in route.source])
        units = F.normalize(points[places], dim=1)
        top = min(route.top or _TOP, len(places))
        found = []
        for start in range(0, len(z), _CHUNK):
            scores = F.normalize(z[start : start + _CHUNK], dim=1) @ units.mT
            if own is not None:
                same = torch.from_numpy(own[start : start + _CHUNK])[:, None] == places
                scores = scores.masked_fill(same, -torch.inf)
            best, at = scores.topk(top, dim=1)
            found += [
                [(int(places[j]), float(s)) for j, s in zip(js, row) if s > -torch.inf]
                for js, row in zip(at, best)
            ]
        return found
