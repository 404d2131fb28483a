"""Components as options: one of a room's, by its name or as a record with `kind` and the component's own options.

A component is a frozen dataclass, whose fields are its options, or a builder (most often a module's
class), whose keyword-only parameters are. Both come from a `Registry`, those of other packages too, so
that the tree of options knows every component that is installed.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pydantic
from pydantic_core import core_schema

from metamodal.errors import OptionError, suggestion
from metamodal.options import Misfit, Options, misfits, opened, refused
from metamodal.registry import Registry

__all__ = [
    "Auto",
    "Built",
    "EachOf",
    "OneOf",
    "component",
    "component_record",
    "in_words",
    "is_default",
    "kind_of",
    "names_of",
    "options_of",
    "options_of_value",
]


@dataclass(frozen=True)
class Built:
    """A builder with its options: called with what the builder takes besides, it builds.

    >>> from metamodal.mappings.fusion import fusions
    >>> component(fusions, {"kind": "attention", "heads": 2}).options
    {'heads': 2}
    """

    builder: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, *args: Any) -> Any:
        return self.builder(*args, **self.options)


@dataclass(frozen=True)
class Auto:
    """A component that is chosen later, among those that have these options."""

    given: dict[str, Any] = field(default_factory=dict)

    def choices(self, registry: Registry[Any], names: Iterable[str]) -> list[str]:
        """Those of `names` that have the options; where none has, all components that have them."""
        able = [name for name in names if self.given.keys() <= _options_by_name(registry, name)]
        return able or [name for name in registry if self.given.keys() <= _options_by_name(registry, name)]

    def chosen(self, registry: Registry[Any], names: Iterable[str]) -> Any:
        """The first of the choices, with the options."""
        return component(registry, {"kind": self.choices(registry, names)[0]} | self.given)


class OneOf:
    """The annotation of an option that is one of a room's components, by name or as a record with `kind`.

    >>> from metamodal.mappings.fusion import fusions
    >>> OneOf(fusions, "attention").parsed({"heads": 2}).options
    {'heads': 2}

    Args:
        default: the kind of a record without one; where another kind alone has its options, that one.
        auto: whether `auto` is a value too, which leaves the choice to training, and the default.
    """

    def __init__(self, registry: Registry[Any], default: str = "", *, auto: bool = False) -> None:
        self.registry, self.default, self.auto = registry, default, auto

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.parsed, serialization=core_schema.plain_serializer_function_ser_schema(self.record)
        )

    def parsed(self, given: Any) -> Any:
        """The component that was given, as a name, a record or itself."""
        if isinstance(given, Auto):
            given = {"kind": "auto"} | given.given
        record = opened(given) if isinstance(given, str) else given
        if self.auto and isinstance(record, Mapping) and record.get("kind", "auto") == "auto":
            return self._automatic({k: v for k, v in record.items() if k != "kind"})
        found = _parsed(self.registry, given, self.default, self.auto)
        if isinstance(found, list):
            raise refused(found)
        return found

    def _automatic(self, given: dict[str, Any]) -> Auto:
        found = Auto(given)
        if given and not found.choices(self.registry, ()):
            known = {o for name in self.registry for o in _options_by_name(self.registry, name)}
            raise refused(
                [
                    Misfit((name,), f"no {self.registry.room} has such an option. {suggestion(name, known)}")
                    for name in given
                    if name not in known
                ]
                or [Misfit((), f"no {self.registry.room} has all of {', '.join(given)}. Set kind.")]
            )
        problems = [
            _parsed(self.registry, {"kind": name} | given) for name in found.choices(self.registry, ())
        ]
        if given and all(isinstance(each, list) for each in problems):
            raise refused(problems[0])
        return found

    def record(self, value: Any) -> Any:
        """A component as JSON values."""
        if isinstance(value, Auto):
            return {"kind": "auto"} | value.given if value.given else "auto"
        return component_record(self.registry, value)


class EachOf:
    """The annotation of options by name: a record for every component of a room, all there with their defaults.

    A number is short for the record with that `weight`: `train.losses.align=0.5`.

    Args:
        of: what of a component has the options, by default the component itself.
    """

    def __init__(self, registry: Registry[Any], of: Callable[[Any], Any] = lambda item: item) -> None:
        self.registry, self.of = registry, of

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.parsed, serialization=core_schema.plain_serializer_function_ser_schema(self._record)
        )

    def parsed(self, given: Any) -> dict[str, Any]:
        """All components by name, those that are named with the options given."""
        if not isinstance(given, Mapping):
            raise refused([Misfit((), "input should be a record.", repr(given))])
        names = list(self.registry)
        wrong = [
            Misfit((str(name),), f"no such {self.registry.room}. {suggestion(str(name), names)}")
            for name in given
            if name not in names
        ]
        found = {}
        for name in names:
            item = self.of(self.registry[name])
            record = given.get(name, {})
            built = record if _is_of(record, item) else _built(item, opened(record))
            if isinstance(built, list):
                wrong += [misfit.under(name) for misfit in built]
            found[name] = built
        if wrong:
            raise refused(wrong)
        return found

    def _record(self, value: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _plain(options_of_value(item)) for name, item in value.items()}


def component(registry: Registry[Any], given: Any, path: str = "", default: str = "") -> Any:
    """The component that `given` asks for: a name, a record with `kind`, or the component itself.

    A name may be that of a setting (`anil`), whose values the record overrides.

    Raises:
        OptionError: every name and value that does not fit.
    """
    found = _parsed(registry, given, default)
    if isinstance(found, list):
        raise OptionError(" ".join(str(misfit.under(path) if path else misfit) for misfit in found))
    return found


def component_record(registry: Registry[Any], item: Any) -> dict[str, Any]:
    """The inverse of `component`: a record with `kind` and every option."""
    return {"kind": kind_of(registry, item)} | _plain(options_of_value(item), registry)


def kind_of(registry: Registry[Any], item: Any) -> str:
    """The name of a component in its room."""
    made = item.builder if isinstance(item, Built) else type(item)
    return next(name for name in registry if registry[name] is made)


def is_default(registry: Registry[Any], item: Any) -> bool:
    """Whether a component has the options of its kind as they are by default."""
    return not isinstance(item, Auto) and item == component(registry, kind_of(registry, item))


def in_words(registry: Registry[Any], item: Any) -> str:
    """A component's kind, and the options that are not the default: `maml(adapts=head)`."""
    if isinstance(item, Auto):
        return "auto"
    kind = kind_of(registry, item)
    default = options_of_value(component(registry, kind))
    changed = {name: value for name, value in options_of_value(item).items() if value != default[name]}
    shown = [
        f"{name}={in_words(registry, value) if dataclasses.is_dataclass(value) else value}"
        for name, value in changed.items()
    ]
    return f"{kind}({', '.join(shown)})" if shown else kind


def options_of_value(item: Any) -> dict[str, Any]:
    """The options of a component by name."""
    if isinstance(item, Built):
        return dict(item.options)
    return {f.name: getattr(item, f.name) for f in dataclasses.fields(item) if f.init}


def _plain(options: Mapping[str, Any], registry: Registry[Any] | None = None) -> dict[str, Any]:
    """Options as JSON values: a component among them as its record, a tuple as a list."""

    def of(value: Any) -> Any:
        if registry is not None and dataclasses.is_dataclass(value):
            return component_record(registry, value)
        return list(value) if isinstance(value, tuple) else value

    return {name: of(value) for name, value in options.items()}


def _parsed(registry: Registry[Any], given: Any, default: str = "", auto: bool = False) -> Any:
    """The component, or a list of what does not fit."""
    if any(_is_of(given, registry[name]) for name in registry):
        return given
    record = opened(given) if isinstance(given, str) else given
    if not isinstance(record, Mapping):
        return [Misfit((), "input should be a name, or a record with kind.", repr(given))]
    record = dict(record)
    kind = record.pop("kind", None) or _kind_for(registry, record, default)
    if isinstance(kind, list):
        return kind
    if not isinstance(kind, str):
        return [Misfit(("kind",), "input should be a name.", repr(kind))]
    if kind in registry.named:
        record = registry.named[kind] | record
        kind = record.pop("kind")
    if kind not in registry:
        names = [*registry, *registry.named, *(["auto"] if auto else [])]
        return [
            Misfit((), f"no such {registry.room.replace('_', ' ')}. {suggestion(kind, names)}", repr(kind))
        ]
    return _built(registry[kind], record)


def _kind_for(registry: Registry[Any], record: Mapping[str, Any], default: str) -> str | list[Misfit]:
    """The kind that options without one are of."""
    able = [name for name in registry if record.keys() <= _options_by_name(registry, name)]
    if default and (default in able or not able):
        return default
    if len(able) == 1:
        return able[0]
    names = ", ".join(able or registry)
    return [Misfit(("kind",), f"missing. Set it to one of {names}.")]


def _is_of(value: Any, item: Any) -> bool:
    return (isinstance(value, Built) and value.builder == item) or (
        isinstance(item, type) and dataclasses.is_dataclass(item) and isinstance(value, item)
    )


def _built(item: Any, record: Any) -> Any:
    """A component of these options, or a list of what does not fit."""
    if not isinstance(record, Mapping):
        return [Misfit((), "input should be a record of options.", repr(record))]
    kind = options_of(item)
    try:
        options = kind.model_validate(record)
    except pydantic.ValidationError as error:
        return misfits(kind, error)
    values = {name: getattr(options, name) for name in kind.model_fields}
    if not dataclasses.is_dataclass(item):
        return Built(item, values)
    try:
        return item(**values)  # type: ignore[operator]
    except (OptionError, ValueError) as error:
        return [Misfit((), str(error))]


@cache
def options_of(item: Any) -> type[Options]:
    """The options of a dataclass or a builder, as a class of options."""
    if dataclasses.is_dataclass(item):
        hints = typing.get_type_hints(item, include_extras=True)
        fields: dict[str, Any] = {
            f.name: (hints[f.name], _default(f)) for f in dataclasses.fields(item) if f.init
        }
    else:
        made = item.__init__ if inspect.isclass(item) else item
        hints = typing.get_type_hints(made, include_extras=True)
        fields = {
            p.name: (hints.get(p.name, Any), ... if p.default is p.empty else p.default)
            for p in inspect.signature(item).parameters.values()
            if p.kind is p.KEYWORD_ONLY
        }
    name = getattr(item, "__qualname__", type(item).__name__).replace(".", "_")
    return pydantic.create_model(name, __base__=_Lenient, **fields)


class _Lenient(Options):
    """Options of a component: a list will do for a tuple, as YAML and JSON have no other."""

    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _tuples(cls, record: Any) -> Any:
        if not isinstance(record, Mapping):
            return record
        return {
            name: tuple(value) if isinstance(value, list) and _is_tuple(cls, name) else value
            for name, value in record.items()
        }


def _is_tuple(kind: type[Options], name: str) -> bool:
    field = kind.model_fields.get(name)
    return field is not None and typing.get_origin(field.annotation) is tuple


def _default(field: dataclasses.Field[Any]) -> Any:
    if callable(field.default_factory):
        return field.default_factory()
    return ... if field.default is dataclasses.MISSING else field.default


def _options_by_name(registry: Registry[Any], name: str) -> set[str]:
    """The options that a component, or a setting of one by name, has."""
    kind = registry.named[name]["kind"] if name in registry.named else name
    return set(options_of(registry[kind]).model_fields)


def names_of(registry: Registry[Any]) -> Sequence[str]:
    """Every name that may be given: components and settings of them."""
    return [*registry, *registry.named]
