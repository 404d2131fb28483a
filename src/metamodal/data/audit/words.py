"""Words for an empty cell, such as NA, in columns of categories and texts, where they are read as words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from metamodal.data.audit.findings import Finding, some
from metamodal.data.dataset import Dataset
from metamodal.data.modalities.capabilities import capabilities_of
from metamodal.data.schema.conventions import MISSING_WORDS
from metamodal.data.schema.string_kinds import na_remedy

__all__ = ["word_findings"]


def word_findings(dataset: Dataset, known: Collection[str]) -> Iterator[Finding]:
    """Columns of words some of which programs write into an empty cell.

    Args:
        known: columns whose odd words are reported one by one.
    """
    for column in dataset.schema.columns:
        if column.role != "modality" or not capabilities_of(column.kind).strings or column.name in known:
            continue
        words = Counter(cell.strip() for cell in dataset.frame[column.name] if isinstance(cell, str))
        found = {w: n for w, n in words.most_common() if w.lower() in MISSING_WORDS}
        if found:
            counts = some(f"{word!r} {n:,}×" for word, n in found.items())
            text = (
                f"{column.name}: {sum(found.values()):,} of {words.total():,} words may stand for an empty cell "
                f"({counts}) and are read as words. {na_remedy(list(found))}"
            )
            facts = {"words": found, "cells": words.total()}
            yield Finding("missing_words", column.name, text, (), facts)
