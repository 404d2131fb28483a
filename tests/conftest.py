"""One torch thread, shapes and types checked in every call, and small tables that tests make themselves."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")

from jaxtyping import install_import_hook

# Every annotated function of the package is checked at run time, shapes included.
install_import_hook("metamodal", "beartype.beartype")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import PIL.Image  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from media import ball_of_frames, encoded, gif, sound  # noqa: E402

torch.set_num_threads(1)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["METAMODAL_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real tables; tests that need it are skipped where it is not."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: the real tables are not part of the project")
    return SHARED


def png(pixels: np.ndarray) -> bytes:
    return encoded(PIL.Image.fromarray(pixels), "PNG")


def shapes_table(classes: int = 20, rows: int = 8, seed: int = 0) -> pd.DataFrame:
    """A table of all readable kinds whose every modality tells the classes apart, with noise.

    Each class has a direction for a bright bar, a frequency, a vocabulary, numbers and a vector.
    """
    rng = np.random.default_rng(seed)
    across, down = np.meshgrid(np.arange(16), np.arange(16))
    found = []
    for k in range(classes):
        own = np.random.default_rng([7, k])
        angle, frequency, vector = np.pi * k / classes, 1 + k / 2, own.normal(size=6)
        word = "".join(own.choice(list("abcdefghij"), 5))
        for _ in range(rows):
            turn = angle + rng.normal(0, 0.03)
            bar = np.exp(-np.square((across - 7.5) * np.sin(turn) - (down - 7.5) * np.cos(turn)) / 4)
            pixels = np.clip(255 * bar + rng.normal(0, 15, bar.shape), 0, 255).astype(np.uint8)
            t = np.linspace(0, 2 * np.pi, int(rng.integers(20, 40)))
            found.append(
                {
                    "photo": png(pixels),
                    "sound": np.stack([np.sin(frequency * t), np.cos(frequency * t)], 1).tolist(),
                    "note": f"{word} {rng.choice(['of', 'in', 'at'])} {word}s the {rng.integers(1000)}",
                    "size": float(k + rng.normal(0, 0.3)),
                    "colour": ["red", "green", "blue"][int(rng.integers(3))] if k % 2 else "black",
                    "vector": (vector + rng.normal(0, 0.3, 6)).tolist(),
                    "label": f"class{k:02}",
                }
            )
    return pd.DataFrame(found)


def nine_kinds_table(classes: int = 12, rows: int = 6, seed: int = 0) -> pd.DataFrame:
    """A table with a column of each of the nine kinds, every one of which tells the classes apart.

    A class adds to its image, vector, words and numbers of `shapes_table` a tone, a way to move, a
    branching of edges and a shape of cloud.
    """
    frame = shapes_table(classes, rows, seed)
    rng = np.random.default_rng([seed, 3])
    more = []
    for label in frame["label"]:
        k = int(label[-2:])
        turn, hertz = 2 * np.pi * k / classes, 200 * 1.25**k
        t = np.arange(int(8000 * rng.uniform(0.25, 0.35))) / 8000
        wave = np.sin(2 * np.pi * hertz * t) * np.hanning(len(t)) + 0.05 * rng.normal(size=len(t))
        frames = ball_of_frames(6, 16, np.cos(turn), np.sin(turn))
        frames = np.clip(frames + rng.integers(0, 20, frames.shape), 0, 255).astype(np.uint8)
        nodes = 6 + k // 3 + int(rng.integers(2))
        chain = [[i, (i + 1 + k % 3) % nodes] for i in range(nodes - 1)]
        star = [[0, i] for i in range(1, nodes) if k % 2]
        cloud = rng.normal(size=(int(rng.integers(40, 60)), 3)) * [1 + k % 4, 1 + k // 4, 1]
        more.append(
            {
                "voice": sound(0.4 * wave, 8000, "WAV" if k % 2 else "FLAC"),
                "film": gif(frames),
                "net": {"nodes": [f"kind{(i + k) % 4}" for i in range(nodes)], "edges": chain + star},
                "cloud": cloud.tolist(),
            }
        )
    return pd.concat([pd.DataFrame(more), frame], axis=1)


def hidden_table(classes: int = 40, rows: int = 10, seed: int = 0) -> pd.DataFrame:
    """Two vectors in which few directions tell the classes apart and many are noise.

    Which ones is the same for all classes: what meta-training can find, and no single task can.
    """
    rng = np.random.default_rng(seed)
    found = []
    for k in range(classes):
        own = np.random.default_rng([11, k]).normal(size=(2, 4))
        for _ in range(rows):
            u, v = (np.concatenate([m + rng.normal(0, 0.3, 4), rng.normal(0, 1, 28)]) for m in own)
            found.append({"u": u.tolist(), "v": v.tolist(), "label": f"class{k:02}"})
    return pd.DataFrame(found)


@pytest.fixture(scope="session")
def hidden() -> pd.DataFrame:
    return hidden_table()


@pytest.fixture(scope="session")
def shapes() -> pd.DataFrame:
    return shapes_table()


@pytest.fixture(scope="session")
def shapes_file(shapes: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "shapes.parquet"
    shapes.to_parquet(path)
    return path


class Outcome:
    """What a command left: exit code, data, and words for people."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]):
    """Runs the command line in this process."""
    from metamodal.app.cli import main

    def run(*arguments: object) -> Outcome:
        code = main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return run


@pytest.fixture(scope="session")
def trained(shapes: pd.DataFrame):
    """A model meta-trained for a few steps on the synthetic table."""
    from metamodal.data.dataset import read_table
    from metamodal.estimator import MetaLearner

    data = read_table(shapes, target="label")
    learner = MetaLearner(
        model__dim=32,
        train={
            "steps": 25,
            "budget": 60.0,
            "episodes": {"way": 10},
            "validation": {"count": 2, "episodes": 20},
        },
    )
    return learner.fit(data), data


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes by their length: some hold the time at which they were made, and every process must name a test alike."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None
