"""The options of a table: the roles of its columns, and how its rows are shared out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, create_model, field_validator

from metamodal.data.dataset import Dataset, open_table
from metamodal.data.limits import Limits
from metamodal.data.roles import ROLES, Role, Roles
from metamodal.data.tables.text_files import TextFormat
from metamodal.data.tasks.splits import Plan
from metamodal.errors import DataError
from metamodal.options import Misfit, Options, refused
from metamodal.outputs import RENAMED

__all__ = ["DataOptions", "roles_of"]


def _field(role: Role) -> tuple[Any, Any]:
    """The type of a role's option and its default, description included."""
    types: dict[str, tuple[Any, Any]] = {
        "column": (str | None, None),
        "columns": (str | list[str] | None if role.exclusive else list[str] | None, None),
        "choice": (Literal[role.choices], role.choices[0] if role.choices else None),
        "kinds": (dict[str, str], {}),
        "file": (str | None, None),
    }
    kind, default = types[role.holds]
    return kind, Field(default, description=role.help)


# Typed as Any: a class that is made at run time is no base class to a type checker.
_FIELDS: dict[str, Any] = {role.name: _field(role) for role in ROLES}
_RoleOptions: Any = create_model("RoleOptions", __base__=Options, **_FIELDS)


class DataOptions(_RoleOptions):
    """The table and the roles of its columns."""

    renamed: ClassVar[Mapping[str, str]] = {"apart": "disjoint_by", "names": "class_names"}

    table: str | None = Field(None, description="a table file, or glyphs")
    split_by: Literal["auto", "task", "class", "group", "row", "time"] = Field(
        "auto", description="what a split keeps whole, or time; auto: the first that the table has"
    )
    shares: list[float] = Field(
        [0.6, 0.2, 0.2], min_length=3, max_length=3, description="of training, validation and test in a split"
    )
    folds: int = Field(0, ge=0, description="parts of a cross-validation instead of shares")
    fold: int = Field(0, ge=0, description="the part to test on")
    inner: int = Field(0, ge=0, description="of the other parts the one to validate on")
    class_names: Literal["auto", "shared", "own"] = Field(
        "auto", description="whether tasks' equal class names mean the same class; auto: if rows agree"
    )
    root: str | None = Field(None, description="the folder that paths start from; by default the table's own")
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

    @field_validator(*(r.name for r in ROLES if r.holds in ("column", "columns")), mode="before")
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
        text = TextFormat.said(self.sep, self.decimal, self.encoding, self.na)
        return open_table(
            self.table,
            roles_of(self),
            root=self.root,
            plan=self.plan,
            text=text,
            caps=self.limits,
            unreadable=self.unreadable,
        )

    @property
    def plan(self) -> Plan:
        """How rows are shared out."""
        return Plan(self.split_by, tuple(self.shares), self.folds, self.fold, self.inner)


def roles_of(options: DataOptions) -> Roles:
    """The roles that data options name."""
    return Roles.parse(**{role.name: getattr(options, role.name) for role in ROLES})
