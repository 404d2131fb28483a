"""Tables and artifacts that nobody would write, made at random: read, or refused by the project's own errors.

    python tests/fuzz.py tables 5000
    python tests/fuzz.py artifacts 2000

prints one JSON line: how many were tried, how many were refused, the peak of memory, and each fault with the seed
that makes it again (`python tests/fuzz.py tables 1 --first SEED`). tests/test_fuzz.py runs a few in the suite.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import json
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load, save

import metamodal as mm
from metamodal import manifest
from metamodal.artifact import load_artifact
from metamodal.data.dataset import read_table
from metamodal.errors import MetamodalError
from metamodal.model import MetaModel
from metamodal.nesting import nested as tree_of
from metamodal.predictor import Predictor

HANG = 60  # seconds
EVIL = [
    "evil_module:run",
    "evil_module",
    "topics.evil:encode",
    "subprocess:check_output",
    "os:system",
    "antigravity",
]
FORBIDDEN = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"}
WORDS = [
    "cat", "dog", "", " ", "NA", "nan", "None", "null", "-", "?", "true", "TRUE", "0", "1", "1.0", "-0", "1e400", "١٢",
    "3,14", "1.234,5", "12%", "$5", "(3.20)", "31/12/2020", "2020-13-45", "12:61", "a;b", "['a', 'b']", "[1. 2. 3.]",
    "[" * 2000, "{" * 900, '{"a":', "[1, 2, [3]]", "<0.5", "\ud83d", "\x00", "\u202e", "é", "e\u0301", "x" * 5000, "\n",
    "a.png", "/dev/zero", "../../etc", "file:///x", "http://x/y.png", "C:\\x.wav", "9" * 400, "=1+1", "🙂" * 9,
    *EVIL,
]  # fmt: skip
VALUES: list[Callable[[np.random.Generator], Any]] = [
    lambda rng: None,
    lambda rng: float("nan"),
    lambda rng: float(rng.choice([np.inf, -np.inf, 1.7e308, -1.7e308, 5e-324, 0.0, -0.0])),
    lambda rng: int(rng.integers(-3, 4)),
    lambda rng: 10 ** int(rng.integers(0, 500)),
    lambda rng: bool(rng.integers(2)),
    lambda rng: str(rng.choice(WORDS)),
    lambda rng: "".join(map(chr, rng.integers(1, 0xD7FF, int(rng.integers(0, 9))))),
    lambda rng: bytes(rng.integers(0, 256, int(rng.integers(0, 40)), dtype=np.uint8)),
    lambda rng: rng.normal(size=tuple(rng.integers(0, 4, int(rng.integers(0, 4))))),
    lambda rng: rng.normal(size=3).tolist(),
    lambda rng: [None, "x", 1.5][: int(rng.integers(0, 4))],
    lambda rng: [[1, 2], [3]],
    lambda rng: {"bytes": 3},
    lambda rng: {"path": ["a"]},
    lambda rng: {"nodes": [1], "edges": [[0, 5]]},
    lambda rng: np.array(None, dtype=object),
    lambda rng: np.array([1 + 2j]),
    lambda rng: np.datetime64("NaT"),
    lambda rng: pd.Timestamp("2020-01-01", tz="UTC"),
    lambda rng: pd.NA,
    lambda rng: complex(1, 2),
    lambda rng: object(),
    lambda rng: nested(int(rng.integers(2, 1500))),
]  # fmt: skip
NAMES = ["x", "y", "tabular", "", " ", "a b", "a,b", "a=b", "a + b", "0", "label", "x\ny", "é", "__index_level_0__",
         "Unnamed: 0", "evil_module:run", "x" * 300, "task", "split", "\ud83d"]  # fmt: skip


def nested(depth: int) -> list[Any]:
    whole: list[Any] = []
    for _ in range(depth):
        whole = [whole]
    return whole


def deep(cell: Any) -> bool:
    for _ in range(60):
        if not isinstance(cell, list) or not cell:
            return False
        cell = cell[0]
    return True


def column(rng: np.random.Generator, rows: int) -> list[Any]:
    """Cells of one kind, a few of them of another."""
    kinds: list[Callable[[], Any]] = [
        lambda: float(rng.normal()),
        lambda: int(rng.integers(5)),
        lambda: str(rng.choice(["red", "green", "blue"])),
        lambda: " ".join(rng.choice(["good", "bad", "old", "new"], 5)),
        lambda: rng.normal(size=4).tolist(),
        lambda: rng.normal(size=(6, 2)),
        lambda: rng.integers(0, 255, (5, 5), dtype=np.uint8),
        lambda: str(pd.Timestamp(2020, 1, 1) + pd.Timedelta(int(rng.integers(900)), unit="D")),
        lambda: VALUES[int(rng.integers(len(VALUES)))](rng),
    ]
    usual = kinds[int(rng.integers(len(kinds)))]
    spoilt = float(rng.choice([0.0, 0.05, 0.3, 1.0], p=[0.7, 0.2, 0.07, 0.03]))
    odd = VALUES[int(rng.integers(len(VALUES)))] if rng.random() < 0.5 else None
    cells = []
    for _ in range(rows):
        if rng.random() < spoilt:
            cells.append((odd or VALUES[int(rng.integers(len(VALUES)))])(rng))
        else:
            cells.append(usual())
    return cells


def frame_at_random(rng: np.random.Generator) -> pd.DataFrame:
    rows = int(rng.choice([0, 1, 2, 6, 24], p=[0.03, 0.04, 0.08, 0.25, 0.6]))
    usual = ["a", "b", "c", "d", "e", "y"]
    pool = NAMES if rng.random() < 0.2 else usual
    names = list(map(str, rng.choice(pool, int(rng.integers(1, 6)), replace=rng.random() < 0.02)))
    if rng.random() < 0.9 and "y" not in names:
        names[-1] = "y"
    columns = [column(rng, rows) for _ in names]
    if rng.random() < 0.8 and "y" in names:
        labels = [["a", "b", "c"], [0, 1], [True, False], ["a;b", "b", "a"], [0.5, 1.25, 3.0]]
        pool = labels[int(rng.integers(len(labels)))]
        columns[names.index("y")] = [pool[int(rng.integers(len(pool)))] for _ in range(rows)]
    arrays = {}
    for at, cells in enumerate(columns):
        arrays[at] = np.empty(rows, dtype=object)
        for row, cell in enumerate(cells):
            arrays[at][row] = cell
    frame = pd.DataFrame(arrays, dtype=object)
    frame.columns = pd.Index(names, dtype=object)
    return frame


def written_at_random(frame: pd.DataFrame, folder: Path, rng: np.random.Generator) -> Path | None:
    """The frame as a file, maybe with wrong bytes; nothing where the format cannot hold it."""
    form = str(rng.choice(["csv", "tsv", "jsonl", "parquet", "arrow", "csv.gz"]))
    path = folder / f"t.{form}"
    if any(deep(cell) for column in frame.columns for cell in np.ravel(frame[column].to_numpy())):
        return None  # pandas takes gigabytes to write it
    try:
        if form in ("csv", "tsv", "csv.gz"):
            text = frame.to_csv(index=False, sep="\t" if form == "tsv" else str(rng.choice([",", ";"])))
            data = text.encode(str(rng.choice(["utf-8", "utf-8-sig", "utf-16"])), "surrogatepass")
            if form == "csv.gz":
                import gzip

                data = gzip.compress(data)
        elif form == "jsonl":
            records = [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
            lines = [
                json.dumps(row, default=lambda v: v.tolist() if isinstance(v, np.ndarray) else str(v))
                for row in records
            ]
            data = "\n".join(lines).encode()
        else:
            buffer = io.BytesIO()
            (frame.to_parquet if form == "parquet" else frame.to_feather)(buffer)
            data = buffer.getvalue()
    except Exception:  # pandas or Arrow cannot write it: no table
        return None
    broken = bytearray(data)
    if broken and rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 6))):
            broken[int(rng.integers(len(broken)))] = int(rng.integers(256))
        if rng.random() < 0.3:
            del broken[int(rng.integers(len(broken))) :]
    path.write_bytes(bytes(broken))
    return path


def try_table(rng: np.random.Generator, folder: Path) -> None:
    """Read, audit, adapt, predict: each alone may be refused."""
    frame = frame_at_random(rng)
    source: Any = written_at_random(frame, folder, rng) if rng.random() < 0.6 else frame
    if source is None:
        source = frame
    target = "y" if rng.random() < 0.9 else str(rng.choice(NAMES))
    refused: MetamodalError | None = None
    try:
        mm.audit(source, target=target)
    except MetamodalError as error:
        refused = one_line(error)  # and go on
    try:
        unreadable = str(rng.choice(["error", "absent"]))
        learner = mm.MetaLearner(data__target=target)
        predictor = learner.adapt(read_table(source, target=target), unreadable=unreadable)
        if predictor.model.targets.kind == "regression":
            values = predictor.predict(read_table(source), unreadable)
        else:
            values = np.asarray(predictor.predict_proba(read_table(source), unreadable))
        if values.size and np.issubdtype(values.dtype, np.floating) and np.isinf(values).any():
            raise AssertionError(f"an infinite answer: {values}")
    except MetamodalError as error:
        refused = one_line(error)
    if refused:
        raise refused


def one_line(error: MetamodalError) -> MetamodalError:
    """A message is one line that ends as a sentence, however odd the names in it."""
    text = str(error)
    assert text and "\n" not in text and len(text) < 3000, (
        f"a message of {len(text)} characters: {text[:300]!r}"
    )
    return error


def artifacts(folder: Path) -> list[tuple[Path, pd.DataFrame]]:
    """A model and predictors of each target kind, small, with rows that they read."""
    rng = np.random.default_rng(0)
    n = 24
    k = np.arange(n) % 3
    rows = pd.DataFrame(
        {
            "u": (rng.normal(size=(n, 4)) + k[:, None]).tolist(),
            "words": [["good cat", "bad dog", "old bird"][i] for i in k],
            "size": rng.normal(size=n) + k,
            "colour": [["red", "green", "blue"][i] for i in k],
            "day": [f"2020-{1 + i:02}-{1 + j:02}" for i, j in zip(k, range(n))],
        }
    )
    targets: dict[str, list[Any]] = {
        "classification": [f"c{i}" for i in k],
        "multilabel": [["a", "b"] if i else ["a"] for i in k],
        "regression": (k + rng.normal(size=n) + 0.25).tolist(),
    }
    for name, values in targets.items():
        table = rows.assign(y=values)
        mm.MetaLearner(data__target="y").adapt(table).save(folder / name)
    train = {
        "steps": 2,
        "budget": 20.0,
        "episodes__way": 2,
        "validation__count": 1,
        "validation__episodes": 4,
    }
    many = pd.concat([rows.assign(y=[f"k{i}" for i in np.arange(n) // 2])] * 2, ignore_index=True)
    for name in ("ridge", "per_modality", "maml"):
        learned = mm.MetaLearner(learner=name, model__dim=8, train=tree_of(train))
        model = learned.fit(read_table(many, target="y"))
        model.save(folder / name)
        support = rows.assign(y=targets["classification"])
        model.adapt(support).save(folder / f"{name}_adapted")
    made = [(path, rows) for path in sorted(folder.iterdir())]
    from conftest import nine_kinds_table  # late: it has every call checked that is imported after it

    every = nine_kinds_table(3, 4)
    mm.MetaLearner(data__target="label").adapt(every).save(folder / "nine_kinds")
    return [*made, *[(folder / "nine_kinds", every.drop(columns="label")[:2])] * 3]


LEAVES: list[Any] = [None, True, False, 0, -1, 1, 2, 10**9, 10**400, -(10**30), 1e308, float("nan"), float("inf"), "", "x",
                     [], {}, [[]], {"x": 1}, ["x", "x"], *EVIL]  # fmt: skip


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in items:
        yield from places(value, (*path, name))


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def damage_config(config: dict[str, Any], rng: np.random.Generator) -> None:
    found = [path for path in places(config) if path]
    if rng.random() < 0.15:  # a module's name in every string
        evil = EVIL[int(rng.integers(len(EVIL)))]
        for path in found:
            if isinstance(at(config, path), str) and path[0] not in ("sha256", "digest", "version"):
                at(config, path[:-1])[path[-1]] = evil
        return
    for _ in range(int(rng.integers(1, 4))):
        path = found[int(rng.integers(len(found)))]
        try:
            parent, name = at(config, path[:-1]), path[-1]
            value = parent[name]
        except (KeyError, IndexError, TypeError):  # what the damage before left no place for
            continue
        if not isinstance(parent, (dict, list)):
            continue
        kind = int(rng.integers(6))
        if kind == 0:
            del parent[name]
        elif kind == 1 and isinstance(parent, dict):
            parent[f"{name}x"] = value
        elif kind == 2 and isinstance(value, list) and value:
            value.append(value[0])
        elif kind == 3 and isinstance(value, (int, float)) and not isinstance(value, bool):
            parent[name] = [value + 1, -value, value * 1000, float(value), str(value)][int(rng.integers(5))]
        elif kind == 4:
            other = found[int(rng.integers(len(found)))]
            try:
                parent[name] = json.loads(json.dumps(at(config, other)))
            except (KeyError, IndexError, TypeError):
                continue
        else:
            parent[name] = LEAVES[int(rng.integers(len(LEAVES)))]


def damage_tensors(tensors: dict[str, torch.Tensor], rng: np.random.Generator) -> dict[str, torch.Tensor]:
    result = dict(tensors)
    name = str(rng.choice(sorted(result)))
    value = result[name]
    kind = int(rng.integers(7))
    if kind == 0:
        del result[name]
    elif kind == 1:
        result["x" + name] = value.clone()
    elif kind == 2:
        result[name] = value.flatten()[: max(value.numel() - 1, 0)]
    elif kind == 3:
        result[name] = torch.full_like(
            value.float(), [float("nan"), float("inf"), 1e38][int(rng.integers(3))]
        )
    elif kind == 4:
        result[name] = value.to([torch.float64, torch.int32, torch.bool, torch.float16][int(rng.integers(4))])
    elif kind == 5:
        result[name] = value[None]
    else:
        result[name] = torch.zeros(0)
    return result


def try_artifact(rng: np.random.Generator, folder: Path, origins: list[tuple[Path, pd.DataFrame]]) -> None:
    origin, rows = origins[int(rng.integers(len(origins)))]
    config = (origin / "config.json").read_bytes()
    data = (origin / "model.safetensors").read_bytes()
    kind = rng.random()
    if kind < 0.2:  # wrong bytes
        broken = [bytearray(config), bytearray(data)]
        one = broken[int(rng.integers(2))]
        for _ in range(int(rng.integers(1, 4))):
            one[int(rng.integers(len(one)))] = int(rng.integers(256))
        if rng.random() < 0.3:
            del one[int(rng.integers(len(one))) :]
        config, data = bytes(broken[0]), bytes(broken[1])
    else:
        tree = json.loads(config)
        if kind < 0.4:
            data = save({k: v.contiguous() for k, v in damage_tensors(load(data), rng).items()})
            tree["sha256"] = sha256(data).hexdigest()
        else:
            damage_config(tree, rng)
        if kind < 0.9 and isinstance(tree, dict):
            tree["digest"] = manifest._digest(tree)
        config = json.dumps(tree, ensure_ascii=bool(rng.integers(2))).encode("utf-8", "backslashreplace")
    (folder / "config.json").write_bytes(config)
    (folder / "model.safetensors").write_bytes(data)
    try:
        item = load_artifact(folder)
    except MetamodalError as error:
        raise one_line(error) from None
    if isinstance(item, Predictor):
        item.predict(rows)
    elif isinstance(item, MetaModel):
        item.embed(rows)


class Watch:
    """Notes what a campaign made Python import or run."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in FORBIDDEN or (event == "import" and str(arguments[0]).split(".")[0] in _EVIL_MODULES):
            self.seen.append(f"{event} {arguments[:1]}")


_EVIL_MODULES = {"evil_module", "topics", "antigravity"}


def peak_mb() -> float:
    """The most memory that this program held; what a parent held before it started it is not counted."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / 1024**2 if sys.platform == "darwin" else held / 1024


def campaign(what: str, count: int, first: int) -> dict[str, Any]:
    watch, faults, refused = Watch(), [], 0
    signal.signal(signal.SIGALRM, _hang)
    with tempfile.TemporaryDirectory() as name:
        origins = []
        if what == "artifacts":
            (made := Path(name, "made")).mkdir()
            origins = artifacts(made)
        # what reading needs is imported before: the peak is of the inputs
        before = peak_mb()
        for seed in range(first, first + count):
            rng = np.random.default_rng(seed)
            folder = Path(name, "tried")
            folder.mkdir(exist_ok=True)
            watch.on, watch.seen = True, []
            signal.alarm(HANG)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    if what == "tables":
                        try_table(rng, folder)
                    else:
                        try_artifact(rng, folder, origins)
            except MetamodalError as error:
                refused += 1
                if count == 1:
                    print(error, file=sys.stderr)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                if count == 1:
                    traceback.print_exc()
                last = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{Path(last.filename).name}:{last.lineno}"
                faults.append(
                    {"seed": seed, "error": f"{type(error).__name__}: {str(error)[:300]}", "where": where}
                )
            finally:
                signal.alarm(0)
                watch.on = False
            if watch.seen:
                faults.append({"seed": seed, "error": f"ran or imported {watch.seen}", "where": ""})
    peak = peak_mb()
    return {
        "what": what,
        "tried": count,
        "refused": refused,
        "peak_mb": round(peak),
        "before_mb": round(before),
        "faults": faults,
    }


def _hang(*_: object) -> None:
    raise TimeoutError(f"took more than {HANG} s")


if __name__ == "__main__":
    faulthandler.enable()
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["tables", "artifacts"])
    parser.add_argument("count", type=int)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(campaign(options.what, options.count, options.first)))
