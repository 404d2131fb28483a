"""Options as frozen, typed values: parsed once, and every name or value that does not fit reported with its path."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, ClassVar, NamedTuple, TypeVar

import pydantic
import yaml
from pydantic_core import ErrorDetails, PydanticCustomError

from metamodal.errors import OptionError, suggestion

__all__ = ["Misfit", "Options", "checked", "misfits", "opened", "override", "parse", "refused", "typed"]

_MISFITS = "misfits"


class Options(pydantic.BaseModel):
    """A node of the option tree: immutable, and strict about names and types.

    `renamed` maps old names to new ones, by their path from this node; an old name is an error that gives the new.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)
    renamed: ClassVar[Mapping[str, str]] = {}


class Misfit(NamedTuple):
    """An option that does not fit: its path, and what is wrong; `shown` is the value as text, where it matters."""

    path: tuple[str, ...]
    reason: str
    shown: str | None = None

    def under(self, *path: str) -> Misfit:
        """The same, further from the root."""
        return self._replace(path=(*path, *self.path))

    def __str__(self) -> str:
        path = ".".join(self.path)
        return f"{path}={self.shown}: {self.reason}" if self.shown is not None else f"{path}: {self.reason}"


T = TypeVar("T", bound=Options)


def parse(kind: type[T], record: Mapping[str, Any]) -> T:
    """A record of plain values as options.

    Raises:
        OptionError: every name and value that does not fit, and what would.
    """
    try:
        return kind.model_validate(record)
    except pydantic.ValidationError as error:
        raise OptionError(" ".join(map(str, misfits(kind, error)))) from None


def checked(kind: type[T], record: Mapping[str, Any]) -> T:
    """The same for a part of a tree, within the validation of the whole."""
    try:
        return kind.model_validate(record)
    except pydantic.ValidationError as error:
        raise refused(misfits(kind, error)) from None


def refused(found: Sequence[Misfit]) -> PydanticCustomError:
    """What a validator raises, so that the path from the root is added to each misfit."""
    return PydanticCustomError(_MISFITS, "misfits", {_MISFITS: list(found)})


def misfits(kind: type[Options], error: pydantic.ValidationError) -> list[Misfit]:
    """What does not fit, in the order of the options, each path once."""
    found: dict[tuple[str, ...], Misfit] = {}
    for details in error.errors():
        for misfit in _misfits_of(kind, details):
            found.setdefault(misfit.path, misfit)
    return list(found.values())


def _misfits_of(kind: type[Options], error: ErrorDetails) -> Iterator[Misfit]:
    nodes, path = _followed(kind, error["loc"])
    if error["type"] == _MISFITS:
        yield from (misfit.under(*path) for misfit in error["ctx"][_MISFITS])
    elif error["type"] == "extra_forbidden":
        yield Misfit(path, _unknown(nodes, path))
    else:
        reason = error["msg"]
        shown = None if error["type"] == "missing" else repr(error["input"])
        yield Misfit(path, f"{reason[0].lower()}{reason[1:]}.", shown)


def _followed(kind: type[Options], loc: tuple[int | str, ...]) -> tuple[list[type[Options]], tuple[str, ...]]:
    """The option classes along a path, and the path without pydantic's names for the members of a union."""
    nodes: list[type[Options]] = [kind]
    path: list[str] = []
    for name in loc:
        field = nodes[-1].model_fields.get(str(name)) if len(nodes) == len(path) + 1 else None
        if len(nodes) == len(path) + 1:
            path.append(str(name))
            if field is None:
                continue
            if isinstance(field.annotation, type) and issubclass(field.annotation, Options):
                nodes.append(field.annotation)
        elif isinstance(name, int) or (len(path) == len(nodes) and not _is_type_name(str(name))):
            path.append(str(name))
    return nodes, tuple(path)


def _is_type_name(name: str) -> bool:
    """Whether pydantic put this into a path to tell the members of a union apart."""
    return name.partition("[")[0] in ("str", "int", "float", "bool", "list", "dict", "none", "function-plain")


def _unknown(nodes: Sequence[type[Options]], path: Sequence[str]) -> str:
    for depth, node in enumerate(nodes):
        if new := node.renamed.get(".".join(path[depth:])):
            return f"renamed. Set {'.'.join([*path[:depth], new])}."
    here = nodes[-1].model_fields
    deeper = {name.rpartition(".")[2]: name for name in _leaves(nodes[-1])}
    near = get_close_matches(path[-1], [*here, *deeper], n=1)
    if near and near[0] not in here:
        return f"no such option. Did you mean {'.'.join([*path[:-1], deeper[near[0]]])!r}?"
    return f"no such option. {suggestion(path[-1], here) if here else 'There are none.'}"


def _leaves(kind: type[Options], prefix: str = "") -> Iterator[str]:
    """The paths of all options below a node."""
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Options):
            yield from _leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


D = TypeVar("D")


def typed(kind: type[D], record: Mapping[str, Any]) -> D:
    """A frozen dataclass from its fields as JSON values, lists for tuples.

    Raises:
        ValueError: a field that does not exist, is missing, or is of another type.
    """
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in record:
        if name not in known:
            raise ValueError(f"{kind.__name__}.{name}: no such field")
    try:
        return _adapter(kind).validate_json(json.dumps(record), strict=True)  # type: ignore[arg-type]
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        path = ".".join(map(str, (kind.__name__, *first["loc"])))
        raise ValueError(f"{path}: {first['msg']}") from None


@cache
def _adapter(kind: Any) -> Any:
    return pydantic.TypeAdapter(kind)


def override(record: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """A record with `path.to.key=value` assignments applied; values are YAML.

    A name that is given options becomes a record with that `kind`, a number one with that `weight`.

    >>> override({"train": {"budget": 9}}, ["train.budget=60", "seed=3"])
    {'train': {'budget': 60}, 'seed': 3}
    >>> override({}, ["learner=maml", "learner.inner_lr=0.1"])
    {'learner': {'kind': 'maml', 'inner_lr': 0.1}}
    """
    result = _copied(record)
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator or not path:
            raise OptionError(f"{assignment!r}: no assignment. Write key=value, e.g. train.budget=60.")
        *parents, last = path.split(".")
        node = result
        for name in parents:
            node[name] = opened(node.get(name))
            node = node[name]
            if not isinstance(node, dict):
                raise OptionError(f"{path}: {name} has no options of its own. Write {name}=….")
        try:
            node[last] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise OptionError(f"{path}: {text!r} is no YAML value. Quote it.") from None
        if isinstance(node[last], str):
            node[last] = _number(node[last])
    return result


def opened(value: Any) -> Any:
    """A value as the record that it is short for: a component's name, the weight of a loss, or nothing."""
    if value is None:
        return {}
    if isinstance(value, str):
        return {"kind": value}
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"weight": value}
    return value


def _number(text: str) -> Any:
    """YAML 1.1 reads 1e-3 as text; a user means the number."""
    try:
        return float(text)
    except ValueError:
        return text


def _copied(value: Any) -> Any:
    return {k: _copied(v) for k, v in value.items()} if isinstance(value, Mapping) else value
