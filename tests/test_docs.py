"""Every code block in README and docs runs, and every option is documented.

Commands run as a user runs them, in a process of their own, where no call is checked for shapes.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import is_dataclass
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml

from metamodal import extend
from metamodal.components import Auto, EachOf, OneOf, in_words, kind_of, options_of
from metamodal.experiment import Experiment
from metamodal.mappings.encoders import encoders
from metamodal.mappings.fusion import fusions
from metamodal.mappings.maps import maps
from metamodal.meta.learners import learners
from metamodal.options import Options, parse
from metamodal.registry import Registry
from metamodal.training.losses.modality_balance import modality_balances
from metamodal.training.losses.surgery import surgeries
from metamodal.training.losses.weighing import weighings

METAMODAL = [sys.executable, "-c", "import sys; from metamodal.app.cli import main; sys.exit(main())"]
ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
WRITTEN = [page for page in PAGES if page.parent.name != "api"]  # those of docs/api are made of docstrings
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text())


def run_line(line: str) -> None:
    """One line of a console block: our program, make as a dry run, or an installation, whose extras must exist."""
    words = shlex.split(line, comments=True)
    if not words:
        return
    if words[:2] == ["pip", "install"]:
        extras = {extra for word in words[2:] for extra in re.findall(r"\[(.*)\]", word)}
        assert extras <= set(metadata("metamodal").get_all("Provides-Extra")), line
        return
    if words[0] == "metamodal":
        command, folder = [*METAMODAL, *words[1:], "--quiet"], None
    elif words[0] == "make":
        command, folder = [words[0], "-n", *words[1:]], ROOT
    else:
        pytest.fail(f"{line}: neither metamodal, make nor pip")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.parametrize("page", [p for p in WRITTEN if blocks(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_of_a_page_runs_in_order(page: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for registry in (item for item in vars(extend).values() if isinstance(item, Registry)):
        monkeypatch.setattr(registry, "_items", dict(registry._items))  # a page's components stay its own
    names: dict[str, object] = {}
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, str(page), "exec", dont_inherit=True), names)
        elif language == "console":
            for line in text.splitlines():
                run_line(line)
        elif language == "yaml":
            parse(Experiment, yaml.safe_load(text))
        elif "=" not in text and ">" not in text:  # neither a diagram nor a listing
            for line in text.splitlines():
                run_line(line)


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_between_pages_leads_somewhere():
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", BLOCK.sub("", page.read_text())):
            found = page.parent / target if target else page
            assert found.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(found), f"{page.name}: {target}#{anchor}"


def test_every_page_is_in_the_index():
    folder = ROOT / "docs"
    linked = {(folder / t).resolve() for t in re.findall(r"\]\(([^)#:]+)", (folder / "index.md").read_text())}
    pages = {*folder.glob("*.md"), folder / "api" / "index.md", folder / "decisions"} - {folder / "index.md"}
    assert not {page.resolve() for page in pages} - linked


def option_lines(kind: type[Options], prefix: str = "") -> list[str]:
    """The table of options as `docs/options.md` has it; a component's own options stand in the second table."""
    lines = []
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Options):
            lines += option_lines(field.annotation, f"{prefix}{name}.")
            continue
        annotation = next((m for m in field.metadata if isinstance(m, (OneOf, EachOf))), None)
        if isinstance(annotation, EachOf):
            for item in annotation.registry:
                options = options_of(annotation.of(annotation.registry[item]))
                lines += option_lines(options, f"{prefix}{name}.{item}.")
        elif isinstance(annotation, OneOf):
            value = annotation.parsed(field.get_default())
            default = "auto" if isinstance(value, Auto) else kind_of(annotation.registry, value)
            lines.append(f"| `{prefix}{name}` | `{default}` | {field.description} |")
        else:
            described = f" {field.description}" if field.description else ""
            lines.append(f"| `{prefix}{name}` | `{field.default}` |{described} |")
    return lines


def component_lines() -> list[str]:
    """The table of components and their options."""
    lines = []
    for registry in (learners, fusions, encoders, maps, weighings, surgeries, modality_balances):
        for name in registry:
            fields = options_of(registry[name]).model_fields
            shown = [f"`{option}={_short(registry, field.default)}`" for option, field in fields.items()]
            lines.append(f"| {registry.room.replace('_', ' ')} | `{name}` | {', '.join(shown)} |")
    return lines


def _short(registry: Registry, value: object) -> object:
    return in_words(registry, value) if is_dataclass(value) else value


def test_every_option_stands_in_the_docs_with_its_default():
    page = (ROOT / "docs" / "options.md").read_text()
    missing = [line for line in [*option_lines(Experiment), *component_lines()] if line not in page]
    assert not missing, "\n".join(missing)
