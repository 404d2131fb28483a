"""Where a table comes from, opened but not read: a file, a folder, standard input, or memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metamodal.data.limits import limits
from metamodal.data.roles import Roles
from metamodal.data.schema.stored_types import StoredTypes, of_arrow_table, of_dataframe, of_file
from metamodal.data.tables.arrow_chunks import of_arrow
from metamodal.data.tables.chunks import Chunk, chunked
from metamodal.data.tables.endings import ending_of, sniffed
from metamodal.data.tables.folders import class_folders, read_shards, roles_beside, saved_splits, shards_of
from metamodal.data.tables.formats import FORMATS
from metamodal.data.tables.problems import Problem, Report
from metamodal.data.tables.table import frame_of_cells, from_dataframe
from metamodal.data.tables.text_files import TextFormat
from metamodal.data.tasks.splits import part_of
from metamodal.errors import DataError, OptionError, suggestion

__all__ = ["Source", "open_source"]

_ROWS = 1024


@dataclass(frozen=True)
class Source:
    """A table that can be read from the start as often as one likes.

    `name` is for messages, `base` the folder that its paths start from, `roles` what is known of its
    columns beforehand (in folders sorted by class). `stored` is what is known of them besides their cells.
    """

    name: str
    base: Path
    read: Callable[[int, Report], Iterator[Chunk]]
    roles: Roles | None = None
    stored: StoredTypes = field(default_factory=StoredTypes)

    def chunks(self, rows: int = _ROWS, report: Report | None = None) -> Iterator[Chunk]:
        """The rows in order, at most `rows` at a time; a chunk has the columns that its rows have.

        Args:
            report: receives rows that cannot be parsed; without it the first one is raised.

        Raises:
            DataError: no rows, or a file that cannot be read at all.
        """
        empty = True
        warned = False

        def raised(problem: Problem) -> None:
            raise DataError(f"{self.name} {problem}")

        def noted(problem: Problem) -> None:
            nonlocal warned
            warned = True
            (report or raised)(problem)

        for chunk in self.read(rows, noted):
            empty = False
            yield chunk
        if empty and not warned:
            raise DataError(
                f"{self.name}: the table has no rows. Give a table with at least one labelled row."
            )

    def whole(self) -> Chunk:
        """All rows at once, with the columns of all of them."""
        chunks, count = [], 0
        for chunk in self.chunks():
            chunks.append(chunk)
            count += len(chunk.numbers)
            if count > limits().rows:
                raise DataError(
                    f"{self.name}: more than {limits().rows} rows are above the cap of a table in memory. "
                    "Take fewer rows, or run encode, which reads a table of any size in parts."
                )
        if len(chunks) == 1:
            return chunks[0]
        names = dict.fromkeys(c for chunk in chunks for c in chunk.frame.columns)
        cells: dict[str, list[Any]] = {c: [] for c in names}
        for frame, _ in chunks:
            for c, column in cells.items():
                column += frame[c].tolist() if c in frame.columns else [None] * len(frame)
        return Chunk(frame_of_cells(cells), np.concatenate([numbers for _, numbers in chunks]))


def open_source(source: Any, root: str | Path | None = None, text: TextFormat | None = None) -> Source:
    """What a caller names as a table: a path, `-`, `glyphs`, a DataFrame, an Arrow table.

    Args:
        source: a file by its ending; a folder of such files, of a data set saved by `datasets`, or of
            files sorted by class; `-` for standard input, whose format is recognised by its first bytes;
            `glyphs`; a DataFrame; an Arrow table, or whatever holds one (a `datasets.Dataset`, a
            polars frame).
        root: the folder that paths in the table start from; by default the table's own.
        text: how the table is written, where the file does not tell. Words for an empty cell and the decimal
            mark hold for the strings of any table, the rest for text files.

    Raises:
        OptionError: a separator of a table that has none.
        DataError: there is no such file, or nothing in it that can be read.
    """
    text = text or TextFormat()
    if text.sep and not _separated(source):
        raise OptionError(f"--sep {text.sep!r}: only CSV and TSV have a separator. Leave it out.")
    if isinstance(source, (str, Path)):
        opened = _named(str(source), text)
    elif isinstance(source, pd.DataFrame):
        opened = replace(_of_frame(from_dataframe(source), "DataFrame"), stored=of_dataframe(source))
    elif isinstance(source, pd.Series):
        raise DataError(
            "Series is no table. Give a DataFrame: series.to_frame(), or several as columns of one."
        )
    else:
        opened = _of_arrow(source)
    if text.respells:
        opened = replace(opened, read=_respelled(opened.read, text))
    if root is None:
        return opened
    if not isinstance(root, (str, Path)):
        raise OptionError(f"root={root!r}: no folder. Give its path.")
    if not Path(root).is_dir():
        raise DataError(f"{root}: no such folder. Give the folder that the table's paths start from.")
    return replace(opened, base=Path(root))


def _separated(source: Any) -> bool:
    """Whether a separator may part the cells of a table."""
    path = Path(source) if isinstance(source, (str, Path)) else None
    return path is not None and (
        str(path) == "-" or path.is_dir() or any(e in path.name.lower() for e in (".csv", ".tsv"))
    )


def _respelled(
    read: Callable[[int, Report], Iterator[Chunk]], text: TextFormat
) -> Callable[[int, Report], Iterator[Chunk]]:
    def meant(rows: int, report: Report) -> Iterator[Chunk]:
        for frame, numbers in read(rows, report):
            yield Chunk(text.frame(frame), numbers)

    return meant


def _named(source: str, text: TextFormat) -> Source:
    if source == "-":
        data = sys.stdin.buffer.read()
        read = FORMATS[sniffed(data)]
        ending = sniffed(data)
        return Source(
            "standard input",
            Path.cwd(),
            lambda rows, report: read(data, "standard input", rows, report, text),
            stored=StoredTypes(typed=ending != ".csv"),
        )
    if source == "glyphs":
        from metamodal.data.glyphs import GLYPHS_ROLES, read_glyphs

        glyphs = _of_frame(from_dataframe(read_glyphs()), "glyphs")
        return Source(glyphs.name, glyphs.base, glyphs.read, Roles(**GLYPHS_ROLES))
    path = Path(source)
    if path.is_dir():
        return _of_folder(path, text)
    if not path.exists():
        raise DataError(
            f"{path}: no such file. Give a table ({', '.join(FORMATS)}), a folder or the word glyphs."
        )
    suffix, name = ending_of(path), path.name
    if suffix not in FORMATS:
        raise DataError(
            f"{name}: cannot read {suffix or 'a file without ending'}. {suggestion(suffix, FORMATS)}"
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty. Give a table with a header and rows.")
    return Source(
        name,
        path.parent,
        lambda rows, report: FORMATS[suffix](path, name, rows, report, text),
        stored=of_file(path),
    )


def _of_folder(folder: Path, text: TextFormat) -> Source:
    name = folder.resolve().name
    shards = saved_splits(folder) or {"": shards_of(folder)}
    if any(shards.values()):
        stored = of_file(next(file for files in shards.values() for file in files))
        known = roles_beside(folder) or (Roles(split="split") if all(map(part_of, shards)) else None)
        return Source(
            name, folder, lambda rows, report: read_shards(shards, rows, report, text), known, stored
        )
    records, roles = class_folders(folder)
    return Source(name, folder, lambda rows, report: chunked(enumerate(records, 1), [], rows), roles)


def _of_frame(frame: pd.DataFrame, name: str) -> Source:
    def read(rows: int, report: Report) -> Iterator[Chunk]:
        for at in range(0, len(frame), rows):
            part = frame.iloc[at : at + rows].reset_index(drop=True)
            yield Chunk(part, np.arange(at + 1, at + 1 + len(part)))

    return Source(name, Path.cwd(), read)


def _of_arrow(source: Any) -> Source:
    import pyarrow as pa

    kind = type(source).__name__
    held = getattr(getattr(source, "data", None), "table", source)  # a `datasets.Dataset` holds its table so
    if getattr(source, "_indices", None) is not None:
        held = source.flatten_indices().data.table
    if not isinstance(held, pa.Table):
        if not hasattr(held, "__arrow_c_stream__"):
            raise DataError(f"{kind} is no table. Give a path, a DataFrame or an Arrow table.")
        try:
            held = pa.table(held)
        except (pa.ArrowException, TypeError, ValueError):
            raise DataError(f"{kind} is no table. Give a path, a DataFrame or an Arrow table.") from None
    stored = of_arrow_table(held)
    return Source(kind, Path.cwd(), lambda rows, report: of_arrow(held, kind, rows, report), stored=stored)
