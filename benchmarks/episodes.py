"""Many tasks at once against one task after another, for each learner on ready tokens.

One JSON line a case: 32 tasks, 5 ways, 5 shots, three modalities of width 128, adapt and predict
without gradients, on one thread; repeats alternate and the median counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from measured import peak_mib, print_line
from metamodal.components import component
from metamodal.mappings.fusion import fusions
from metamodal.mappings.model import NetworkSpec, build_model
from metamodal.meta.engine import Engine
from metamodal.meta.learners import MAML, PerModality, Prototypes, Ridge
from metamodal.types import Batch, Episode, Learner, Space, one_hot

REPEATS, TASKS, WAY, SHOT, QUERY, WIDTH = 7, 32, 5, 5, 15, 128
NAMES = ("a", "b", "c")
LEARNERS: dict[str, Learner] = {
    "prototypes": Prototypes(),
    "ridge": Ridge(),
    "per modality": PerModality(),
    "anil": MAML(adapts="head"),
}


def batch(rows: int) -> Batch:
    codes = torch.arange(WAY).repeat_interleave(rows).expand(TASKS, -1)
    inputs = {m: torch.randn(*codes.shape, WIDTH) for m in NAMES}
    return Batch(inputs, {m: torch.ones(codes.shape).bool() for m in NAMES}, one_hot(codes, WAY))


def task(stack: Batch, t: int) -> Batch:
    return Batch(
        {m: x[t] for m, x in stack.inputs.items()},
        {m: p[t] for m, p in stack.present.items()},
        stack.targets[t],
    )


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    episodes = Episode(batch(SHOT), batch(QUERY))
    for name, learner in LEARNERS.items():
        model = build_model(
            {m: ("embedding", Space(m, (WIDTH,))) for m in NAMES},
            NetworkSpec(component(fusions, "mean"), WIDTH),
        )
        engine = Engine(model, learner, NAMES)
        params = {k: v.detach() for k, v in engine.initial().items()}

        def at_once(engine: Engine = engine, params: dict[str, torch.Tensor] = params) -> None:
            engine.logits(params, episodes)

        def one_by_one(engine: Engine = engine, params: dict[str, torch.Tensor] = params) -> None:
            for t in range(TASKS):
                support, query = (task(stack, t) for stack in episodes)
                engine.predict(params, engine.adapt(params, support), query)

        with torch.no_grad():
            at_once(), one_by_one()
            times = [(seconds(at_once), seconds(one_by_one)) for _ in range(REPEATS)]
        own, peer = (statistics.median(column) for column in zip(*times))
        print_line(
            f"{name} on tokens, adapt and predict",
            formulation="a stack of tasks at once",
            baseline="a loop over tasks",
            seconds=own,
            baseline_seconds=peer,
            peak_mb=peak_mib(at_once),
            repeats=REPEATS,
        )


if __name__ == "__main__":
    main()
