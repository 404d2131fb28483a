"""Cells that are made up: words, dates, ids, pictures, sounds and series."""

from __future__ import annotations

import io
import wave

import numpy as np
import pandas as pd
import PIL.Image

__all__ = ["days", "entities", "pick", "picture", "rare", "seldom", "series", "texts", "tone"]


def rare(rng: np.random.Generator, n: int) -> np.ndarray:
    """Numbers of which one is there twice."""
    numbers = (5 + rng.permutation(n) * 3.17).round(2)
    numbers[9] = numbers[4]
    return np.asarray(numbers)


def seldom(rng: np.random.Generator, n: int, most: int) -> list[int]:
    """Whole numbers of which a few are there twice."""
    numbers = rng.choice(most, n, replace=False)
    numbers[[5, 50]] = numbers[[4, 40]]
    return [int(i) for i in numbers]


def pick(rng: np.random.Generator, n: int, many: int) -> np.ndarray:
    return np.array([f"kind {chr(97 + i % 26)}{'x' * (i // 26)}" for i in range(many)])[
        rng.integers(0, many, n)
    ]


def entities(rng: np.random.Generator, n: int) -> np.ndarray:
    """Patients of whom a few came twice."""
    ids = rng.permutation(n) + 1000
    ids[[3, 30, 60]] = ids[[1, 2, 9]]
    return np.asarray(ids)


def days(rng: np.random.Generator, n: int) -> list[str]:
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(seldom(rng, n, 900), unit="D")
    return [day.date().isoformat() for day in days]


def texts(rng: np.random.Generator, which: np.ndarray) -> list[str]:
    words = np.array(
        [
            "leaf",
            "bark",
            "root",
            "crown",
            "seed",
            "stem",
            "ring",
            "bud",
            "twig",
            "moss",
            "rain",
            "wind",
            "soil",
            "sun",
            "frost",
            "bird",
        ]
    )
    return [" ".join(rng.choice(np.roll(words, 3 * k)[:12], 12)) + "." for k in which]


def picture(rng: np.random.Generator, k: int) -> bytes:
    square = np.kron(rng.integers(0, 255, (6, 6, 3)), np.ones((6, 6, 1))).astype(np.uint8)
    square[:, :, k] |= 128
    out = io.BytesIO()
    PIL.Image.fromarray(square).save(out, "PNG")
    return out.getvalue()


def tone(rng: np.random.Generator, k: int) -> bytes:
    t = np.arange(4000) / 8000
    sound = np.sin(2 * np.pi * (200 * (k + 1) + 40 * rng.normal()) * t) * rng.uniform(
        0.2, 0.8
    ) + 0.1 * rng.normal(size=4000)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((8000 * sound).astype("<i2").tobytes())
    return out.getvalue()


def series(rng: np.random.Generator, k: int) -> list[list[float]]:
    t = np.linspace(0, 1, int(rng.integers(20, 30)))
    return [
        [float(v)]
        for v in np.sin(2 * np.pi * (k + 1 + 0.15 * rng.normal()) * t) + 0.2 * rng.normal(size=len(t))
    ]
