"""Tasks from rows without labels: every row a class of its own, and clusters of rows as classes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from metamodal.data.tasks.episodes import Draw, Task
from metamodal.types import Batch

__all__ = ["EACH_ROW", "crossed", "pseudo_tasks"]

EACH_ROW = "each row"
"""The name of the task whose classes are single rows."""
_MOST = 20_000  # rows that become classes of their own, or that clusters are found in
_REPEATS = 8  # a row's appearances in its class
_SIZES = (8, 16, 32)  # rows a cluster, on average, of the partitions of one view
_WIDTH = 64  # dimensions that clusters are found in


def pseudo_tasks(features: Batch, rows: np.ndarray, seed: int = 0) -> list[Task]:
    """Tasks over unlabelled rows.

    *Each row* is a class whose rows are that row over and over: what augmentation makes of it are its
    shots (UMTRA: Khodadadeh, Bölöni and Shah, 2019). *Clusters* by k-means over generic features, of
    every modality and of all together, are the classes of further tasks (CACTUs: Hsu, Levine and Finn,
    2019): several random partitions of each, by clusters of several sizes and under random scales.

    Args:
        features: the rows' generic features, in the order of `rows`.
        rows: their numbers in the table that the tasks are to point into.
    """
    rng = np.random.default_rng(seed)
    there = torch.stack(list(features.present.values())).any(0).numpy()
    some = rng.permutation(np.flatnonzero(there))[:_MOST]
    names = tuple(f"row {rows[i]}" for i in some)
    repeated = tuple(np.full(_REPEATS, rows[i]) for i in some)
    each = Task(EACH_ROW, names, repeated, tuple(np.full(_REPEATS, -1) for _ in some))
    return [each, *_clustered(features, rows, rng)]


def crossed(batch: Batch, draw: Draw, share: float, generator: Generator) -> Batch:
    """Drawn rows of which, in a share of the episodes, support and query show different modalities.

    Two modalities of one row belong together, and so do those of rows of one cluster: this is what
    teaches a modality to answer for another. A row keeps what it has if it would lose everything.
    """
    names = list(batch.present)
    tasks, shots = draw.support.shape
    if len(names) < 2 or not share:
        return batch
    order = torch.rand(tasks, len(names), generator=generator).argsort(1)
    side = torch.rand(tasks, len(names), generator=generator) < 0.5
    side = side.scatter(1, order[:, :1], True).scatter(1, order[:, 1:2], False)
    queries = draw.query.shape[1]
    on = torch.cat([side[:, None].expand(-1, shots, -1), ~side[:, None].expand(-1, queries, -1)], 1)
    chosen = (torch.rand(tasks, 1, 1, generator=generator) < share).expand_as(on)
    kept = (on | ~chosen).flatten(0, 1)
    present = torch.stack([batch.present[m] for m in names], -1)
    kept = torch.where((present & kept).any(-1, keepdim=True), present & kept, present)
    return batch._replace(present={m: kept[:, i] for i, m in enumerate(names)})


def _clustered(features: Batch, rows: np.ndarray, rng: np.random.Generator) -> Iterator[Task]:
    views = {name: (features.only([name]), features.present[name]) for name in features.inputs}
    if len(views) > 1:
        views["all"] = (features, torch.stack(list(features.present.values())).all(0))
    for view, (batch, present) in views.items():
        at = rng.permutation(np.flatnonzero(present.numpy()))[:_MOST]
        if len(at) < 4:
            continue
        x = _narrowed(batch.take(torch.from_numpy(at)), rng)
        for size in _SIZES:
            count = min(500, max(2, len(at) // size))
            scales = np.asarray(rng.uniform(0.5, 1.5, x.shape[1]), dtype=np.float32)
            codes = _clusters(x * scales, count, rng)
            members = [rows[at[codes == k]] for k in range(count)]
            members = [m for m in members if len(m) > 1]
            if len(members) > 1:
                names = tuple(f"{view}, {size} a cluster, {k}" for k in range(len(members)))
                task = f"clusters by {view}, {size} a cluster"
                yield Task(task, names, tuple(members), tuple(np.full(len(m), -1) for m in members))


def _narrowed(batch: Batch, rng: np.random.Generator) -> np.ndarray:
    """Whitened principal components of all modalities side by side."""
    x = torch.cat([F.normalize(v, dim=1) for v in batch.inputs.values()], 1)
    x = x - x.mean(0)
    width = min(_WIDTH, *x.shape)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    seen = x[torch.randperm(len(x), generator=generator)[:4000]]
    _, _, basis = torch.linalg.svd(seen.double(), full_matrices=False)
    narrow: Tensor = x @ basis[:width].T.float()
    return (narrow / narrow.std(0).clamp(min=1e-6).sqrt()).numpy()


def _clusters(x: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fewer distinct rows than clusters
        seed = int(rng.integers(2**31))
        model = MiniBatchKMeans(count, batch_size=2048, n_init=1, max_iter=30, random_state=seed)
        return model.fit_predict(x)
