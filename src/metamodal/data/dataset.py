"""A data set: one table of raw cells, its schema, and which rows are for what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metamodal.data.identity import name_of
from metamodal.data.limits import Limits, within
from metamodal.data.modalities.capabilities import capabilities_of
from metamodal.data.roles import ROLES, Roles
from metamodal.data.schema.conventions import moment_in
from metamodal.data.schema.inference import Schema, infer
from metamodal.data.schema.label_type import LabelType
from metamodal.data.schema.stored_types import StoredTypes
from metamodal.data.schema.target_kinds import SEPARATOR, is_empty, labels_of
from metamodal.data.tables.problems import Problem, short
from metamodal.data.tables.source import Source, open_source
from metamodal.data.tables.text_files import TextFormat
from metamodal.data.tables.triples import Triples, read_triples
from metamodal.data.tables.unreadable import Unreadable, with_unreadable
from metamodal.data.tasks.splits import Keys, Plan, Split, split_rows
from metamodal.errors import DataError, OptionError
from metamodal.options import parse
from metamodal.outputs import outputs
from metamodal.summary import Summary, listed

__all__ = ["Dataset", "open_table", "read_table"]


@dataclass(frozen=True)
class Dataset:
    """A table with its schema: raw cells, the role and kind of each column, and the split of the rows.

    `read_table` makes it. `MetaLearner.fit`, `score` and `evaluate` take it, `train`, `valid` and `test` are
    its parts, and `folds(n)` gives the table once for each fold of a cross-validation.

    >>> import pandas as pd, metamodal as mm
    >>> pets = pd.DataFrame({"size": range(40), "pet": [f"pet{i % 20:02}" for i in range(40)]})
    >>> data = mm.read_table(pets, target="pet", use=["size"])
    >>> len(data), len(data.train), len(data.valid), len(data.test)
    (40, 24, 8, 8)
    >>> set(data.train.labels()) & set(data.test.labels())
    set()

    Attributes:
        frame: the cells as Python objects, an empty cell as `None`; `frame.convert_dtypes()` has pandas' own dtypes.
        schema: the role and kind of each column, with the evidence.
        name, base: the table's name in messages, and the folder that paths start from.
        numbers: `(n,)`, the rows' places in the file from 1, which a selection of rows keeps.
        triples: how the entities of graph columns are related.
        plan: how rows are shared out where no column says.
        label_type, caps: the dtype of the labels, and what one cell may decode to.
    """

    frame: pd.DataFrame
    schema: Schema
    name: str
    base: Path
    numbers: np.ndarray
    triples: Triples | None = None
    plan: Plan = field(default_factory=Plan)
    label_type: LabelType = field(default_factory=LabelType)
    caps: Limits | None = None

    def __len__(self) -> int:
        return len(self.frame)

    def _summary(self) -> Summary:
        schema = self.schema
        facts = [("target", f"{listed(schema.targets)} ({schema.target_kind})")] if schema.targets else []
        facts += [
            (role.name, name) for role in ROLES if role.holds == "column" and (name := schema.role(role.name))
        ]
        for name, (kind, columns) in schema.modalities.items():
            facts.append((kind, name if columns == (name,) else f"{name}: {listed(columns)}"))
        left = [c.name for c in schema.columns if c.role == "ignored"]
        facts += [("left out", listed(left))] if left else []
        return Summary(f"Dataset {self.name}: {len(self):,} rows", tuple(facts))

    def __repr__(self) -> str:
        return str(self._summary())

    def _repr_html_(self) -> str:
        return self._summary().html()

    def rows(self, index: np.ndarray) -> Dataset:
        """Some of the rows, by position or by a boolean mask."""
        return replace(self, frame=self.frame.iloc[index].reset_index(drop=True), numbers=self.numbers[index])

    def labels(self) -> np.ndarray:
        """The canonical name of each row's target (see `name_of`), or `None` where all of it is empty."""
        if self.schema.target is None:
            raise OptionError(
                f"{self.name}: no target column is named. Name the column that holds the label: --target C."
            )
        columns = [self._column(c) for c in self.schema.targets]
        if len(columns) == 1:  # an empty list is no class, but it is known to have no label
            return (
                columns[0]
                if not self.has_classes
                else np.array([c or None for c in columns[0]], dtype=object)
            )
        rows = [None if all(c is None for c in row) else ", ".join(map(str, row)) for row in zip(*columns)]
        return np.array(rows, dtype=object)

    @property
    def has_classes(self) -> bool:
        """Whether the task is classification; else all labelled rows of a task are one pool."""
        return outputs[self.schema.target_kind].has_classes

    def of_kind(self, kind: str) -> Dataset:
        """The same rows with their target taken for classes, labels or numbers."""
        if self.schema.target_kind == kind:
            return self
        return replace(self, schema=replace(self.schema, target_kind=kind))

    def _names(self, role: str) -> np.ndarray:
        column = self.schema.role(role)
        return np.array([None] * len(self), dtype=object) if column is None else self._column(column)

    def _column(self, column: str) -> np.ndarray:
        for number, cell in zip(self.numbers, self.frame[column]):
            if isinstance(cell, Unreadable):
                raise DataError(f"{self.name} row {number}, column {column}: the cell {cell.reason}.")
        cells = [None if is_empty(c) else _named(c) for c in self.frame[column]]  # a NaN is no name
        return np.array(cells, dtype=object)

    def tasks(self) -> np.ndarray:
        """The task value of each row, `None` where there is no task column."""
        return self._names("task")

    def groups(self) -> np.ndarray:
        """The group entity of each row, `None` where there is no group column."""
        return self._names("group")

    def disjoint_by(self) -> np.ndarray:
        """What no episode has on both its sides, of each row; `None` where nothing is to be kept apart."""
        return self._names("disjoint_by")

    def split(self, seed: int = 0) -> Split:
        """Which rows are for meta-training, for validation and for test; see `split_rows`."""
        return split_rows(self.keys(), self.plan, name=self.name, seed=seed)

    def keys(self, *, blind: bool = False) -> Keys:
        """What rows are split by: without a target, or `blind` to it, all rows are alike."""
        given = self._names("split") if self.schema.role("split") else None
        times = self._times() if self.schema.role("time") else None
        alike = blind or self.schema.target is None
        labels = np.full(len(self), "row", dtype=object) if alike else self.labels()
        return Keys(labels, self.tasks(), self.groups(), given, times, self.has_classes or alike)

    def _times(self) -> np.ndarray:
        column = str(self.schema.role("time"))
        written = self.schema.conventions.get(column)
        times = [moment_in(cell, written) for cell in self.frame[column]]
        for number, cell, time in zip(self.numbers, self.frame[column], times):
            if time is None:
                raise DataError(
                    f"{self.name} row {number}, column {column}: {short(cell)} is no time. Give a number or a date "
                    "as 2024-05-31, or leave the cell empty."
                )
        return np.array(times, dtype=float)

    def folds(self, count: int) -> Iterator[Dataset]:
        """This table once for each fold of a cross-validation: `fold.train`, `fold.valid`, `fold.test`."""
        if count < 3:
            raise OptionError(f"folds({count}): too few for training, validation and test. Give 3 or more.")
        return (replace(self, plan=replace(self.plan, folds=count, fold=fold)) for fold in range(count))

    @cached_property
    def train(self) -> Dataset:
        """The rows for meta-training."""
        return self.rows(self.split().train)

    @cached_property
    def valid(self) -> Dataset:
        """The rows for choosing among models."""
        return self.rows(self.split().valid)

    @cached_property
    def test(self) -> Dataset:
        """The rows kept for the last word."""
        return self.rows(self.split().test)


def read_table(
    source: Any,
    *,
    target: Any = None,
    target_kind: str | None = None,
    task: Any = None,
    group: Any = None,
    split: Any = None,
    time: Any = None,
    describe: Any = None,
    disjoint_by: Any = None,
    use: Sequence[Any] | None = None,
    kinds: Mapping[Any, str] | None = None,
    triples: str | None = None,
    root: str | Path | None = None,
    plan: Plan | None = None,
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    na: str | Sequence[str] | None = None,
    limits: Limits | Mapping[str, int] | None = None,
    unreadable: str = "error",
) -> Dataset:
    """A `Dataset` from a table: a file, a folder, a frame in memory, or the embedded `"glyphs"`.

    Kinds are inferred from the cells; print the result to see what each column was taken for.

    Args:
        source: a Parquet, Arrow, CSV, TSV, JSON, JSONL, Excel, OpenDocument or
            WebDataset file, a folder of them, a folder that `datasets` saved, a folder of files sorted by class, `-` for standard
            input, a DataFrame, an Arrow table.
        target: the column with the label, or a list of several with labels or numbers. A column that a
            frame names by a number or a tuple is named by the same, or by its text.
        target_kind: `classification`, `multilabel` or `regression`; by default inferred from the cells.
        task: the column whose values are the tasks that episodes are drawn within.
        group: the column of the entity whose rows belong together (a patient, a speaker).
        split: the column that says `train`, `valid` or `test`.
        time: the column of the moment that a row is of, to train on the earliest and test on the latest.
        describe: a column that describes the class, not the sample: words, values or a vector.
        disjoint_by: a column no value of which is in support and query of one episode.
        use: the columns to use as modalities; by default all that are of use.
        kinds: kinds of columns that should not be inferred, e.g. `{"notes": "text"}`.
        root: the folder that paths in the table start from; by default the table's own.
        triples: a table with columns head, relation and tail, for columns of kind graph that name entities.
        plan: how rows are shared out over training, validation and test where no column says.
        sep: what stands between the cells of a CSV file, where it is not recognised from the file; `tab` for a tab.
        decimal: the decimal mark of numbers that are strings, `.` or `,`.
        encoding: of a CSV or JSONL file that is neither UTF-8 nor UTF-16, such as `cp1252`.
        na: a word, or several, that stand for an empty cell.
        limits: caps on what one cell may decode to, as `Limits` or by name: `{"seconds": 3600}`.
        unreadable: `error`, or `absent`: a cell of another kind than most of its column is absent, with a warning.

    Raises:
        OptionError: a role names a column that is not there, or a kind that does not exist.
        DataError: a source that cannot be read.

    >>> import pandas as pd
    >>> pets = pd.DataFrame(
    ...     {
    ...         "weight": [4.1, 30.0],
    ...         "says": ["meow and purr softly", "bark at the gate"],
    ...         "pet": ["cat", "dog"],
    ...     }
    ... )
    >>> read_table(pets, target="pet").schema.modalities
    {'weight': ('tabular', ('weight',)), 'says': ('text', ('says',))}
    """
    roles = Roles.parse(
        target=target,
        task=task,
        group=group,
        split=split,
        describe=describe,
        use=use,
        kinds=kinds,
        triples=triples,
        time=time,
        target_kind=target_kind,
        disjoint_by=disjoint_by,
    )
    text = TextFormat.said(sep, decimal, encoding, na)
    if not isinstance(limits, (Limits, Mapping, type(None))):
        raise OptionError(f"limits={limits!r}: no caps. Give Limits, or {{name: number}}.")
    caps = parse(Limits, dict(limits)) if isinstance(limits, Mapping) else limits
    return open_table(source, roles, root=root, plan=plan, text=text, caps=caps, unreadable=unreadable)


def open_table(
    source: Any,
    said: Roles,
    known: Roles | None = None,
    *,
    root: str | Path | None = None,
    plan: Plan | None = None,
    text: TextFormat | None = None,
    caps: Limits | None = None,
    unreadable: str = "error",
) -> Dataset:
    """A table under the roles that a caller said, and those `known` beforehand as far as they fit.

    What is said must be there. What is known (the roles a model was trained with) holds where the
    table has the column, and gives way to what is said.
    """
    if not isinstance(plan, (Plan, type(None))):
        raise OptionError(f"plan={plan!r}: no plan. Give metamodal.Plan(…), or leave it out.")
    with within(caps):
        opened = source if isinstance(source, Source) else open_source(source, root, text)
        frame, numbers = opened.whole()
    said = said.among(frame.columns)
    known = known or opened.roles
    described = said.describe is not None
    roles = (said.over(_there(known, frame, opened.name, described=described)) if known else said).settled()
    odd: list[Problem] = []
    report = odd.append if unreadable == "absent" else None
    schema = infer(frame, roles, opened.name, report, index=opened.stored.index)
    frame = with_unreadable(frame, odd, opened.name) if odd else frame
    triples = read_triples(roles.triples, opened.base) if roles.triples else None
    return Dataset(
        frame,
        schema,
        opened.name,
        opened.base,
        numbers,
        triples,
        plan or Plan(),
        _label_type(frame, schema, opened.stored),
        caps,
    )


def _label_type(frame: pd.DataFrame, schema: Schema, stored: StoredTypes) -> LabelType:
    if schema.target is None or not outputs[schema.target_kind].has_classes:
        return LabelType()
    cells = [c for c in frame[schema.target] if not is_empty(c)]
    return LabelType.of(cells, stored.dtype(schema.target), typed=stored.typed)


def _there(known: Roles, frame: pd.DataFrame, name: str, *, described: bool) -> Roles:
    """The known roles whose columns this table has; it may have no modality if it describes classes."""
    columns = set(frame.columns)
    roles = known.within(columns)
    described = roles.describe is not None or described
    if known.use and not roles.use and not described:
        raise DataError(
            f"{name}: none of the model's columns is there ({', '.join(known.use)}). Name at least one of them so."
        )
    return (
        roles
        if any(capabilities_of(kind).entities for kind in roles.kinds.values())
        else replace(roles, triples=None)
    )


def _named(cell: Any) -> str:
    labels = None if isinstance(cell, str) else labels_of(cell)
    return name_of(cell) if labels is None else f"{SEPARATOR} ".join(labels)
