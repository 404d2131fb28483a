"""Components of other packages come in by entry points and are like any other; an artifact names what it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metamodal import extend
from metamodal.errors import MetamodalWarning
from metamodal.registry import Registry

SOURCE = '''
"""A kind, an encoder, a learner, a fusion, a loss and a baseline of another package."""

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import PositiveFloat

from metamodal import extend as mx


@dataclass(frozen=True)
class Colour:
    """Colours written as #rrggbb."""

    mean: tuple[float, ...]
    scale: float

    @classmethod
    def read(cls, cell, base):
        if not str(cell).startswith("#"):
            raise mx.CellError("not a colour. Write #rrggbb")
        return np.array([int(cell[i : i + 2], 16) / 255 for i in (1, 3, 5)], dtype=np.float32)

    @classmethod
    def fit(cls, values, *, contrast: PositiveFloat = 1.0):
        stacked = np.stack(values)
        return cls(tuple(stacked.mean(0).tolist()), float(stacked.std() / contrast) or 1.0)

    @property
    def shape(self):
        return (3,)

    def tensor(self, values):
        return (torch.from_numpy(np.stack(values)) - torch.tensor(self.mean)) / self.scale

    def features(self, x):
        return torch.nn.functional.normalize(x, dim=1)

    def augment(self, x, generator):
        return x

    @property
    def variants(self):
        return 1

    def variant(self, x, number):
        return x


class ColourEncoder(torch.nn.Module):
    def __init__(self, shape: tuple[int, ...], dim: int, *, width: int = 16) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(mx.Linear(*shape, width), torch.nn.ReLU(), mx.Linear(width, dim))

    def forward(self, x):
        return self.layers(x)


@dataclass(frozen=True)
class SoftNearest:
    """Soft nearest neighbours."""

    sharpness: PositiveFloat = 4.0

    @property
    def reads(self) -> str:
        return "tokens"

    def parameters(self, setting):
        return {"sharpness": mx.declared(torch.tensor(self.sharpness).log(), rate=20.0)}

    def adapt(self, fn, params, support):
        z = torch.nn.functional.normalize(fn(params, support), dim=-1)
        return z, support.targets * mx.seen(support)[..., None]

    def predict(self, fn, params, adapted, query):
        z, targets = adapted
        q = torch.nn.functional.normalize(fn(params, query), dim=-1)
        return ((mx.own(params, "sharpness").exp() * (q @ z.mT)).exp() @ targets + 1e-6).log()


class Strongest(torch.nn.Module):
    """The mean, scaled."""

    def __init__(self, modalities: tuple[str, ...], dim: int, *, gain: PositiveFloat = 1.0) -> None:
        super().__init__()
        self.presence, self.gain = mx.Presence(modalities), gain

    def forward(self, tokens):
        row = self.presence(tokens)
        return self.gain * row.mean(row.z)


@dataclass(frozen=True)
class Small:
    """Tokens are to be small."""

    weight: float = 0.0
    power: PositiveFloat = 2.0

    def weights(self, context, sampler):
        return {"small": self.weight} if self.weight else {}

    def start(self, context, sampler):
        return {}

    def losses(self, step):
        return {"small": torch.stack([z.abs().pow(self.power).mean() for z in step.tokens.inputs.values()]).mean()}


def nearest_row(rows: mx.FitRows):
    """The class of the nearest support row."""

    def scores(query):
        distances = np.square(query[:, None] - rows.x).sum(-1)
        return -np.stack([distances[:, rows.y == k].min(1) for k in range(rows.y.max() + 1)], 1)

    return scores


NEAREST_ROW = mx.Baseline(nearest_row)
'''
ENTRY_POINTS = """
[metamodal.modality]
colour = outside:Colour
[metamodal.encoder]
colour = outside:ColourEncoder
[metamodal.learner]
soft_nearest = outside:SoftNearest
[metamodal.fusion]
strongest = outside:Strongest
[metamodal.objective]
small = outside:Small
[metamodal.baseline]
nearest_row = outside:NEAREST_ROW
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder in which the package is installed."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "outside.py").write_text(SOURCE)
    info = folder / "metamodal_outside-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: metamodal-outside\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def metamodal(*arguments: object, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    paths = [*([str(site)] if site else []), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "metamodal", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_a_package_brings_every_sort_of_component_and_the_artifact_says_so(site: Path, tmp_path: Path):
    rng = np.random.default_rng(0)
    rows = []
    for k in range(20):
        base = rng.integers(20, 230, 3)
        for _ in range(6):
            paint = "#" + "".join(f"{int(np.clip(c + rng.integers(-8, 8), 0, 255)):02x}" for c in base)
            rows.append({"paint": paint, "size": float(k % 4 + rng.normal(0, 0.1)), "label": f"c{k:02}"})
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    options = [
        "learner=soft_nearest", "learner.sharpness=8", "model.fusion=strongest", "model.fusion.gain=2",
        "train.losses.small=0.1", "train.losses.small.power=1", "model.kinds.colour.contrast=2",
        "model.encoders.paint.kind=colour", "model.encoders.paint.width=8", "model.dim=16",
        "train.steps=5", "train.episodes.way=5", "train.validation.episodes=10", "train.validation.count=1",
    ]  # fmt: skip
    roles = ["--target", "label", "--kind", "paint=colour"]
    done = metamodal(
        "train", tmp_path / "t.csv", *roles, "--out", tmp_path / "run", *options, "--no-test", site=site
    )
    assert done.returncode == 0, done.stderr
    model = tmp_path / "run" / "model"
    config = json.loads((model / "config.json").read_text())
    assert config["spec"]["learner"] == {"kind": "soft_nearest", "sharpness": 8}
    assert config["spec"]["network"]["fusion"] == {"kind": "strongest", "gain": 2}
    assert config["spec"]["network"]["encoders"] == {"paint": {"kind": "colour", "width": 8}}
    assert set(config["packages"]) == {
        "learner soft_nearest",
        "fusion strongest",
        "modality colour",
        "encoder colour",
    }
    assert set(config["packages"].values()) == {"metamodal-outside 1.2"}
    found = metamodal("evaluate", model, tmp_path / "t.csv", "--episodes", 10, "--json", site=site)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["results"][0]["learner"] == "soft_nearest"
    arguments = ("--episodes", 10, "--baselines", "--json")
    compared = metamodal("evaluate", model, tmp_path / "t.csv", *arguments, site=site)
    assert compared.returncode == 0, compared.stderr
    outside = [b for b in json.loads(compared.stdout)["baselines"] if b["name"] == "nearest_row"]
    assert {b["trained_on"] for b in outside} == {"support"}
    assert outside[0]["accuracy"]["mean"] > 0.5
    without = metamodal("evaluate", model, tmp_path / "t.csv", "--episodes", 10)
    assert without.returncode == 3
    assert "of the package metamodal-outside 1.2. Install it: pip install metamodal-outside" in without.stderr
    wrong = metamodal(
        "train", "glyphs", "--out", tmp_path / "w", "learner=soft_nearest", "learner.sharp=1", site=site
    )
    assert (
        wrong.returncode == 2 and "learner.sharp: no such option. Did you mean 'sharpness'?" in wrong.stderr
    )
    schema = json.loads(metamodal("schema", "--options", site=site).stdout)
    assert "learner.soft_nearest" in schema["$defs"]
    assert "small" in schema["properties"]["train"]["properties"]["losses"]["properties"]


def test_a_package_that_cannot_be_imported_costs_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    info = tmp_path / "broken-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[metamodal.shelf]\nbroken = no_such_module:Thing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    shelf: Registry[type] = Registry("shelf")
    with pytest.warns(MetamodalWarning, match=r"shelf 'broken' of broken 0\.1 cannot be loaded"):
        assert "broken" not in shelf


def test_what_an_author_imports_is_there_and_documented():
    for name in extend.__all__:
        item = getattr(extend, name)
        assert item.__doc__, name
    assert extend.__all__ == sorted(extend.__all__, key=lambda n: (not n.isupper(), n.islower(), n))
