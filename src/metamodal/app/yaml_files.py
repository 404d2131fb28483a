"""YAML files that hold options: plain values, and a key that stands twice is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from metamodal.errors import DataError, OptionError

__all__ = ["read_yaml"]


def read_yaml(path: Path) -> dict[str, Any]:
    """The record in a file.

    Raises:
        DataError: there is no such file.
        OptionError: it is no YAML, or no record.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file. Give a YAML file.")
    try:
        record = yaml.load(path.read_text("utf-8-sig"), _OnceLoader)
    except UnicodeDecodeError as error:
        raise OptionError(f"{path}: byte {error.start} is not UTF-8. Save the file as UTF-8.") from None
    except yaml.YAMLError as error:
        raise OptionError(f"{path}: no YAML ({str(error).splitlines()[0]}). Fix the file.") from None
    if not isinstance(record, dict):
        raise OptionError(f"{path}: holds no options. Write name: value lines.")
    return record


class _OnceLoader(yaml.SafeLoader):
    """YAML's plain values; a key that stands twice is an error, not the last of its values."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            name = (key.tag, str(key.value))
            if name in seen and name[1] != "<<":
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"line {line} has the key {name[1]!r} again")
            seen.add(name)
        return super().construct_mapping(node, deep)
