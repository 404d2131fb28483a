"""The same content twice: whole rows, cells of one column, pictures and sounds that look alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from metamodal.data.audit.alike import alike_pairs
from metamodal.data.audit.cells import PRESENT, ColumnCells
from metamodal.data.audit.chance import by_chance
from metamodal.data.audit.findings import Finding, some
from metamodal.data.dataset import Dataset
from metamodal.data.modalities.capabilities import capabilities_of
from metamodal.data.tables.forms import form

__all__ = ["Twins", "duplicate_findings", "leak_findings", "twins"]

Twins = dict[str, list[tuple[int, ...]]]
"""Positions with the same content, by column."""

_WORDS = 4  # of a text that nobody writes twice by chance
_DISTINCT = 0.9  # of a column's texts, symbols or vectors; where fewer are, they are shared on purpose


def duplicate_findings(dataset: Dataset, columns: dict[str, ColumnCells], found: Twins) -> Iterator[Finding]:
    """Identical rows, identical cells of a column, cells that are alike, and cells that hold nothing."""
    whole = _whole_rows(columns)
    if whole and not by_chance(dataset, columns, len(whole)):
        rows = _numbers(dataset, whole)
        text = f"{_sets(whole)} identical in every column: {_shown(rows)}. Keep one of each"
        yield Finding("duplicate_rows", None, text, rows, _counts(whole))
    for name, groups in found.items():
        if groups:
            rows = _numbers(dataset, groups)
            text = f"{_sets(groups)} identical in {name}: {_shown(rows)}. Keep one of each, or name the column that they share with --group"
            yield Finding("duplicate_content", name, text, rows, _counts(groups))
        pairs = _near(dataset, columns[name], groups)
        if pairs:
            rows = _numbers(dataset, pairs)
            text = (
                f"{_sets(pairs)} nearly identical in {name}: {_shown(rows)}. Look at them; keep one of each"
            )
            yield Finding("near_duplicates", name, text, rows, _counts(pairs))
    for cells in columns.values():
        blank = [(int(i),) for i in np.flatnonzero(cells.blank)]
        if blank and not capabilities_of(cells.kind).strings:
            rows = _numbers(dataset, blank)
            text = f"{len(blank):,} cells of {cells.column.name} hold one value throughout: rows {some(r for (r,) in rows)}. Leave them empty if nothing was recorded"
            yield Finding("blank", cells.column.name, text, rows, {"cells": len(blank)})


def twins(dataset: Dataset, columns: dict[str, ColumnCells]) -> Twins:
    """Rows with the same content, of each column in which content tells a sample."""
    found: Twins = {}
    for name, cells in columns.items():
        if not cells.opened or cells.column.role not in ("modality", "ignored"):
            continue
        keep = (cells.states == PRESENT) & ~cells.blank
        capabilities = capabilities_of(cells.kind)
        words = capabilities.prose or any(form(c) == "symbols" for c in dataset.frame[name][keep][:1])
        if capabilities.prose:
            keep &= np.array([isinstance(c, str) and _telling(c) for c in dataset.frame[name]])
        elif capabilities.scalars:
            continue
        shared = words or not capabilities.recorded
        if shared and len(np.unique(cells.digests[keep])) < _DISTINCT * keep.sum():
            continue
        sets = _same(cells.digests, keep)
        if words:  # that rows of one entity say the same is no news
            groups = dataset.groups()
            sets = [at for at in sets if groups[at[0]] is None or len({groups[i] for i in at}) > 1]
        found[name] = sets
    return found


def leak_findings(dataset: Dataset, parts: np.ndarray, by: str, found: Twins) -> Iterator[Finding]:
    """A group entity, or the same content, in two parts of a split.

    Args:
        parts: the part of each row, empty for a row in none.
        by: what the split is, for the message.
    """
    groups = dataset.groups()
    entities: dict[str, list[int]] = {}
    for i, (group, part) in enumerate(zip(groups, parts)):
        if group is not None and part:
            entities.setdefault(group, []).append(i)
    torn = {g: _one_a_part(at, parts) for g, at in entities.items() if len({parts[i] for i in at}) > 1}
    if torn:
        column = dataset.schema.role("group")
        rows = _numbers(dataset, list(torn.values()))
        text = f"{len(torn):,} of {len(entities):,} groups ({column}: {some(torn)}) have rows in two parts of {by}. Move each into one part"
        yield Finding("group_in_two_parts", column, text, rows, {"groups": len(torn)})
    for name, sets in found.items():
        across = [_one_a_part(at, parts) for at in sets if len({parts[i] for i in at if parts[i]}) > 1]
        if across:
            rows = _numbers(dataset, across)
            text = f"{_sets(across)} identical in {name} and in two parts of {by}: {_shown(rows)}. Keep them in one part"
            yield Finding("content_in_two_parts", name, text, rows, _counts(across))


def _one_a_part(at: list[int] | tuple[int, ...], parts: np.ndarray) -> tuple[int, ...]:
    """The first row of each part."""
    return tuple({parts[i]: i for i in reversed(at) if parts[i]}.values())[::-1]


def _telling(text: str) -> bool:
    return len(text) >= 5 * _WORDS and len(text.split()) >= _WORDS


def _whole_rows(columns: dict[str, ColumnCells]) -> list[tuple[int, ...]]:
    """Rows alike in all columns; nothing is said of columns that could not be opened."""
    if not all(cells.opened or not cells.states.any() for cells in columns.values()):
        return []
    stacked = np.stack([cells.digests for cells in columns.values()], axis=1)
    digests = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in stacked]
    readable = np.all([cells.states != 2 for cells in columns.values()], axis=0)
    return _same(np.frombuffer(b"".join(digests), np.uint64), readable & stacked.any(1))


def _same(digests: np.ndarray, keep: np.ndarray) -> list[tuple[int, ...]]:
    """Positions that share a digest, in order of the first."""
    at = np.flatnonzero(keep)
    _, which, counts = np.unique(digests[at], return_inverse=True, return_counts=True)
    order = np.argsort(which, kind="stable")
    ends = np.cumsum(counts)
    groups = [tuple(at[order[end - n : end]].tolist()) for end, n in zip(ends, counts) if n > 1]
    return sorted(groups)


def _near(dataset: Dataset, cells: ColumnCells, same: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Pairs that are alike but not the same; of rows that are, only the first takes part."""
    again = {i for group in same for i in group[1:]}
    return [] if cells.looks is None else alike_pairs(dataset, cells, again)


def _numbers(dataset: Dataset, groups: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(dataset.numbers[i]) for i in group) for group in groups)


def _sets(groups: list[tuple[int, ...]]) -> str:
    if all(len(g) == 2 for g in groups):
        return "1 pair of rows is" if len(groups) == 1 else f"{len(groups):,} pairs of rows are"
    rows = sum(map(len, groups))
    return f"{rows:,} rows in {len(groups):,} sets are" if len(groups) > 1 else f"{rows:,} rows are"


def _shown(rows: tuple[tuple[int, ...], ...]) -> str:
    return some(" = ".join(map(str, group[:3])) + (" = …" if len(group) > 3 else "") for group in rows)


def _counts(groups: list[tuple[int, ...]]) -> dict[str, int]:
    return {"sets": len(groups), "rows": sum(map(len, groups))}
