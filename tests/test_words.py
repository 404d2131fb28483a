"""The field's words: no public name, option, flag or message uses a private one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import metamodal
from metamodal import extend
from metamodal.app.cli import main
from metamodal.experiment import Experiment
from metamodal.option_schema import option_schema

SOURCE = Path(metamodal.__file__).parent
PRIVATE = {
    *(
        "guard",
        "guarded",
        "verdict",
        "caution",
        "contest",
        "entrant",
        "rival",
        "rivals",
        "crowd",
        "gauge",
        "bridge",
    ),
    *("bridges", "bridging", "refit", "remembered", "variants", "recombine", "forget", "crossed"),
    *(
        "peer",
        "peers",
        "population",
        "projections",
        "told",
        "forgotten",
        "describer",
        "descriptors",
        "pooled",
    ),
}
WORD = re.compile(rf"(?<![\w-])({'|'.join(sorted(PRIVATE))})(?![\w-])")


def docstrings(tree: ast.AST) -> set[int]:
    nodes = (n for n in ast.walk(tree) if isinstance(n, (ast.Module, ast.ClassDef, ast.FunctionDef)))
    first = (n.body[0] for n in nodes if n.body)
    return {id(s.value) for s in first if isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)}


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """The strings of a module that are sentences: two words or more, and no docstring."""
    tree = ast.parse(path.read_text())
    apart = docstrings(tree)
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in apart):
        if isinstance(node.value, str) and " " in node.value.strip():
            yield node.lineno, node.value


def option_names(node: dict[str, Any]) -> Iterator[str]:
    for name, child in node.get("properties", {}).items():
        yield name
        yield from option_names(child)


def test_no_message_uses_a_private_word():
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {text}"
        for path in sorted(SOURCE.rglob("*.py"))
        for line, text in messages(path)
        if WORD.search(text)
    ]
    assert not found, "\n".join(found)


def test_no_option_or_public_name_uses_a_private_word():
    schema = option_schema(Experiment)
    names = {*option_names(schema), *metamodal.__all__, *extend.__all__}
    names |= {name for part in schema["$defs"].values() for name in option_names(part)}
    names |= {
        kind for part in schema["$defs"].values() for kind in part.get("anyOf", [{}])[0].get("enum", [])
    }
    assert not names & PRIVATE


@pytest.mark.parametrize(
    "command", ["", "train", "evaluate", "adapt", "predict", "schema", "audit", "translate"]
)
def test_no_flag_or_help_uses_a_private_word(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main([*filter(None, [command]), "--help"])
    assert (text := capsys.readouterr().out) and not WORD.search(text)


def test_no_module_or_name_uses_a_private_word_for_baselines_or_class_information():
    word = re.compile(
        r"(?<![a-z])(rivals?|peers?|population|crowd|projections|describer|descriptors?)(?![a-z])"
    )
    found = [
        f"{path.relative_to(SOURCE)}: {name}"
        for path in sorted(SOURCE.rglob("*.py"))
        for name in (path.stem, *names_in(ast.parse(path.read_text())))
        if word.search(name.lower().replace("_", " "))
    ]
    assert not found, "\n".join(found)


def names_in(tree: ast.AST) -> Iterator[str]:
    """The names that a module gives to values, functions, parameters and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
