"""The pages of `docs/api`, made from the docstrings of public names: `python docs/api_pages.py` writes them."""

from __future__ import annotations

import ast
import inspect
import re
from itertools import pairwise
from pathlib import Path
from types import GenericAlias
from typing import Any

import metamodal
from metamodal import extend
from metamodal.registry import Registry

FOLDER = Path(__file__).parent / "api"
SOURCE = Path(metamodal.__file__).parent

PAGES = {
    "classifier": ("Estimators", metamodal, "Classifier Regressor"),
    "meta_learner": ("Meta-learning", metamodal, "MetaLearner load"),
    "predictor": ("Predictors", metamodal, "Predictor"),
    "tables": ("Tables", metamodal, "read_table Dataset Plan audit"),
    "evaluation": ("Measuring", metamodal, "evaluate Protocol Evaluation write_report"),
    "errors": (
        "Errors",
        metamodal,
        "MetamodalError OptionError DataError InputError ArtifactError OutputError MetamodalWarning",
    ),
    "extend_rows": ("Rows", extend, "Space Batch Episode Params"),
    "extend_targets": ("Kinds of target", extend, "Output CLASSIFICATION MULTILABEL REGRESSION"),
    "extend_learners": (
        "Learners and what they receive",
        extend,
        "learners Learner SelfTesting Setting Embed Backbone own seen Trait declared",
    ),
    "extend_kinds": (
        "Kinds of modality",
        extend,
        "modalities Modality Fitted Invertible Capabilities CellError Extractor Tunable pictures",
    ),
    "extend_mappings": (
        "Encoders, fusions, decoders and maps between vectors",
        extend,
        "encoders fusions decoders maps Map Presence Linear LayerNorm GroupNorm Conv1d Conv2d",
    ),
    "extend_losses": (
        "Training losses",
        extend,
        "objectives Objective Step Context EpisodeSampler weighings Weighing surgeries modality_balances "
        "ModalityBalance",
    ),
    "extend_baselines": ("Methods to compare with", extend, "baselines Baseline FitRows retrieval_baselines"),
    "extend_registries": (
        "Registries and options",
        extend,
        "Registry OneOf EachOf OptionError DataError",
    ),
}
"""File name: title, package, and names in the order of the page. A title is no name: both would be one anchor."""

SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Children):$")
ENTRY = re.compile(r"^    (\S.*?): (.*)$")


def pages() -> dict[str, str]:
    """The text of every page by file name."""
    noted = _noted()
    made = {f"{stem}.md": _page(*PAGES[stem], noted) for stem in PAGES}
    return {"index.md": _index(noted)} | made


def documented() -> dict[str, set[str]]:
    """The names that have a section, by package."""
    return {
        package.__name__: {name for _, p, names in PAGES.values() if p is package for name in names.split()}
        for package in (metamodal, extend)
    }


def _index(noted: dict[str, str]) -> str:
    lines = [
        "# API",
        "",
        "Made from the docstrings by `docs/api_pages.py`. What users import is in `metamodal`, what authors of",
        "components import is in `metamodal.extend`. In the pages `mm` is `import metamodal as mm`, and `mx` is",
        "`from metamodal import extend as mx`.",
    ]
    for package, title in ((metamodal, "metamodal"), (extend, "metamodal.extend")):
        lines += ["", f"## {title}", ""]
        for stem, (_, home, names) in PAGES.items():
            if home is package:
                lines += [
                    f"* [`{name}`]({stem}.md#{name.lower()}): {_first(package, name, noted)}"
                    for name in names.split()
                ]
    return "\n".join(lines) + "\n"


def _page(title: str, package: Any, names: str, noted: dict[str, str]) -> str:
    parts = [f"# {title}\n\n[All names](index.md)\n"]
    for name in names.split():
        item = getattr(package, name)
        parts.append(
            f"## {name}\n\n{_signature(package, name, item)}{_prose(_docstring(package, name, noted))}\n"
        )
        if isinstance(item, Registry):
            parts.append(_components(name, item, noted))
        elif inspect.isclass(item) and item.__module__.startswith("metamodal"):
            parts.append(_members(item))
    return "\n".join(part for part in parts if part)


def _docstring(package: Any, name: str, noted: dict[str, str]) -> str:
    item = getattr(package, name)
    if inspect.isclass(item) or inspect.isroutine(item):
        return inspect.cleandoc(item.__doc__ or "")
    own = noted[name]
    if isinstance(item, (Registry, GenericAlias)):
        return own
    return f"{own}\n\n{inspect.cleandoc(type(item).__doc__ or '')}"


def _noted() -> dict[str, str]:
    """The strings below the assignments and registrations of modules: the docstrings of values."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        body = ast.parse(path.read_text()).body
        for node, after in pairwise(body):
            name, text = _assigned(node), after.value if isinstance(after, ast.Expr) else None
            if name and isinstance(text, ast.Constant) and isinstance(text.value, str):
                found[name] = inspect.cleandoc(text.value)
    return found


def _assigned(node: ast.stmt) -> str:
    """The name that a statement gives a value; `registry.name` of a registration without a decorator."""
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Call)
    ):
        register, (name, *_) = node.value.func.func, node.value.func.args
        if isinstance(register, ast.Attribute) and isinstance(register.value, ast.Name):
            return f"{register.value.id}.{name.value}" if isinstance(name, ast.Constant) else ""
    return ""


def _first(package: Any, name: str, noted: dict[str, str]) -> str:
    return _line(_docstring(package, name, noted))


def _line(text: str) -> str:
    """The first paragraph in one line."""
    return text.split("\n\n")[0].replace("\n", " ")


def _signature(package: Any, name: str, item: Any) -> str:
    """How it is imported and called; nothing for a value."""
    short = "mm" if package is metamodal else "mx"
    protocol = getattr(item, "_is_protocol", False)
    if protocol or not (inspect.isclass(item) or inspect.isroutine(item)) or _is_layer(item):
        return f"`{short}.{name}`\n\n"
    return f"```text\n{short}.{name}{_call(item)}\n```\n\n"


def _is_layer(item: Any) -> bool:
    """Whether the parameters are those of a layer of torch."""
    return inspect.isclass(item) and item.__bases__[0].__module__.startswith("torch.nn.modules")


def _call(item: Any) -> str:
    try:
        signature = inspect.signature(item)
    except (TypeError, ValueError):
        return ""
    shown = []
    starred = False
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            shown, starred = [*shown, "*"], True
        starred = starred or parameter.kind is parameter.VAR_POSITIONAL
        mark = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = "" if parameter.default is parameter.empty else f"={_default(parameter.default)}"
        shown.append(f"{mark}{parameter.name}{default}")
    return f"({', '.join(shown)})"


def _default(value: Any) -> str:
    plain = isinstance(value, (str, int, float, bool, tuple, dict, type(None)))
    return repr(value) if plain else "…"


def _prose(text: str) -> str:
    """A docstring as Markdown: examples as code, arguments as lists."""
    lines: list[str] = []
    code, section = False, False
    for line in text.split("\n"):
        if line.startswith(">>> ") and not code:
            lines, code = [*lines, "```pycon"], True
        elif code and not line.strip():
            lines, code = [*lines, "```"], False
        if not code and SECTION.match(line):
            lines, section = [*lines, f"**{line}**", ""], True
            continue
        if section and not code:
            entry = ENTRY.match(line)
            if entry:
                names = ", ".join(f"`{name}`" for name in entry[1].split(", "))
                line = f"* {names}: {entry[2]}"
            elif line.strip():
                line = "  " + line.strip()
            else:
                section = False
        lines.append(line)
    return "\n".join([*lines, "```"] if code else lines)


def _components(name: str, registry: Registry[Any], noted: dict[str, str]) -> str:
    """The components of a room that come with the library."""
    lines = ["| name | what it is |", "|---|---|"]
    for each in registry:
        item = registry[each]
        text = noted.get(each) if isinstance(item, extend.Baseline) else noted.get(f"{name}.{each}")
        item = item.fit if isinstance(item, extend.Baseline) else item
        if item.__module__.startswith("metamodal."):
            text = text or inspect.getdoc(item) or ""
            lines.append(f"| `{each}` | {_line(text).replace('|', chr(92) + '|')} |")
    for each, record in sorted(registry.named.items()):
        lines.append(f"| `{each}` | `{{{', '.join(f'{k}: {v}' for k, v in record.items())}}}` |")
    return "\n".join(lines) + "\n"


def _members(item: type) -> str:
    """The public methods and properties that a class defines, with their docstrings."""
    lines = []
    for name, member in vars(item).items():
        plain = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        if name.startswith("_") or not (
            inspect.isfunction(plain) or isinstance(plain, property) or hasattr(plain, "func")
        ):
            continue
        function = plain.fget if isinstance(plain, property) else getattr(plain, "func", plain)
        doc = inspect.cleandoc(function.__doc__ or "")
        if not doc:
            continue
        call = _call(plain).replace("(cls, ", "(").replace("(cls)", "()") if inspect.isfunction(plain) else ""
        lines += [f"### {item.__name__}.{name}", "", f"`{name}{call}`", "", _prose(doc), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.md"):
        old.unlink()
    for file, text in pages().items():
        (FOLDER / file).write_text(text)
