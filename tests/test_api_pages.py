"""The API pages hold every public name, and are what their docstrings make."""

from __future__ import annotations

import inspect
import runpy
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import metamodal
from metamodal import extend

DOCS = Path(__file__).resolve().parents[1] / "docs"
PACKAGES = (metamodal, extend)


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "api_pages.py"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_no_public_name_lacks_a_section(package: Any, script: dict[str, Any]):
    assert script["documented"]()[package.__name__] == set(package.__all__) - {"extend"}


def test_pages_are_what_their_docstrings_make(script: dict[str, Any]):
    made = script["pages"]()
    stale = [name for name, text in made.items() if (DOCS / "api" / name).read_text() != text]
    assert not stale, f"run python docs/api_pages.py: {stale}"
    assert {path.name for path in (DOCS / "api").glob("*.md")} == set(made)


def test_a_docstring_of_a_public_name_is_a_small_page():
    items = [getattr(package, name) for package in PACKAGES for name in package.__all__]
    lengths = [len((inspect.getdoc(item) or "").splitlines()) for item in items]
    assert min(lengths) >= 4
    assert median(lengths) >= 12


def test_every_component_has_a_first_line():
    for page in (DOCS / "api").glob("extend_*.md"):
        assert "|  |" not in page.read_text(), page.name
