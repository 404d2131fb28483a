"""Every code block in README and docs runs, and every option is documented.

Commands run as a user runs them, in a process of their own, where no call is checked for shapes.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from metamodal.experiment import Experiment
from metamodal.options import parse

METAMODAL = [sys.executable, "-c", "import sys; from metamodal.app.cli import main; sys.exit(main())"]
ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text())


def run_line(line: str) -> None:
    """One line of a console block: our program, or make as a dry run."""
    words = shlex.split(line, comments=True)
    if not words:
        return
    if words[0] == "metamodal":
        command, folder = [*METAMODAL, *words[1:], "--quiet"], None
    elif words[0] == "make":
        command, folder = [words[0], "-n", *words[1:]], ROOT
    else:
        pytest.fail(f"{line}: neither metamodal nor make")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_of_a_page_runs_in_order(page: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, str(page), "exec"), names)
        elif language == "console":
            for line in text.splitlines():
                run_line(line)
        elif language == "yaml":
            parse(Experiment, yaml.safe_load(text))
        elif "=" not in text and ">" not in text:  # neither a diagram nor a listing
            for line in text.splitlines():
                run_line(line)


def test_every_link_between_pages_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def option_lines(kind, prefix: str = "") -> list[str]:
    lines = []
    for name, field in kind.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            lines += option_lines(field.annotation, f"{prefix}{name}.")
        else:
            said = f" {field.description}" if field.description else ""
            lines.append(f"| `{prefix}{name}` | `{field.default}` |{said} |")
    return lines


def test_every_option_stands_in_the_docs_with_its_default():
    page = (ROOT / "docs" / "options.md").read_text()
    missing = [line for line in option_lines(Experiment) if line not in page]
    assert not missing, "\n".join(missing)
