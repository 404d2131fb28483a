"""One row of three ready embeddings from Python, as a service predicts it, beside scikit-learn's pipeline on the same row.

One thread. The row is a record of three lists (64, 128 and 32 numbers) of four classes; ours reads, checks and
encodes it, the pipeline gets its vectors concatenated already. A prepared row has the kinds that training had, and
nothing is inferred. The median and the 95th percentile of 500 calls.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import metamodal as mm
from measured import peak_mib, print_line

REPEATS = 500
WIDTHS = {"image": 64, "text": 128, "audio": 32}


CENTRES = {name: np.random.default_rng(width).normal(size=(4, width)) for name, width in WIDTHS.items()}


def record(rng: np.random.Generator, label: int) -> dict[str, list[float]]:
    return {name: (rng.normal(size=width) + CENTRES[name][label]).tolist() for name, width in WIDTHS.items()}


def seconds(run: Callable[[], object]) -> list[float]:
    found = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        run()
        found.append(time.perf_counter() - began)
    return found


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    labels = [k % 4 for k in range(40)]
    rows = [record(rng, label) for label in labels]
    query = record(rng, 2)
    predictor = mm.MetaLearner(data__target="label").adapt(pd.DataFrame(rows).assign(label=labels))
    vectors = np.array([np.concatenate(list(row.values())) for row in rows])
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(vectors, labels)
    vector = np.concatenate(list(query.values()))[None]

    def ours() -> object:
        return predictor.predict(query)

    def prepared() -> object:
        return predictor.logits(predictor.batch([query]))

    def theirs() -> object:
        return pipeline.predict(vector)

    assert list(ours()) == list(theirs()) == [2]  # type: ignore[call-overload]
    peer = seconds(theirs)
    cases = (("a record read, checked and predicted", ours), ("a prepared record to logits", prepared))
    for formulation, run in cases:
        mine = seconds(run)
        print_line(
            "predict one row of three ready embeddings",
            formulation=formulation,
            baseline="scikit-learn's pipeline on a vector",
            seconds=statistics.median(mine),
            baseline_seconds=statistics.median(peer),
            peak_mb=peak_mib(run),
            repeats=REPEATS,
            p95_ms=round(1000 * statistics.quantiles(mine, n=20)[-1], 2),
            baseline_ms=round(1000 * statistics.median(peer), 2),
        )


if __name__ == "__main__":
    main()
