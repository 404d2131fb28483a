"""The JSON schema of a tree of options, with every component that is installed: what an editor completes by."""

from __future__ import annotations

import inspect
from typing import Any

import pydantic
from pydantic.fields import FieldInfo

from metamodal.components import EachOf, OneOf, names_of, options_of
from metamodal.options import Options

__all__ = ["option_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def option_schema(kind: type[Options]) -> dict[str, Any]:
    """The schema of a tree; a room's components stand once under `$defs`.

    >>> from metamodal.training.options import OptimiserOptions
    >>> option_schema(OptimiserOptions)["properties"]["lr"]["exclusiveMinimum"]
    0
    """
    definitions: dict[str, Any] = {}
    tree = _node(kind, definitions)
    return {"$schema": _DIALECT, **tree, "$defs": dict(sorted(definitions.items()))}


def _node(kind: type[Options], definitions: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": _first_line(kind),
        "properties": {name: _field(field, definitions) for name, field in kind.model_fields.items()},
        "additionalProperties": False,
    }


def _field(field: FieldInfo, definitions: dict[str, Any]) -> dict[str, Any]:
    if isinstance(field.annotation, type) and issubclass(field.annotation, Options):
        return _node(field.annotation, definitions)
    described = {"description": field.description} if field.description else {}
    for annotation in field.metadata:
        if isinstance(annotation, OneOf):
            default = (
                None if field.is_required() else annotation.record(annotation.parsed(field.get_default()))
            )
            return _one_of(annotation, definitions) | described | {"default": default}
        if isinstance(annotation, EachOf):
            return _each_of(annotation, definitions) | described
    value: Any = (field.annotation, field)
    model = pydantic.create_model("_", value=value, __base__=Options)
    schema = model.model_json_schema()
    found: dict[str, Any] = schema["properties"]["value"]
    definitions |= schema.get("$defs", {})
    found.pop("title", None)
    return found


def _one_of(annotation: OneOf, definitions: dict[str, Any]) -> dict[str, Any]:
    room = annotation.registry.room
    if room not in definitions:
        definitions[room] = {}  # its components may have options of the same room
        records = [
            _record(room, name, annotation.registry[name], definitions) for name in annotation.registry
        ]
        definitions[room] = {"anyOf": [{"enum": list(names_of(annotation.registry))}, *records]}
    reference = {"$ref": f"#/$defs/{room}"}
    if not annotation.auto:
        return dict(reference)
    automatic = {"type": "object", "properties": {"kind": {"const": "auto"}}}
    return {"anyOf": [{"const": "auto"}, reference, automatic]}


def _record(room: str, name: str, item: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """A reference to a component's record, which has its kind and its options."""
    record = _node(options_of(item), definitions)
    record["properties"] = {"kind": {"const": name}} | record["properties"]
    definitions[f"{room}.{name}"] = record | {"required": ["kind"], "description": _first_line(item)}
    return {"$ref": f"#/$defs/{room}.{name}"}


def _each_of(annotation: EachOf, definitions: dict[str, Any]) -> dict[str, Any]:
    properties = {}
    for name in annotation.registry:
        item = annotation.registry[name]
        record = _node(options_of(annotation.of(item)), definitions) | {"description": _first_line(item)}
        weighted = "weight" in record["properties"]
        properties[name] = {"anyOf": [record["properties"]["weight"], record]} if weighted else record
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _first_line(item: Any) -> str:
    return (inspect.getdoc(item) or "").strip().split("\n")[0]
