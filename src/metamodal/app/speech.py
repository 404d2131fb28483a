"""How commands speak: to people on stderr, to programs on stdout."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from metamodal.data.table import standard_output
from metamodal.storage import explained

__all__ = ["print_json", "speaker"]


def speaker(options: argparse.Namespace) -> Callable[[str], None]:
    """Prints for people: to stderr, unless quiet."""

    def say(text: str) -> None:
        if not options.quiet:
            print(text, file=sys.stderr, flush=True)

    return say


def print_json(document: Any) -> None:
    """One document on stdout."""
    text = json.dumps(document, ensure_ascii=False, default=float)
    with explained("standard output"):
        print(text, file=standard_output(), flush=True)
