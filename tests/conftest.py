"""One torch thread, shapes and types checked in every call, and small tables that tests make themselves."""

from __future__ import annotations

import io
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
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


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
        train={"steps": 25, "budget": 60.0, "way": 10, "validations": 2, "valid_episodes": 20},
    )
    return learner.fit(data), data
