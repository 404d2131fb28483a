"""An audit as one HTML file, with pictures of what is wrong and of what is there twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from metamodal.data.audit import Audit, Balance, Fault, Finding
from metamodal.data.dataset import Dataset
from metamodal.data.modalities import modalities
from metamodal.data.schema.inference import Column, Schema
from metamodal.data.tables.cells import is_absent
from metamodal.data.tables.forms import form
from metamodal.data.tables.problems import Problem
from metamodal.errors import DataError
from metamodal.evaluation.audit_text import heading
from metamodal.evaluation.pictures import Picture, painter
from metamodal.evaluation.pictures.words import breakable
from metamodal.storage import write_text

__all__ = ["write_audit"]

_FAULTS = 50  # bad cells shown of a column
_SETS, _ROWS = 12, 4  # sets of rows shown of a finding, and rows of a set
_CELLS = 3  # pictures of a row
_CLASSES = 40  # of the coverage table, and bars of a balance
_SEEN = ("image", "audio", "series", "text", "embedding", "tabular")  # the more telling, the earlier
_POINTS = 72  # of a waveform


def write_audit(path: Path, audit: Audit) -> Path:
    """The path of a self-contained page on an audit; it appears whole or not at all.

    >>> import tempfile
    >>> import pandas as pd
    >>> from metamodal import audit
    >>> pets = pd.DataFrame({"weight": [4.1, 30.0], "pet": ["cat", "dog"]})
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_audit(folder / "audit.html", audit(pets, target="pet")).name
    'audit.html'
    """
    view = _View(audit)
    text = _template().render(version=version("metamodal"), audit=audit, view=view)
    return write_text(path, text)


def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("metamodal", "evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = lambda number: f"{number:,}".replace(",", "\u202f")
    environment.filters["breakable"] = breakable
    return environment.get_template("audit.html")


@dataclass(frozen=True)
class _Bad:
    """The bad cells of one sort and column: those shown with the rest of their row, and how many more."""

    title: str
    shown: list[tuple[Problem, list[Picture]]]
    more: int


@dataclass(frozen=True)
class _Told:
    """A finding with pictures: sets of rows, each row with its number, what it is called, and its cells."""

    finding: Finding
    sets: list[list[tuple[int, str, list[Picture]]]]
    more: int


class _View:
    """An audit as the page shows it."""

    def __init__(self, audit: Audit) -> None:
        self.audit, self.positions = audit, audit.positions
        dataset = audit.dataset
        self.labels = dataset.labels() if dataset.schema.target else np.full(len(dataset), None)
        self.draw = _drawer(dataset)
        kinds = {s.name: s.kind for s in audit.states if s.role == "modality" and s.opened and s.present}
        self.columns = sorted(
            (c for c in kinds if kinds[c] in _SEEN), key=lambda c: _SEEN.index(str(kinds[c]))
        )

    @property
    def cells(self) -> int:
        return sum(s.present + s.unreadable for s in self.audit.states if s.opened)

    @property
    def bad(self) -> list[_Bad]:
        found = []
        for _, same in groupby(self.audit.faults, key=lambda f: (f.what, f.problem.column)):
            faults = list(same)
            shown = [(f.problem, self._beside(f)) for f in faults[:_FAULTS]]
            found.append(_Bad(heading(faults), shown, len(faults) - len(shown)))
        return found

    def _beside(self, fault: Fault) -> list[Picture]:
        """The other cells of a bad cell's row; for an id or a label they are what tells."""
        position = self.positions.get(fault.problem.row or 0)
        if position is None or fault.what == "row":
            return []
        others = [c for c in self.columns if c != fault.problem.column]
        return [self.draw(c, position) for c in others[:_CELLS]]

    @property
    def told(self) -> list[_Told]:
        return [self._told(finding) for finding in self.audit.findings]

    def _told(self, finding: Finding) -> _Told:
        columns = self.columns[:_CELLS]
        if finding.column in self.columns and finding.what != "duplicate_rows":
            columns = [str(finding.column)]
        if finding.what == "beyond_limits" or not columns:
            return _Told(finding, [], 0)
        sets = [[self._row(finding, row, columns) for row in group[:_ROWS]] for group in finding.rows[:_SETS]]
        return _Told(finding, sets, len(finding.rows) - len(sets))

    def _row(self, finding: Finding, row: int, columns: list[str]) -> tuple[int, str, list[Picture]]:
        position = self.positions[row]
        name = str(self.labels[position] or "")
        suggested = finding.facts.get("suggested", {}).get(str(row))
        name = f"{name}, or {suggested}?" if suggested else name
        return row, name, [self.draw(c, position) for c in columns]

    @property
    def covered(self) -> list[dict[str, Any]]:
        """Classes by column, the share of rows that have it; the classes are the largest."""
        rows = []
        for c in self.audit.coverage:
            largest = sorted(c.classes, key=lambda name: (-c.classes[name][1], name))[:_CLASSES]
            cells = [(name, *c.classes[name]) for name in sorted(largest)]
            rows.append({"column": c.column, "cells": cells, "p": c.p_holm, "v": c.v, "test": c.test})
        return rows

    def bars(self, balance: Balance) -> list[tuple[str, int, float]]:
        """Names, counts and lengths in percent, the longest first."""
        most = max(balance.counts.values()) or 1
        return [(name, n, round(100 * n / most, 1)) for name, n in list(balance.counts.items())[:_CLASSES]]


def _drawer(dataset: Dataset) -> Callable[[str, int], Picture]:
    """Draws the cell of a column, whatever its role."""
    of = {c.name: c for c in dataset.schema.columns}

    @cache
    def brush(column: str) -> Callable[[int], tuple[Picture, ...]]:
        alone = Schema((Column(column, "modality", of[column].kind, of[column].evidence),))
        return painter(replace(dataset, schema=alone))

    def draw(column: str, position: int) -> Picture:
        if of[column].kind == "audio":
            return _waveform(dataset, column, position)
        cell: Any = dataset.frame[column].iat[position]
        if form(cell) == "symbols":
            return Picture(
                column, "text", "present", Markup('<span class="words">{}</span>').format(" ".join(cell))
            )
        return brush(column)(position)[0]

    return draw


def _waveform(dataset: Dataset, column: str, position: int) -> Picture:
    """How loud a sound is over time."""
    cell = dataset.frame[column].iat[position]
    if is_absent(cell):
        return Picture(column, "audio", "absent", Markup())
    try:
        sound = modalities["audio"].read(cell, dataset.base)
    except DataError as error:
        return Picture(
            column, "audio", "unreadable", Markup('<span title="{}">unreadable</span>').format(error)
        )
    parts = np.array_split(np.abs(sound.samples), min(_POINTS, len(sound.samples)))
    peaks = np.array([part.max() for part in parts])
    heights = 22 * peaks / max(float(peaks.max()), 1e-9)
    path = "".join(f"M{i + 0.5} {24 - h:.1f}v{2 * h:.1f}" for i, h in enumerate(heights.tolist()))
    html = Markup('<svg viewBox="0 0 72 48" width="72" height="48"><path class="wave" d="{}"/></svg>').format(
        path
    )
    return Picture(column, "audio", "present", html)
