"""The shape of the source: small modules, one command a file."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import metamodal
from metamodal.app import commands as package
from metamodal.app.command import commands

SOURCE = Path(metamodal.__file__).parent
LARGEST, USUAL = 350, 120  # lines


def lengths() -> dict[str, int]:
    return {
        path.relative_to(SOURCE).as_posix(): len(path.read_text().splitlines())
        for path in sorted(SOURCE.rglob("*.py"))
    }


def test_no_module_is_longer_than_a_reader_takes_in():
    assert not {name: lines for name, lines in lengths().items() if lines > LARGEST}


def test_the_median_module_is_small():
    assert median(lengths().values()) <= USUAL


def test_every_file_of_commands_is_a_command_of_its_name():
    files = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(commands())
