"""A table for the audit, and what is to be said of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Case", "Reported"]

Reported = tuple[str, str | None]
"""What is said, and of which column."""


@dataclass(frozen=True)
class Case:
    """A table with its roles, and what is to be said of it: nothing else, and all of this."""

    name: str
    table: Any
    roles: dict[str, Any] = field(default_factory=dict)
    expected: frozenset[Reported] = frozenset()
