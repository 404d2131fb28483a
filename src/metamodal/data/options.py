"""The options of a table: the roles of its columns, and how its rows are shared out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from metamodal.data.dataset import Dataset, read_table
from metamodal.data.limits import Limits
from metamodal.data.roles import Roles
from metamodal.data.splits import Plan
from metamodal.errors import DataError
from metamodal.options import Misfit, Options, refused
from metamodal.outputs import RENAMED

__all__ = ["DataOptions", "roles_of"]

_WRITTEN = ("sep", "decimal", "encoding", "na", "limits")
_PLAN = ("split_by", "shares", "folds", "fold", "inner", "class_names")


class DataOptions(Options):
    """The table and the roles of its columns."""

    renamed: ClassVar[Mapping[str, str]] = {"apart": "disjoint_by", "names": "class_names"}

    table: str | None = Field(None, description="a table file, or glyphs")
    target: str | list[str] | None = Field(
        None, description="the column with the label, or several with labels or numbers"
    )
    target_kind: Literal["auto", "classification", "multilabel", "regression"] = Field(
        "auto", description="what the target is; auto: as its cells tell"
    )
    task: str | None = Field(None, description="the column whose values are tasks")
    group: str | None = Field(None, description="the column of the entity whose rows belong together")
    split: str | None = Field(None, description="the column that says train, valid or test")
    time: str | None = Field(None, description="the column of the moment that a row is of")
    split_by: Literal["auto", "task", "class", "group", "row", "time"] = Field(
        "auto", description="what a split keeps whole, or time; auto: the first that the table has"
    )
    shares: list[float] = Field(
        [0.6, 0.2, 0.2], min_length=3, max_length=3, description="of training, validation and test in a split"
    )
    folds: int = Field(0, ge=0, description="parts of a cross-validation instead of shares")
    fold: int = Field(0, ge=0, description="the part to test on")
    inner: int = Field(0, ge=0, description="of the other parts the one to validate on")
    describe: str | None = Field(
        None, description="a column that describes the class: words, values, a vector"
    )
    class_names: Literal["auto", "shared", "own"] = Field(
        "auto", description="whether tasks' equal class names mean the same class; auto: if rows agree"
    )
    disjoint_by: str | None = Field(
        None, description="a column no value of which is in support and query of one episode"
    )
    use: list[str] | None = Field(None, description="the modalities; by default all columns of use")
    kinds: dict[str, str] = Field({}, description="kinds of columns that should not be inferred")
    root: str | None = Field(None, description="the folder that paths start from; by default the table's own")
    triples: str | None = Field(None, description="a table of head, relation, tail for entities in graphs")
    sep: str | None = Field(
        None, description="what stands between the cells of a CSV file; by default recognised from the file"
    )
    decimal: Literal[".", ","] | None = Field(
        None, description="the decimal mark of numbers that are strings"
    )
    encoding: str | None = Field(None, description="of a text file that is neither UTF-8 nor UTF-16")
    na: list[str] = Field([], description="words that stand for an empty cell")
    limits: Limits = Field(Limits(), description="caps on what one cell may decode to")
    unreadable: Literal["error", "absent"] = Field(
        "error", description="what a cell that cannot be read is: an error, or absent"
    )

    @field_validator("target_kind", mode="before")
    @classmethod
    def _renamed(cls, given: Any) -> Any:
        if given in RENAMED:
            raise refused([Misfit((), f"renamed. Set {RENAMED[given]}.", repr(given))])
        return given

    @field_validator("na", mode="before")
    @classmethod
    def _words(cls, said: Any) -> Any:
        return [said] if isinstance(said, str) else said

    @field_validator(
        "target", "task", "group", "split", "time", "describe", "disjoint_by", "use", mode="before"
    )
    @classmethod
    def _named(cls, said: Any) -> Any:
        """Columns of a frame may be named by numbers, which are read as their text."""
        if isinstance(said, (list, tuple)):
            return [name if isinstance(name, str) else str(name) for name in said]
        return said if said is None or isinstance(said, str) else str(said)

    def read(self) -> Dataset:
        """The table with its roles."""
        if self.table is None:
            raise DataError("no table is named. Give a table file, or the word glyphs.")
        said = self.model_dump(exclude={"table", "unreadable", "limits", *_PLAN})
        return read_table(self.table, **said, plan=self.plan, limits=self.limits)

    @property
    def plan(self) -> Plan:
        """How rows are shared out."""
        return Plan(self.split_by, tuple(self.shares), self.folds, self.fold, self.inner)


def roles_of(options: DataOptions) -> Roles:
    """The roles that data options name."""
    said = options.model_dump(exclude={"table", "root", "unreadable", *_WRITTEN, *_PLAN})
    return Roles(**said | {"use": tuple(options.use) if options.use else None})
