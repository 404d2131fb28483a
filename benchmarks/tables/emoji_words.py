"""The table of emoji with their words less those that give the subgroup away.

A column `words` holds name and keywords without any word of the subgroup's name, in singular or
plural. Drawings of one emoji share them, so keep `codepoints` together:

    python benchmarks/tables/emoji_words.py emoji.parquet --out emoji_words.parquet
    metamodal train emoji_words.parquet --target subgroup --group codepoints --split-by class --use image,words …
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

__all__ = ["main", "silent_words"]

_WORD = re.compile(r"[^\W\d_]+")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table and say where."""
    parser = argparse.ArgumentParser(description="Emoji whose words do not name their subgroup.")
    parser.add_argument("table", type=Path, help="a Parquet file with columns name, keywords and subgroup")
    parser.add_argument("--out", type=Path, required=True, help="the Parquet file to write")
    options = parser.parse_args(argv)
    table = pd.read_parquet(options.table)
    rows = zip(table["name"], table["keywords"], table["subgroup"])
    table["words"] = [
        silent_words(f"{name}; {keywords or ''}", subgroup) for name, keywords, subgroup in rows
    ]
    table.to_parquet(options.out)
    empty = int(table["words"].isna().sum())
    print(f"{options.out}: {len(table)} rows, {empty} of them without a word that is left", file=sys.stderr)
    return 0


def silent_words(text: str, label: str) -> str | None:
    """The words of a text that are not in the label, in singular or plural; `None` where none is left."""
    told = {_singular(word) for word in _WORD.findall(label.lower())}
    parts = []
    for part in text.split(";"):
        left = [word for word in _WORD.findall(part) if _singular(word.lower()) not in told]
        parts.append(" ".join(left))
    return "; ".join(filter(None, parts)) or None


def _singular(word: str) -> str:
    for ending, instead in (("ies", "y"), ("ves", "f"), ("ses", "s"), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word[: -len(ending)] + instead
    return word


if __name__ == "__main__":
    raise SystemExit(main())
