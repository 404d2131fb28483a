"""Records within records: merged, and with names that lead into them, as scikit-learn joins names: `train__budget`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["flat", "merged", "nested"]


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Names with double underscores as nested records; a record that nothing is added to stays the same object.

    >>> nested({"seed": 1, "train__budget": 60})
    {'seed': 1, 'train': {'budget': 60}}
    """
    result: dict[str, Any] = {}
    for name, value in options.items():
        *parents, last = name.split("__")
        node = result
        for parent in parents:
            node[parent] = dict(node.get(parent, {}))
            node = node[parent]
        both = isinstance(value, Mapping) and isinstance(node.get(last), Mapping)
        node[last] = {**node[last], **value} if both else value
    return result


def flat(tree: Mapping[str, Any], whole: tuple[str, ...] = (), prefix: str = "") -> dict[str, Any]:
    """The inverse of `nested`.

    Args:
        whole: names of records that stay together.

    >>> flat({"seed": 1, "train": {"budget": 60}})
    {'seed': 1, 'train__budget': 60}
    """
    result: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value and not prefix.startswith(whole):
            result |= flat(value, whole, f"{prefix}{name}__")
        else:
            result[f"{prefix}{name}"] = value
    return result


def merged(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the values of another over it, record by record.

    >>> merged({"seed": 1, "train": {"budget": 60, "way": 5}}, {"train": {"way": 2}})
    {'seed': 1, 'train': {'budget': 60, 'way': 2}}
    """
    result = dict(tree)
    for name, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(result.get(name), Mapping)
        result[name] = merged(result[name], value) if both else value
    return result
