"""What can go wrong, by who can fix it.

    MetamodalError
    ├── OptionError      the caller asked for something that does not exist or does not fit   exit code 2
    ├── DataError        a table, or a cell of it, is not what it should be                   exit code 3
    │   └── InputError   rows or labels given to an estimator of scikit-learn's manner; a ValueError, too
    ├── ArtifactError    a saved model or predictor is missing, damaged or too new            exit code 3
    └── OutputError      a file or folder cannot be written: no space, no permission, taken   exit code 3

A bug stays a plain exception. What may be meant so, but seldom is, is a `MetamodalWarning`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArtifactError",
    "DataError",
    "InputError",
    "MetamodalError",
    "MetamodalWarning",
    "OptionError",
    "OutputError",
    "one_line",
    "suggestion",
]


class MetamodalError(Exception):
    """Any error a user can fix; its message is one line and ends in the remedy."""

    exit_code = 1

    def __str__(self) -> str:
        return one_line(super().__str__())


class OptionError(MetamodalError):
    """An option, a name or a combination of both that does not exist or does not fit."""

    exit_code = 2


class DataError(MetamodalError):
    """A table or a cell that is not what it should be; names file, row, column and value."""

    exit_code = 3


class InputError(DataError, ValueError):
    """Rows or labels that an estimator in scikit-learn's manner cannot use; its tools expect a ValueError."""


class ArtifactError(MetamodalError):
    """A saved model or predictor that cannot be read."""

    exit_code = 3


class OutputError(MetamodalError):
    """A file or folder that cannot be written; names the path and the remedy."""

    exit_code = 3


def one_line(text: str) -> str:
    """A message in one line: line breaks in names and cells as they are escaped.

    >>> one_line("column 'a\\nb'")
    "column 'a\\\\nb'"
    """
    return text.replace("\r", "\\r").replace("\n", "\\n")


class MetamodalWarning(UserWarning):
    """Something in a table that makes answers doubtful and is no error; its message is one line."""


def suggestion(name: object, known: Iterable[str]) -> str:
    """The end of a message about an unknown `name`: the nearest known one, or all of them.

    >>> suggestion("inner_Ir", ["inner_lr", "steps"])
    "Did you mean 'inner_lr'?"
    >>> suggestion("zzz", ["inner_lr", "steps"])
    'Known: inner_lr, steps.'
    """
    known = [str(k) for k in known]
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Known: {', '.join(known)}." if known else "There is none to choose from."
