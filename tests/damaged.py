"""Tables with damage of every sort, each at a place that is known."""

from __future__ import annotations

import io
import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Damage:
    """A table file and what is wrong in it: sort, row from 1, column, and words of the reason."""

    path: Path
    what: str
    row: int
    column: str | None
    words: str


def photo(seed: int, form: str = "JPEG", side: int = 48, **options: Any) -> bytes:
    """A smooth picture in colour, different for each seed."""
    rng = np.random.default_rng(seed)
    small = PIL.Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    stream = io.BytesIO()
    small.resize((side, side), PIL.Image.Resampling.BICUBIC).save(stream, form, **options)
    return stream.getvalue()


def huge_png() -> bytes:
    """A PNG of 60 bytes that claims 40,000 × 40,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def wav(seed: int, seconds: float = 0.3, rate: int = 8000) -> bytes:
    """A tone and its overtone, different for each seed."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    wave = np.sin(2 * np.pi * rng.uniform(200, 1500) * t) + 0.5 * np.sin(
        2 * np.pi * rng.uniform(200, 3000) * t
    )
    samples = (8000 * wave * np.linspace(1, rng.uniform(0, 1), len(t))).astype("<i2").tobytes()
    head = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16
    )
    return head + struct.pack("<4sI", b"data", len(samples)) + samples


def long_flac() -> bytes:
    """Half an hour of silence in about 90 KB."""
    import soundfile

    stream = io.BytesIO()
    soundfile.write(stream, np.zeros(30 * 60 * 8000, np.int16), 8000, format="FLAC")
    return stream.getvalue()


def sound_frame(rows: int = 24) -> pd.DataFrame:
    """A clean table with a picture, a number, a text, a vector, an id and a label."""
    rng = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "case_id": [f"case-{i:03}" for i in range(rows)],
            "photo": [photo(i) for i in range(rows)],
            "size": rng.normal(5, 1, rows).round(3),
            "note": [
                f"seen number {rng.integers(10**6)} on day {rng.integers(10**6)} by hand" for _ in range(rows)
            ],
            "vector": [rng.normal(size=4).tolist() for _ in range(rows)],
            "kind": ["oak", "elm"] * (rows // 2),
        }
    )


def with_cell(frame: pd.DataFrame, row: int, column: str, cell: Any) -> pd.DataFrame:
    """A copy with one other cell; the row counts from 1."""
    cells = frame[column].astype(object).tolist()
    cells[row - 1] = cell
    return frame.assign(**{column: pd.Series(cells, dtype=object)})


def as_parquet(frame: pd.DataFrame, path: Path) -> Path:
    """The frame as it is: a NaN stays a NaN, where pandas would write an empty cell."""
    columns = {c: pa.array(frame[c].tolist(), from_pandas=False) for c in frame.columns}
    pq.write_table(pa.table(columns), path)
    return path


def as_jsonl(frame: pd.DataFrame, path: Path) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in frame.to_dict("records")))
    return path


def parquet_damages(folder: Path) -> dict[str, Damage]:
    """A table for each way in which a single cell of a Parquet file can be bad."""
    sound = sound_frame()
    audio = sound.assign(clip=[wav(i) for i in range(len(sound))])
    cells: dict[str, tuple[pd.DataFrame, str, str, Any, str]] = {
        "truncated JPEG": (sound, "unreadable", "photo", photo(6)[:300], "not a readable image"),
        "truncated PNG": (sound, "unreadable", "photo", photo(6, "PNG")[:300], "not a readable image"),
        "huge PNG": (sound, "unreadable", "photo", huge_png(), "above the cap"),
        "foreign bytes": (
            sound,
            "kind",
            "photo",
            b"no picture at all",
            "unknown bytes where 23 cells are image",
        ),
        "NaN": (sound, "unreadable", "size", float("nan"), "size is nan"),
        "infinity": (sound, "unreadable", "size", float("-inf"), "size is -inf"),
        "infinity in a vector": (sound, "unreadable", "vector", [1.0, float("inf"), 0.0, 0.0], "inf"),
        "NaN in a vector": (sound, "unreadable", "vector", [1.0, float("nan"), 0.0, 0.0], "nan"),
        "label NA": (sound, "label", "kind", "NA", "'NA' is read as the name of a class"),
        "label None": (sound, "label", "kind", "None", "'None' is read as the name of a class"),
        "label of nothing": (sound, "label", "kind", "n.a.", "may mean that there is no label"),
        "repeated id": (sound, "id", "case_id", "case-002", "'case-002' is the id of row 3, too"),
        "truncated WAV": (audio, "unreadable", "clip", wav(6)[:1500], ""),
        "header-only WAV": (audio, "unreadable", "clip", wav(6)[:44], ""),
        "half an hour of FLAC": (audio, "unreadable", "clip", long_flac(), ""),
    }
    found = {}
    for name, (frame, what, column, cell, words) in cells.items():
        path = as_parquet(with_cell(frame, 7, column, cell), folder / f"{name}.parquet")
        found[name] = Damage(path, what, 7, column, words)
    return found


def text_damages(folder: Path) -> dict[str, Damage]:
    """The same for CSV, JSONL and paths."""
    for i in range(12):
        (folder / f"{i}.jpg").write_bytes(photo(i))
    lines = [f"{i}.jpg,{i / 10},{'oak' if i % 2 else 'elm'}" for i in range(12)]
    plain = pd.DataFrame({"size": [i / 10 for i in range(12)], "kind": ["oak", "elm"] * 6})

    def csv(name: str, line: str) -> Path:
        path = folder / f"{name}.csv"
        path.write_text("\n".join(["photo,size,kind", *lines[:6], line, *lines[7:]]) + "\n")
        return path

    def jsonl(name: str, line: str) -> Path:
        path = as_jsonl(plain, folder / f"{name}.jsonl")
        rows = path.read_text().splitlines()
        path.write_text("\n".join([*rows[:6], line, *rows[7:]]) + "\n")
        return path

    (folder.parent / "outside.jpg").write_bytes(photo(99))
    return {
        "wrong path": Damage(
            csv("path", "60.jpg,0.6,elm"), "unreadable", 7, "photo", "'60.jpg' does not exist"
        ),
        "path outside": Damage(
            csv("outside", "../outside.jpg,0.6,elm"), "unreadable", 7, "photo", "leaves the table's folder"
        ),
        "no path": Damage(csv("word", "none,0.6,elm"), "kind", 7, "photo", "a word where 11 cells are paths"),
        "word among numbers": Damage(
            csv("number", "6.jpg,tall,elm"), "kind", 7, "size", "a word where 11 cells are numbers"
        ),
        "NaN as text": Damage(csv("nan", "6.jpg,nan,elm"), "unreadable", 7, "size", "nan"),
        "infinity as text": Damage(csv("inf", "6.jpg,inf,elm"), "unreadable", 7, "size", "inf"),
        "too many cells": Damage(csv("long", "6.jpg,0.6,elm,1"), "row", 7, None, "4 cells"),
        "too few cells": Damage(csv("short", "6.jpg,0.6"), "row", 7, None, "2 cells"),
        "label in CSV": Damage(csv("label", "6.jpg,0.6,N/A"), "label", 7, "kind", "'N/A'"),
        "no JSON": Damage(jsonl("json", '{"size": 1,'), "row", 7, None, "not JSON"),
        "no object": Damage(jsonl("object", "[1, 2]"), "row", 7, None, "list"),
        "two kinds": Damage(
            jsonl("kinds", '{"size": [1, 2], "kind": "elm"}'),
            "kind",
            7,
            "size",
            "vector where 11 cells are number",
        ),
    }
