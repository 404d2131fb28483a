"""Lists of column names that were split at their commas, put together again where a name has commas."""

from __future__ import annotations

__all__ = ["joined"]

_PIECES = 20  # a column's name may have as many commas, less one


def joined(pieces: tuple[str, ...], known: set[str]) -> tuple[str, ...]:
    """The columns, among those `known`, that the pieces of a comma-separated list name."""
    after: dict[
        int, tuple[str | None, int]
    ] = {}  # the column that starts at a piece, and the next one's piece
    last = len(pieces)
    for at in reversed(range(last)):
        for end in range(at + 1, min(last, at + _PIECES) + 1):
            text = ",".join(pieces[at:end])
            name = next((n for n in (text, text.strip()) if n in known), None)
            if (end == last or end in after) and (name is not None or not text.strip()):
                after[at] = (name, end)
                break
    names, at = [], 0
    while at in after:
        name, at = after[at]
        names += [] if name is None else [name]
    return tuple(names) or tuple(piece.strip() if piece not in known else piece for piece in pieces)
