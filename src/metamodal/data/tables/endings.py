"""The format of a table file, by its ending or its first bytes."""

from __future__ import annotations

from pathlib import Path

__all__ = ["ending_of", "sniffed"]


def ending_of(path: Path) -> str:
    """The ending by which a file's format is known, in small letters: `.csv`, `.csv.gz`."""
    return "".join(path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:]).lower()


def sniffed(data: bytes) -> str:
    """The ending that a file of these bytes would have."""
    if data[:4] == b"PAR1":
        return ".parquet"
    if data[:6] == b"ARROW1" or data[:4] == b"\xff\xff\xff\xff":
        return ".arrow"
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] == b"[" and start[1:].lstrip()[:1] in (b"{", b"]"):
        return ".json"
    return ".jsonl" if start[:1] == b"{" else ".csv"
