"""What the name of a column says of its kind."""

from __future__ import annotations

import re

__all__ = ["sounds_like_points", "sounds_like_text"]

_TEXT_WORDS = frozenset(
    ["text", "title", "description", "caption", "comment", "comments", "author", "licence", "license"]
) | {
    *[
        "english",
        "german",
        "french",
        "spanish",
        "italian",
        "portuguese",
        "dutch",
        "russian",
        "chinese",
        "japanese",
        "korean",
    ]
}
_POINT_WORDS = frozenset({"points", "pointcloud", "cloud", "lidar", "radar"})


def sounds_like_points(column: str) -> bool:
    words = _words_of(column)
    return any(word in _POINT_WORDS for word in words) or "point_cloud" in "_".join(words)


def sounds_like_text(column: str) -> bool:
    return bool(_TEXT_WORDS & set(_words_of(column)))


def _words_of(column: str) -> list[str]:
    return [word for word in re.split(r"[^a-z]+", column.lower()) if word]
