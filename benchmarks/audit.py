"""False alarms of `audit` on tables that are sound, and faults planted in them that it finds.

    python benchmarks/audit.py [--shared DIR]

One JSON line a case: `alarms` are warnings of a sound table that say what is not so, `missed` the planted
faults that nothing was said of. Every table is audited as a frame and as a file, CSV where cells allow it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import metamodal as mm
from measured import print_line
from metamodal.data.audit import Audit
from tables.audit_cases import Case, Reported
from tables.planted_faults import planted
from tables.shared_tables import shared
from tables.sound_tables import clean, own, sklearn_tables

__all__ = [
    "audited",
    "clean",
    "false_alarms",
    "missed",
    "own",
    "planted",
    "reported",
    "shared",
    "sklearn_tables",
]


def reported(audit: Audit) -> set[Reported]:
    """What an audit says, and of which column."""
    faults = {(f.what, f.problem.column) for f in audit.faults}
    return faults | {(f.what, f.column) for f in audit.findings}


def false_alarms(case: Case, audit: Audit) -> set[Reported]:
    return reported(audit) - case.expected


def missed(case: Case, audit: Audit) -> set[Reported]:
    return set(case.expected) - reported(audit)


def as_file(case: Case, folder: Path) -> Path:
    """The table as CSV where all cells are single values, else as Parquet."""
    if isinstance(case.table, Path):
        return case.table
    single = all(
        isinstance(c, (str, int, float, bool, type(None), np.generic))
        for c in case.table.to_numpy(object).ravel()
    )
    path = folder / f"table.{'csv' if single else 'parquet'}"
    case.table.to_csv(path, index=False) if single else case.table.to_parquet(path)
    return path


def audited(case: Case, folder: Path) -> Iterator[tuple[str, Audit]]:
    """The audits of a table, as it is and as a file."""
    if not isinstance(case.table, Path):
        yield "frame", mm.audit(case.table, **case.roles)
    path = as_file(case, folder)
    yield path.suffix[1:], mm.audit(path, **case.roles)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--shared", type=Path, help="the folder of the shared tables")
    folder = options.parse_args().shared
    sorts = {
        "sklearn": sklearn_tables(),
        "own": own(),
        "planted": planted(),
        "shared": shared(folder) if folder else (),
    }
    for sort, cases in sorts.items():
        for case in cases:
            with tempfile.TemporaryDirectory() as place:
                for form, audit in audited(case, Path(place)):
                    alarms, lost = false_alarms(case, audit), missed(case, audit)
                    print_line(
                        f"audit: {case.name}",
                        formulation=f"as a {form}",
                        baseline="what was planted",
                        sort=sort,
                        rows=len(audit.dataset),
                        reported=sorted(map(str, reported(audit))),
                        alarms=sorted(map(str, alarms)),
                        missed=sorted(map(str, lost)),
                    )


if __name__ == "__main__":
    main()
