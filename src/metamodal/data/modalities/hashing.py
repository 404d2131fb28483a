"""Counts of hashed character n-grams, of texts of any length in a bounded amount of memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import scipy.sparse

__all__ = ["hashed_counts"]

_SHORTEST, _LONGEST = 2, 5
_WINDOW = 1 << 16  # characters at a time: scikit-learn takes some 360 bytes for each
_WORD = re.compile(r"\S+")


def hashed_counts(texts: Sequence[str], buckets: int) -> Any:
    """The counts that scikit-learn's `HashingVectorizer` gives of n-grams within words, as a sparse `(n, b)`.

    Texts are hashed in groups, and a long one in windows that end between words: counts are sums. A
    word longer than a window is cut, and the n-grams that two parts share are subtracted once.
    """
    rows: list[Any] = []
    group: list[str] = []
    size = 0
    for text in texts:
        if len(text) > _WINDOW or size + len(text) > 16 * _WINDOW:
            if group:
                rows.append(_hashed(buckets, "char_wb").transform(group))
            group, size = [], 0
        if len(text) > _WINDOW:
            rows.append(_of_long(text, buckets))
        else:
            group.append(text)
            size += len(text)
    if group:
        rows.append(_hashed(buckets, "char_wb").transform(group))
    return rows[0] if len(rows) == 1 else scipy.sparse.vstack(rows, format="csr")


def _of_long(text: str, buckets: int) -> Any:
    total = np.zeros(buckets)
    text = text.lower()  # before it is cut: the form of a letter may depend on its neighbours
    for window, analyzer, sign in _windows(text):
        counts = _hashed(buckets, analyzer).transform([window])
        np.add.at(total, counts.indices, sign * counts.data.astype(np.float64))
    return scipy.sparse.csr_matrix(total[None].astype(np.float32))


def _windows(text: str) -> Iterator[tuple[str, str, int]]:
    """Pieces of a text, the analyzer of each, and whether its counts are added or subtracted."""
    start = end = 0
    for match in _WORD.finditer(text):
        if match.end() - match.start() > _WINDOW:
            if end > start:
                yield text[start:end], "char_wb", 1
            yield from _of_word(f" {match[0]} ")
            start = end = match.end()
            continue
        if match.end() - start > _WINDOW:
            yield text[start:end], "char_wb", 1
            start = match.start()
        end = match.end()
    if end > start:
        yield text[start:end], "char_wb", 1


def _of_word(padded: str) -> Iterator[tuple[str, str, int]]:
    shared = _LONGEST - 1
    for at in range(0, len(padded), _WINDOW):
        stop = at + _WINDOW
        yield padded[at : stop + shared], "char", 1
        if stop < len(padded):
            yield padded[stop : stop + shared], "char", -1


@cache
def _hashed(buckets: int, analyzer: str) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(
        analyzer=analyzer,
        ngram_range=(_SHORTEST, _LONGEST),
        n_features=buckets,
        norm=None,
        dtype=np.float32,
    )
