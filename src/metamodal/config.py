"""Options as frozen, typed values: parsed once, unknown names refused with a suggestion."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import pydantic
import yaml

from metamodal.errors import OptionError, suggestion

__all__ = ["Options", "component", "component_record", "override", "parse", "typed"]


class Options(pydantic.BaseModel):
    """A node of the option tree: immutable, and strict about names and types."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)


T = TypeVar("T", bound=Options)


def parse(kind: type[T], record: Mapping[str, Any]) -> T:
    """A record of plain values as options.

    Raises:
        OptionError: the first name or value that does not fit, and what would.
    """
    try:
        return kind.model_validate(record)
    except pydantic.ValidationError as error:
        raise OptionError(_explained(kind, error.errors()[0])) from None


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


def override(record: Mapping[str, Any], assignments: list[str]) -> dict[str, Any]:
    """A record with `path.to.key=value` assignments applied; values are YAML.

    >>> override({"train": {"lr": 0.1}}, ["train.lr=0.01", "seed=3"])
    {'train': {'lr': 0.01}, 'seed': 3}
    """
    result = _copied(record)
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator or not path:
            raise OptionError(f"{assignment!r}: no assignment. Write key=value, e.g. train.lr=0.001.")
        *parents, last = path.split(".")
        node = result
        for name in parents:
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                raise OptionError(f"{path}: {name} has no options of its own. Write {name}=….")
        try:
            node[last] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise OptionError(f"{path}: {text!r} is no YAML value. Quote it.") from None
        if isinstance(node[last], str):
            node[last] = _number(node[last])
    return result


def component(registry: Any, spec: str | Mapping[str, Any], path: str) -> Any:
    """The registered frozen dataclass that `spec` asks for: a name, or a record with `kind`.

    A name may be that of a setting, whose values the record overrides.

    A field whose value is a record with a `kind` of its own is built alike.
    """
    record = {"kind": spec} if isinstance(spec, str) else dict(spec)
    if "kind" not in record:
        raise OptionError(f"{path}: kind is missing. {suggestion('', registry)}")
    if record["kind"] in registry.named:
        record = registry.named[record.pop("kind")] | record
    kind = registry[record.pop("kind")]
    fields = {f.name: f for f in dataclasses.fields(kind)}
    values = {}
    for name, value in record.items():
        if name not in fields:
            raise OptionError(f"{path}.{name}: no such option. {suggestion(name, fields)}")
        nested = isinstance(value, Mapping) and "kind" in value
        if nested or (isinstance(value, str) and dataclasses.is_dataclass(_default(fields[name]))):
            values[name] = component(registry, value, f"{path}.{name}")
        else:
            values[name] = _checked(kind, name, value, f"{path}.{name}")
    return kind(**values)


def component_record(registry: Any, item: Any) -> dict[str, Any]:
    """The inverse of `component`: a record with `kind`."""
    name = next(n for n in registry if registry[n] is type(item))
    values = {f.name: getattr(item, f.name) for f in dataclasses.fields(item)}
    return {"kind": name} | {
        k: component_record(registry, v) if dataclasses.is_dataclass(v) else v for k, v in values.items()
    }


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if callable(field.default_factory) else field.default


def _checked(kind: type, name: str, value: Any, path: str) -> Any:
    import typing

    hint = typing.get_type_hints(kind)[name]
    try:
        return pydantic.TypeAdapter(hint).validate_python(value, strict=hint is not float)
    except pydantic.ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise OptionError(f"{path}={value!r}: {reason[0].lower()}{reason[1:]}.") from None


def _explained(kind: type[Options], error: Any) -> str:
    path = ".".join(str(p) for p in error["loc"])
    if error["type"] == "extra_forbidden":
        node: Any = kind
        for name in error["loc"][:-1]:
            node = node.model_fields[name].annotation
        known = getattr(node, "model_fields", {})
        return f"{path}: no such option. {suggestion(str(error['loc'][-1]), known)}"
    reason = error["msg"]
    return f"{path}={error['input']!r}: {reason[0].lower()}{reason[1:]}."


def _number(text: str) -> Any:
    """YAML 1.1 reads 1e-3 as text; a user means the number."""
    try:
        return float(text)
    except ValueError:
        return text


def _copied(value: Any) -> Any:
    return {k: _copied(v) for k, v in value.items()} if isinstance(value, Mapping) else value
