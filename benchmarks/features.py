"""Decoding and features: against a plain loop, against the cache, and memory as rows grow.

One JSON line a case. `ratio` is the rate of metamodal over that of a plain loop in the same run, medians
of alternating repeats. The loop takes one cell after the other, opens it with Pillow or soundfile and
computes its features, as most loaders of data sets do; `ratio_to_batches` is against a loop that opens one
cell after the other and computes features of 64 at once. All compute the same features; the loops have one
thread.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import soundfile
import torch

from measured import print_line
from metamodal.data.features.extraction import Features, Generic
from metamodal.data.modalities import modalities
from metamodal.data.modalities.sound import Sound

HERE = Path()
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def photos(count: int, size: tuple[int, int], seed: int = 0) -> list[bytes]:
    """JPEGs of noise in six octaves, the coarser the stronger: about as large as photographs."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        pixels = np.full((size[1], size[0], 3), 128.0)
        for octave in range(1, 7):
            coarse = (
                rng.normal(0, 128, (2**octave, 2**octave, 3)).clip(-128, 127).astype(np.int8).view(np.uint8)
            )
            layer = PIL.Image.fromarray(coarse + np.uint8(128)).resize(size, PIL.Image.Resampling.BICUBIC)
            pixels += (np.asarray(layer) - 128.0) / octave
        stream = io.BytesIO()
        PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
        found.append(stream.getvalue())
    return found


def sounds(count: int, seconds: float, rate: int, form: str, seed: int = 0) -> list[bytes]:
    """Chords in noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    found = []
    for _ in range(count):
        wave = sum(np.sin(2 * np.pi * f * t) for f in rng.uniform(100, 2000, 3)) / 5
        stream = io.BytesIO()
        soundfile.write(stream, wave + rng.normal(0, 0.02, len(t)), rate, format=form, subtype="PCM_16")
        found.append(stream.getvalue())
    return found


def opened_image(cell: bytes) -> np.ndarray:
    picture = PIL.Image.open(io.BytesIO(cell))
    picture = picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    if max(picture.size) > 128:
        picture.thumbnail((128, 128), PIL.Image.Resampling.BOX)
    return np.asarray(picture)


def opened_sound(cell: bytes) -> Sound:
    samples, rate = soundfile.read(io.BytesIO(cell), dtype="float32", always_2d=True)
    return Sound(samples.mean(1), rate)


OPENED: dict[str, Callable[[bytes], Any]] = {"image": opened_image, "audio": opened_sound}


def plain(cells: list[bytes], encoder: Generic, size: int) -> np.ndarray:
    """A loop whose features are computed of `size` cells at once."""
    opened = OPENED[encoder.kind]
    return np.concatenate(
        [encoder.vectors([opened(c) for c in cells[i : i + size]]) for i in range(0, len(cells), size)]
    )


def ours(cells: list[bytes], encoder: Generic, *, keep: bool) -> np.ndarray:
    features = Features(encoder)
    if not keep:
        features.store = None

    def failed(position: int, error: Exception) -> None:
        raise error

    return np.stack([v for v in features(cells, HERE, failed) if v is not None])


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(name: str, kind: str, cells: list[bytes], repeats: int) -> None:
    base = [modalities[kind].read(cell, HERE) for cell in cells[:200]]
    encoder = Generic(kind, modalities[kind].fit(base))
    difference = np.abs(plain(cells[:50], encoder, 50) - ours(cells[:50], encoder, keep=False)).max()
    seconds: dict[str, list[float]] = {"one": [], "batches": [], "ours": []}
    for _ in range(repeats):
        seconds["one"].append(timed(lambda: plain(cells, encoder, 1)))
        seconds["batches"].append(timed(lambda: plain(cells, encoder, 64)))
        seconds["ours"].append(timed(lambda: ours(cells, encoder, keep=False)))
    shutil.rmtree(Path(os.environ["METAMODAL_CACHE"]) / "features", ignore_errors=True)
    first = timed(lambda: ours(cells, encoder, keep=True))
    second = statistics.median(timed(lambda: ours(cells, encoder, keep=True)) for _ in range(repeats))

    def ratio(to: str) -> float:
        return round(statistics.median(a / b for a, b in zip(seconds[to], seconds["ours"])), 2)

    print_line(
        f"features: {name}",
        formulation="decoded in threads, embedded in batches",
        baseline=f"a loop with {'Pillow' if kind == 'image' else 'soundfile'}, one thread",
        seconds=statistics.median(seconds["ours"]),
        baseline_seconds=statistics.median(seconds["one"]),
        repeats=repeats,
        cells=len(cells),
        bytes_a_cell=round(float(np.mean([len(c) for c in cells]))),
        cells_per_second=round(len(cells) / statistics.median(seconds["ours"])),
        speedup_over_batches=ratio("batches"),
        largest_difference=float(difference),
        second_run_against_first=round(first / second, 1),
    )


def memory(rows: int, factor: int) -> None:
    """Peak memory of `encode` on a table and on one of more rows, each in a process of its own."""
    peaks = []
    for times in (1, factor):
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "t.parquet"
            _write_table(table, rows, times)
            code = "import sys; from metamodal.app.cli import main; sys.exit(main(sys.argv[1:]))"
            command = [sys.executable, "-c", code, "encode", str(table), "--target", "label", "--out"]
            done = subprocess.run(
                [*command, f"{folder}/out", "--json", "--quiet"],
                capture_output=True,
                check=True,
                env=os.environ | {"METAMODAL_CACHE": f"{folder}/cache"},
            )
            peaks.append((json.loads(done.stdout)["peak_mib"], table.stat().st_size >> 20))
    print_line(
        f"encode: {rows} and {rows * factor} rows of a photo and a sound",
        formulation="a chunk at a time",
        baseline="the smaller table",
        peak_mb=peaks[1][0],
        table_mib=[size for _, size in peaks],
        baseline_peak_mb=peaks[0][0],
        ratio=round(peaks[1][0] / peaks[0][0], 3),
    )


def _write_table(path: Path, rows: int, times: int) -> None:
    """The rows several times over, each time other photos and sounds."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    for part in range(times):
        table = pa.table(
            {
                "photo": photos(rows, (320, 240), part),
                "sound": sounds(rows, 0.5, 8000, "WAV", part),
                "label": [f"c{i % 50}" for i in range(rows)],
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=rows)
    if writer:
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1000, help="of the smaller table for memory")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["METAMODAL_CACHE"] = cache
        repeats = options.repeats
        compare("JPEG 640×480", "image", photos(400, (640, 480)), repeats)
        compare("FLAC 5 s at 16 kHz", "audio", sounds(200, 5.0, 16_000, "FLAC"), repeats)
        compare("WAV 5 s at 16 kHz", "audio", sounds(200, 5.0, 16_000, "WAV"), repeats)
        if SHARED.is_dir():
            for name, column, kind in (
                ("omniglot_strokes", "image", "image"),
                ("emoji", "image", "image"),
                ("chest_xray", "image", "image"),
                ("environmental_sounds", "audio", "audio"),
                ("spoken_digits", "audio", "audio"),
            ):
                cells = (
                    pd.read_parquet(SHARED / f"{name}.parquet", columns=[column])[column].dropna().tolist()
                )
                compare(f"shared {name}", kind, cells, repeats)
    memory(options.rows, 10)


if __name__ == "__main__":
    main()
