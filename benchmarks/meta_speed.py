"""Meta-gradients of a stack of tasks against `higher` and against a plain loop of autograd.

One JSON line a case and baseline: milliseconds of a meta-gradient (forward and backward through the
inner loop), the median of alternating repeats, the ratio to the baseline in the same run, and the peak
memory that ours adds. The losses and the gradients of ours and of the loop are compared first; a case whose
gradients differ is an error, not a line.

    pip install higher && python benchmarks/meta_speed.py
"""

from __future__ import annotations

import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from measured import peak_mib, print_line
from metamodal.mappings.fusion import SideBySide
from metamodal.mappings.layers import Conv2d, GroupNorm, Linear
from metamodal.mappings.model import Model
from metamodal.meta.engine import Engine
from metamodal.meta.learners import MAML, Prototypes, Ridge
from metamodal.training.loop.workers import Workers
from metamodal.types import Batch, Episode, Learner, Params, one_hot

REPEATS, WAY, QUERY, RATE = 7, 5, 15, 0.05
_ORDER = {1: "first", 2: "second"}
Run = Callable[[], tuple[float, list[Tensor]]]


@dataclass
class Case:
    """A meta-gradient to work out, ours and the alternatives', and how many threads alternatives may use."""

    name: str
    formulation: str
    order: str | None
    ours: Run
    alternatives: dict[str, Run]
    threads: int = 1
    tolerance: float = 1e-4
    close: Callable[[], None] = field(default=lambda: None)


def episodes(tasks: int, shot: int, shape: tuple[int, ...]) -> Episode:
    def batch(rows: int) -> Batch:
        codes = torch.arange(WAY).repeat_interleave(rows).expand(tasks, -1)
        inputs = {"x": torch.randn(tasks, WAY * rows, *shape)}
        return Batch(inputs, {"x": torch.ones(codes.shape).bool()}, one_hot(codes, WAY))

    return Episode(batch(shot), batch(QUERY))


def meta_gradient(engine: Engine, params: Params, stack: Episode) -> Run:
    """Ours: the loss and its gradient in every parameter that has one."""
    constant = {"learner.log_inner_lr": torch.tensor(RATE).log()}

    def run() -> tuple[float, list[Tensor]]:
        total, value = [torch.zeros_like(v) for v in params.values()], 0.0
        for piece in engine.pieces(stack):
            share = len(piece.query.targets) / len(stack.query.targets)
            loss = share * engine.output.loss(engine.logits(params | constant, piece), piece.query.targets)
            value += float(loss.detach())
            for sum_, g in zip(total, gradients(loss, params)):
                sum_ += g
        return value, total

    return run


def free(engine: Engine) -> Params:
    """What there are gradients of: everything but the step size, which alternatives hold constant."""
    return {k: v for k, v in engine.initial().items() if k != "learner.log_inner_lr"}


def gradients(loss: Tensor, params: Params) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(params.values()), materialize_grads=True))


def unit(x: Tensor) -> Tensor:
    """Embeddings of length √d, as the learner has them."""
    return x * (x.shape[-1] ** 0.5 / x.norm(dim=-1, keepdim=True))


def plain_loop(
    stack: Episode, params: Params, body: Callable[[Params, Tensor], Tensor], fast: list[str], order: int
) -> Run:
    """One task after another, one weight matrix a task, autograd through every step."""
    tasks = len(stack.support.targets)

    def run() -> tuple[float, list[Tensor]]:
        total = [torch.zeros_like(v) for v in params.values()]
        value = 0.0
        for t in range(tasks):
            support, query = (b.inputs["x"][t] for b in stack)
            weights = {k: params[k] for k in fast}
            weights |= {"w": torch.zeros(WAY, width(params), requires_grad=True)}
            weights |= {"b": torch.zeros(WAY, requires_grad=True)}
            for _ in range(5):
                out = body(params | weights, support) @ weights["w"].T + weights["b"]
                loss = F.cross_entropy(out, stack.support.targets[t].argmax(-1))
                found = torch.autograd.grad(loss, list(weights.values()), create_graph=order == 2)
                weights = {k: v - RATE * g for (k, v), g in zip(weights.items(), found)}
            out = body(params | weights, query) @ weights["w"].T + weights["b"]
            loss = F.cross_entropy(out, stack.query.targets[t].argmax(-1)) / tasks
            value += float(loss.detach())
            for sum_, g in zip(total, gradients(loss, params)):
                sum_ += g
        return value, total

    return run


def width(params: Params) -> int:
    return len(params["learner.hidden.bias"]) if "learner.hidden.bias" in params else 64


def higher_loop(stack: Episode, net: nn.Module, order: int, prepared: Callable[[Tensor], Tensor]) -> Run:
    """The same inner loop by `higher` (archived), with a last layer of the network's own."""
    import higher

    optimiser = torch.optim.SGD(net.parameters(), lr=RATE)

    def run() -> tuple[float, list[Tensor]]:
        net.zero_grad()
        value, tasks = 0.0, len(stack.support.targets)
        for t in range(tasks):
            support, query = (prepared(b.inputs["x"][t]) for b in stack)
            labels = [b.targets[t].argmax(-1) for b in stack]
            with higher.innerloop_ctx(
                net, optimiser, copy_initial_weights=False, track_higher_grads=order == 2
            ) as (fast, descent):
                for _ in range(5):
                    descent.step(F.cross_entropy(fast(support), labels[0]))
                loss = F.cross_entropy(fast(query), labels[1]) / tasks
                loss.backward()
            value += float(loss.detach())
        return value, []

    return run


class Ready(nn.Module):
    """A model whose rows are embeddings already."""

    dim = 384
    stacks = True
    decoded: tuple[str, ...] = ()
    imputes = attends = False

    def forward(self, batch: Batch, stage: str) -> Tensor:
        return batch.inputs["x"]


def head_case(order: int) -> Case:
    """A head of 64 units on 384-d embeddings, 5-way 5-shot, 5 steps, 32 tasks."""
    stack = episodes(32, 5, (384,))
    learner = MAML(adapts="head", hidden=64, start="zero", inner_lr=RATE, order=order)  # type: ignore[arg-type]
    engine = Engine(Ready(), learner, ("x",))
    params = free(engine)

    def body(weights: Params, x: Tensor) -> Tensor:
        return torch.relu(unit(x) @ weights["learner.hidden.weight"].T + weights["learner.hidden.bias"])

    moving = ["learner.hidden.weight", "learner.hidden.bias"]
    net = nn.Sequential(nn.Linear(384, 64), nn.ReLU(), nn.Linear(64, WAY))
    alternatives = {
        "loop": plain_loop(stack, params, body, moving, order),
        "higher": higher_loop(stack, net, order, unit),
    }
    name = "mlp: MAML, 384-d embeddings, 64 hidden, 5-way 5-shot, 5 steps, 32 tasks"
    return Case(name, "dual inner loop", _ORDER[order], meta_gradient(engine, params, stack), alternatives)


class Net(nn.Module):
    """Four blocks of 64 filters, 28×28 to a vector of 64, as few-shot papers use them."""

    def __init__(
        self, *, pool: bool, conv: type[nn.Conv2d], norm: type[nn.GroupNorm], linear: type[nn.Linear]
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(4):
            layers += [
                conv(64 if i else 1, 64, 3, stride=1 if pool else 2, padding=1),
                norm(8, 64),
                nn.ReLU(),
            ]
            layers += [nn.MaxPool2d(2)] if pool else []
        self.layers = nn.Sequential(*layers, nn.Flatten(1))
        self.out = linear(64 if pool else 256, 64)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layers(x))


def conv_case(*, pool: bool, shot: int, tasks: int, workers: int = 1) -> Case:
    """All of a convolutional network adapts, second order, 5 steps."""
    stack = episodes(tasks, shot, (1, 28, 28))
    net = Net(pool=pool, conv=Conv2d, norm=GroupNorm, linear=Linear)
    plain = Net(pool=pool, conv=nn.Conv2d, norm=nn.GroupNorm, linear=nn.Linear)
    plain.load_state_dict(net.state_dict())
    engine = Engine(Model(("x",), [net], SideBySide(("x",)), 64), MAML(inner_lr=RATE, start="zero"), ("x",))
    params = free(engine)
    moving = [k for k in params if k.startswith("model.encoders")]

    def body(weights: Params, x: Tensor) -> Tensor:
        own = {k.removeprefix("model.encoders.0."): v for k, v in weights.items() if k in moving}
        return unit(functional_call(plain, own, (x,)))

    ours, close = meta_gradient(engine, params, stack), lambda: None
    if workers > 1:
        ours, close = shared(engine, params, stack, workers)
    alternatives = {
        "loop": plain_loop(stack, params, body, moving, 2),
        "higher": higher_loop(stack, nn.Sequential(plain, nn.Linear(64, WAY)), 2, lambda x: x),
    }
    kind = "max-pool" if pool else "stride"
    cores = f", {workers} cores" if workers > 1 else ""
    name = f"conv: MAML, 4 blocks of 64, {kind}, 5-way {shot}-shot, 5 steps, {tasks} tasks{cores}"
    at_once = engine.model.stacks and len(next(engine.pieces(stack)).query.targets) > 1
    formulation = "batched products, one weight a task" if at_once else "one task after another"
    return Case(name, formulation, _ORDER[2], ours, alternatives, threads=workers, close=close)


def shared(engine: Engine, params: Params, stack: Episode, count: int) -> tuple[Run, Callable[[], None]]:
    """Ours on several cores: each process works out the gradient of its part of the tasks."""
    part = len(stack.query.targets) // count

    def job(number: int) -> Tensor:
        value, found = meta_gradient(engine, params, stack.some(slice(number * part, (number + 1) * part)))()
        return torch.cat([torch.tensor([value]), *(g.flatten() for g in found)])

    workers = Workers(count, job, 1 + sum(v.numel() for v in params.values()))
    workers.__enter__()

    def run() -> tuple[float, list[Tensor]]:
        mean = workers.mean()
        parts = mean[1:].split([v.numel() for v in params.values()])
        return float(mean[0]), [g.view_as(v) for g, v in zip(parts, params.values())]

    return run, lambda: workers.__exit__(None, None, None)


def closed_case(learner: Learner, name: str) -> Case:
    """A learner in closed form on 384-d embeddings, against itself one task after another."""
    stack = episodes(32, 5, (384,))
    engine = Engine(Ready(), learner, ("x",))
    params = engine.initial()

    def loop() -> tuple[float, list[Tensor]]:
        total, value = [torch.zeros_like(v) for v in params.values()], 0.0
        for t in range(32):
            support, query = (b.some(t) for b in stack)
            out = engine.predict(params, engine.adapt(params, support), query)
            loss = engine.output.loss(out, query.targets) / 32
            value += float(loss.detach())
            for sum_, g in zip(total, gradients(loss, params)):
                sum_ += g
        return value, total

    case = f"{name}, 384-d embeddings, 5-way 5-shot, 32 tasks"
    return Case(
        case, "closed form, batched over tasks", None, meta_gradient(engine, params, stack), {"loop": loop}
    )


def cases() -> Iterator[Callable[[], Case]]:
    yield lambda: head_case(2)
    yield lambda: head_case(1)
    yield lambda: conv_case(pool=False, shot=1, tasks=16)
    yield lambda: conv_case(pool=False, shot=5, tasks=8)
    yield lambda: conv_case(pool=True, shot=1, tasks=8)
    if (os.cpu_count() or 1) > 1:
        yield lambda: conv_case(pool=False, shot=1, tasks=16, workers=2)
        yield lambda: conv_case(pool=False, shot=5, tasks=8, workers=2)
    yield lambda: closed_case(Prototypes(), "prototypes")
    yield lambda: closed_case(Ridge(), "ridge")


def check(case: Case) -> None:
    """The same loss and gradients as the loop, or an error."""
    (value, found), (expected, alternatives) = case.ours(), case.alternatives["loop"]()
    pairs = [(a, b) for a, b in zip(found, alternatives) if b.numel()]
    gap = max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-6)) for a, b in pairs)
    if abs(value - expected) > case.tolerance * abs(expected) or gap > 50 * case.tolerance:
        raise SystemExit(f"{case.name}: loss {value} and {expected}, gradients differ by {gap:.1e}")


def seconds(run: Run, threads: int) -> float:
    torch.set_num_threads(threads)
    began = time.perf_counter()
    run()
    passed = time.perf_counter() - began
    torch.set_num_threads(1)
    return passed


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for build in cases():
        torch.manual_seed(0)
        case = build()
        check(case)
        runs = {"ours": (case.ours, 1)} | {k: (run, case.threads) for k, run in case.alternatives.items()}
        times = [{k: seconds(run, n) for k, (run, n) in runs.items()} for _ in range(REPEATS)]
        middle = {k: statistics.median(row[k] for row in times) for k in runs}
        peaks = {k: peak_mib(run) for k, (run, _) in runs.items()} if case.threads == 1 else {}
        for alternative in case.alternatives:
            print_line(
                case.name,
                order=case.order,
                formulation=case.formulation,
                baseline=alternative,
                seconds=middle["ours"],
                baseline_seconds=middle[alternative],
                peak_mb=peaks.get("ours"),
                repeats=REPEATS,
                baseline_peak_mb=round(peaks[alternative], 1) if peaks else None,
            )
        case.close()


if __name__ == "__main__":
    main()
