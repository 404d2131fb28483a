"""Benchmarks: rain as loud as said, words that do not give the label away, gradients that are the loop's."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from media import sound

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import meta_speed
from tables import emoji_words, rainy_digits


def samples(cell: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(cell), dtype="float64")[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    t = np.arange(4000) / 8000
    voices = [sound(0.2 * np.sin(2 * np.pi * 300 * k * t[: 2000 + 300 * k])) for k in range(1, 5)]
    rain = [sound(0.05 * rng.normal(size=8000)) for _ in range(3)]
    pd.DataFrame({"audio": voices, "digit": range(4)}).to_parquet(tmp_path / "voices.parquet")
    pd.DataFrame({"audio": [*rain, voices[0]], "label": ["Rain"] * 3 + ["Dog bark"]}).to_parquet(
        tmp_path / "sounds.parquet"
    )
    return tmp_path


@pytest.mark.parametrize("decibels", [0.0, 6.0, 12.0])
def test_rain_is_as_far_below_the_voice_as_said(folder: Path, decibels: float):
    paths = [str(folder / name) for name in ("voices.parquet", "sounds.parquet")]
    said = [*paths, "--out", str(folder / "rainy.parquet"), "--decibels", str(decibels)]
    assert rainy_digits.main(said) == 0
    voices, rainy = (pd.read_parquet(folder / name) for name in ("voices.parquet", "rainy.parquet"))
    assert list(rainy["digit"]) == list(voices["digit"])
    for clean, mixed in zip(map(samples, voices["audio"]), map(samples, rainy["audio"])):
        assert len(clean) == len(mixed)
        ratio = 10 * np.log10(np.mean(clean**2) / np.mean((mixed - clean) ** 2))
        assert ratio == pytest.approx(decibels, abs=0.2)


def test_the_same_seed_makes_the_same_table(folder: Path):
    paths = [str(folder / name) for name in ("voices.parquet", "sounds.parquet")]
    made = []
    for seed in (0, 0, 1):
        assert rainy_digits.main([*paths, "--out", str(folder / "out.parquet"), "--seed", str(seed)]) == 0
        made.append(pd.read_parquet(folder / "out.parquet")["audio"].tolist())
    assert made[0] == made[1] != made[2]


def test_words_of_the_label_are_gone_in_singular_and_plural():
    words = emoji_words.silent_words("cat face; pet; animals; Kitties; big cats", "animal-cat")
    assert words == "face; pet; Kitties; big"
    assert emoji_words.silent_words("arrow; arrows", "arrow") is None


@pytest.mark.parametrize(
    "build",
    [
        lambda: meta_speed.head_case(2),
        lambda: meta_speed.conv_case(pool=False, shot=1, tasks=2),
        lambda: meta_speed.conv_case(pool=True, shot=1, tasks=1),
        lambda: meta_speed.closed_case(meta_speed.Ridge(), "ridge"),
    ],
    ids=["head", "stride", "pool", "ridge"],
)
def test_what_is_timed_is_first_found_equal(build):
    pytest.importorskip("higher")
    torch.manual_seed(0)
    meta_speed.check(build())
