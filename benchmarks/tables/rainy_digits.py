"""The table of spoken and written digits with rain over the voice, to be trained and tested on.

Into each sound goes a random stretch of a recording labelled `Rain`, so loud that its mean power is so
many decibels below the voice's. Nothing else changes, so the same options read either table:

    python benchmarks/tables/rainy_digits.py av_digits.parquet environmental_sounds.parquet --out rainy.parquet
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

__all__ = ["main", "rained_on"]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table and say where."""
    parser = argparse.ArgumentParser(description="Rain over the voice of a table of sounds.")
    parser.add_argument("voices", type=Path, help="a Parquet file with a column audio")
    parser.add_argument(
        "sounds", type=Path, help="a Parquet file with columns audio and label, Rain among them"
    )
    parser.add_argument("--out", type=Path, required=True, help="the Parquet file to write")
    parser.add_argument("--decibels", type=float, default=6.0, help="how far below the voice (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the stretches (%(default)s)")
    options = parser.parse_args(argv)
    table, sounds = pd.read_parquet(options.voices), pd.read_parquet(options.sounds)
    rain = [_samples(cell) for cell in sounds["audio"][sounds["label"].str.lower() == "rain"]]
    if not rain:
        parser.error(f"{options.sounds}: no row is labelled Rain")
    rng = np.random.default_rng(options.seed)
    table["audio"] = [rained_on(cell, rain, options.decibels, rng) for cell in table["audio"]]
    table.to_parquet(options.out)
    print(
        f"{options.out}: {len(table)} rows, rain of {len(rain)} recordings {options.decibels:g} dB below the voice",
        file=sys.stderr,
    )
    return 0


def rained_on(
    cell: bytes, rain: list[tuple[np.ndarray, int]], decibels: float, rng: np.random.Generator
) -> bytes:
    """A WAV file of the sound and a random stretch of rain, scaled as one where their sum would clip.

    Recordings of another rate, or without any sound in the stretch that was drawn, are drawn again.
    """
    voice, rate = _samples(cell)
    able = [samples for samples, its in rain if its == rate and len(samples) >= len(voice)]
    if not able:
        raise ValueError(f"no recording of rain at {rate} samples a second lasts {len(voice) / rate:.2f} s")
    power = 0.0
    while not power:
        chosen = able[rng.integers(len(able))]
        start = rng.integers(len(chosen) - len(voice) + 1)
        stretch = chosen[start : start + len(voice)]
        power = float(np.mean(stretch**2))
    gain = np.sqrt(np.mean(voice**2) / power * 10 ** (-decibels / 10))
    mixed = voice + gain * stretch
    stream = io.BytesIO()
    soundfile.write(stream, mixed / max(1.0, np.abs(mixed).max()), rate, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def _samples(cell: bytes) -> tuple[np.ndarray, int]:
    samples, rate = soundfile.read(io.BytesIO(cell), dtype="float64")
    return samples, int(rate)


if __name__ == "__main__":
    raise SystemExit(main())
