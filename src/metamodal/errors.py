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
    """Any error that a user can fix; the root of all errors of the library.

    The message is one line. It names what was wrong, where, the value, and what to do. Catch this class to
    report such an error without a traceback, as the command line does. A bug stays a plain exception.

    >>> import metamodal as mm
    >>> try:
    ...     mm.read_table("birds.csv", target="name")
    ... except mm.MetamodalError as error:
    ...     print(type(error).__name__, error.exit_code)
    DataError 3

    Attributes:
        exit_code: the exit code of a command that ends with this error: 1 here, 2 or 3 in the children.

    Children: `OptionError` (2), `DataError` (3) with `InputError`, `ArtifactError` (3), `OutputError` (3).
    """

    exit_code = 1

    def __str__(self) -> str:
        return one_line(super().__str__())


class OptionError(MetamodalError):
    """An option that does not exist, or a value or a combination of options that does not fit.

    Raised before a table is opened, with the full path of the option and the nearest known name. Fix the
    call, the YAML file or the command line; the table is not at fault. Exit code 2.

    >>> import metamodal as mm
    >>> try:
    ...     mm.MetaLearner(train__budgit=60)
    ... except mm.OptionError as error:
    ...     print(error)
    train.budgit: no such option. Did you mean 'budget'?

    A component raises it where its options or the kind of target do not fit, for example in
    `Learner.parameters`.
    """

    exit_code = 2


class DataError(MetamodalError):
    """A table, a row or a cell that is not what it should be.

    The message names file, row, column, value and remedy. Rows count from 1. Fix the table, or pass
    `unreadable="absent"` where unreadable cells may count as empty. Exit code 3, HTTP status 4xx.

    >>> import pandas as pd
    >>> import metamodal as mm
    >>> pets = pd.DataFrame({"weight": [4.1, float("inf"), 30.0, 28.0], "pet": ["cat", "cat", "dog", "dog"]})
    >>> try:
    ...     mm.MetaLearner().adapt(mm.read_table(pets, target="pet"))
    ... except mm.DataError as error:
    ...     print(error)
    DataFrame row 2, column weight: weight is inf. Give a finite number, or leave the cell empty.

    `metamodal.audit` collects all such problems of a table instead of stopping at the first.
    """

    exit_code = 3


class InputError(DataError, ValueError):
    """Rows or labels that `Classifier` or `Regressor` cannot use.

    It is a `DataError` and also a `ValueError`, because the tools of scikit-learn, such as `cross_val_score`
    and `check_estimator`, expect a `ValueError` from `fit` and `predict`. Exit code 3.

    >>> import metamodal as mm
    >>> try:
    ...     mm.Classifier().fit([{"size": 20}, {"size": 24}], ["cat", "cat"])
    ... except ValueError as error:
    ...     print(type(error).__name__, "-", error)
    InputError - y: one class only ('cat'). Give rows of at least two.
    """


class ArtifactError(MetamodalError):
    """A saved model or predictor that cannot be read: missing, damaged, or written by a newer version.

    `load` raises it before anything of the folder is used. Every tensor is compared with its digest, so a
    damaged file is an error and never a different answer. Exit code 3.

    >>> import tempfile
    >>> import metamodal as mm
    >>> try:
    ...     mm.load(tempfile.mkdtemp())
    ... except mm.ArtifactError as error:
    ...     print(type(error).__name__)
    ArtifactError

    An unknown format is reported with the version that reads it.
    """

    exit_code = 3


class OutputError(MetamodalError):
    """A file or folder that cannot be written: no space, no permission, or a folder with files of others.

    `save`, `write_report` and every `--out` raise it. A file appears whole or not at all, so what was there
    before is still complete. Exit code 3.

    >>> import tempfile, pathlib
    >>> import pandas as pd, metamodal as mm
    >>> taken = pathlib.Path(tempfile.mkdtemp(), "notes.txt")
    >>> _ = taken.write_text("mine")
    >>> pets = pd.DataFrame({"height": [20, 24, 60, 63], "pet": ["cat", "cat", "dog", "dog"]})
    >>> try:
    ...     mm.MetaLearner(data__target="pet").adapt(pets).save(taken.parent)
    ... except mm.OutputError as error:
    ...     print(type(error).__name__, taken.read_text())
    OutputError mine
    """

    exit_code = 3


def one_line(text: str) -> str:
    """A message in one line: line breaks in names and cells as they are escaped.

    >>> one_line("column 'a\\nb'")
    "column 'a\\\\nb'"
    """
    return text.replace("\r", "\\r").replace("\n", "\\n")


class MetamodalWarning(UserWarning):
    """A warning that answers may be doubtful, although nothing is an error; its message is one line.

    Examples: a column that counts along the rows is left out, a column of the model is missing from the
    table, fusion scores below one modality alone. `--strict` on the command line makes these warnings errors.
    In Python the standard filter does the same:

    >>> import warnings
    >>> import metamodal as mm
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", mm.MetamodalWarning)
    >>> issubclass(mm.MetamodalWarning, UserWarning)
    True
    """


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
