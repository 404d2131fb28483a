"""Adapt and predict one task from ready features, against scikit-learn on the same features.

Unseen glyphs, 5-way 5-shot, 15 query rows a class, three modalities (image, outline, metrics), one
thread. One JSON line a learner: the median milliseconds of a task, the ratio to logistic regression
on the concatenation as a user would write it, both accuracies with their 95 % intervals over the
same episodes, and the memory that each adds at its peak.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from measured import peak_mib, print_line
from metamodal.data.dataset import read_table
from metamodal.data.tasks.episodes import Shape, draw_episodes, episodes_of, tasks_of
from metamodal.evaluation.metrics import interval
from metamodal.experiment import untrained_for
from metamodal.meta.learners import Convex, PerModality, Prototypes, Ridge
from metamodal.types import Batch, Episode, Learner

EPISODES = 200
LEARNERS: dict[str, Learner] = {
    "per_modality": PerModality(),
    "ridge": Ridge(),
    "prototypes": Prototypes(),
    "convex": Convex(),
}


def peer(episode: Episode) -> Tensor:
    """Logistic regression on standardised, concatenated features."""

    def vectors(batch: Batch) -> np.ndarray:
        return torch.cat([x * batch.present[m][:, None] for m, x in batch.inputs.items()], 1).numpy()

    scaler = StandardScaler().fit(vectors(episode.support))
    model = LogisticRegression(max_iter=200)
    model.fit(scaler.transform(vectors(episode.support)), episode.support.targets.argmax(1).numpy())
    return torch.from_numpy(model.predict_proba(scaler.transform(vectors(episode.query))))


def timed(run: Callable[[Episode], Tensor], episodes: list[Episode]) -> tuple[list[float], list[float]]:
    """Seconds and accuracy of each episode."""
    seconds, hits = [], []
    for episode in episodes:
        began = time.perf_counter()
        out = run(episode)
        seconds.append(time.perf_counter() - began)
        known = episode.query.targets.sum(1) > 0
        right = out.argmax(1) == episode.query.targets.argmax(1)
        hits.append(float(right[known].float().mean()))
    return seconds, hits


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    table = read_table("glyphs")
    rows = table.test
    for name, learner in LEARNERS.items():
        model = untrained_for(table, learner)
        features = model.inputs(rows)
        tasks = tasks_of(rows.labels(), rows.tasks(), rows.groups(), np.arange(len(rows)))
        draw = draw_episodes(tasks, Shape(5, 5, 15), EPISODES, np.random.default_rng(0))
        stack = episodes_of(features, draw, 5)
        episodes = [stack.some(t) for t in range(EPISODES)]

        def ours(episode: Episode, model: object = model) -> Tensor:
            with torch.no_grad():
                state = model.engine.adapt(model.params, episode.support)  # type: ignore[attr-defined]
                return model.engine.predict(model.params, state, episode.query)  # type: ignore[attr-defined]

        timed(ours, episodes[:5]), timed(peer, episodes[:5])
        found = {}
        for who, run in (("ours", ours), ("peer", peer), ("ours", ours), ("peer", peer)):
            seconds, hits = timed(run, episodes)
            found.setdefault(who, ([], hits))[0].extend(seconds)
        middle = {who: statistics.median(seconds) for who, (seconds, _) in found.items()}
        scores = {who: interval(torch.tensor(hits)) for who, (_, hits) in found.items()}
        print_line(
            f"adapt and predict: {name}, 5-way 5-shot, 3 modalities from features",
            formulation="closed form" if name != "convex" else "Newton steps",
            baseline="logistic regression",
            seconds=middle["ours"],
            baseline_seconds=middle["peer"],
            peak_mb=peak_mib(partial(timed, ours, episodes[:20])),
            repeats=2 * EPISODES,
            episodes=EPISODES,
            accuracy={who: [round(100 * x, 2) for x in score] for who, score in scores.items()},
        )


if __name__ == "__main__":
    main()
