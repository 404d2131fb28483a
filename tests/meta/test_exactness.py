"""Every fast formulation equals the plain one: loops of autograd, closed forms, other libraries."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from metamodal.components import component
from metamodal.mappings.fusion import SideBySide, fusions
from metamodal.mappings.layers import Conv1d, Conv2d, GroupNorm, LayerNorm, Linear
from metamodal.mappings.model import Model, NetworkSpec, build_model, untrained_model
from metamodal.meta.dual import Head, answers, descend
from metamodal.meta.engine import Engine
from metamodal.meta.learners import MAML, Convex, Matching
from metamodal.meta.outer import displacement
from metamodal.outputs import CLASSIFICATION, MULTILABEL, REGRESSION, Output
from metamodal.types import Batch, Episode, Learner, Params, Space, one_hot

RATE, STEPS = 0.1, 3


@pytest.fixture(autouse=True)
def in_double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def targets_of(output: Output, axes: tuple[int, ...], width: int) -> Tensor:
    """Targets with an unknown entry or row among them."""
    if output is CLASSIFICATION:
        codes = torch.arange(axes[-1]).remainder(width).expand(axes)
        return one_hot(codes, width).double()
    y = torch.randn(*axes, width) if output is REGRESSION else (torch.rand(*axes, width) > 0.5).double()
    return torch.where(torch.rand(y.shape) > 0.9, torch.nan, y)


def plain_descent(
    x: Tensor, y: Tensor, weights: Tensor, start: list[Tensor], output: Output, order: int
) -> Callable[[Tensor], Tensor]:
    """One task, weight matrices, autograd: what `descend` has to equal."""

    def out(w: list[Tensor], x: Tensor) -> Tensor:
        h = torch.relu(x @ w[2].T + w[3]) if len(w) == 4 else x
        return h @ w[0].T + w[1]

    w = start
    for _ in range(STEPS):
        loss = (output.losses(out(w, x), y) * weights).sum() / weights.sum().clamp(min=1)
        found = torch.autograd.grad(loss, w, create_graph=True)
        w = [v - RATE * (g.detach() if order == 1 else g) for v, g in zip(w, found)]
    return lambda q: out(w, q)


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from([CLASSIFICATION, MULTILABEL, REGRESSION]),
    st.sampled_from([0, 7]),
    st.sampled_from([1, 2]),
    st.integers(3, 9),
    st.integers(1, 6),
    st.integers(0, 10_000),
)
def test_descent_on_the_rows_equals_descent_on_the_weights(output, hidden, order, rows, width, seed):
    torch.manual_seed(seed)
    tasks, k = 2, 3
    x, q = torch.randn(tasks, rows, width, requires_grad=True), torch.randn(tasks, 4, width)
    y = targets_of(output, (tasks, rows), k)
    weights = output.weights(y) * torch.rand(tasks, rows)
    leaves = [torch.randn(tasks, k, hidden or width), torch.randn(tasks, k)]
    leaves += [torch.randn(hidden, width), torch.randn(hidden)]
    leaves = [v.requires_grad_() for v in leaves]

    def gradients(out: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(out.square().sum(), [x, *leaves], materialize_grads=True))

    head = Head(*leaves)
    found = descend(x, y, weights, head, output, rate=torch.tensor(RATE), steps=STEPS, order=order)
    ours = answers(found, q)
    each = []
    for t in range(tasks):
        start = [leaves[0][t], leaves[1][t], *(leaves[2:] if hidden else [])]
        each.append(plain_descent(x[t], y[t], weights[t], start, output, order)(q[t]))
    loop = torch.stack(each)
    for one, two in zip([ours, *gradients(ours)], [loop, *gradients(loop)]):
        torch.testing.assert_close(one, two, atol=1e-10 * (1 + float(two.detach().abs().sum())), rtol=0)


LAYERS = {
    "linear": (lambda: Linear(6, 4), (6,)),
    "linear without bias": (lambda: Linear(6, 4, bias=False), (5, 6)),
    "layer norm": (lambda: LayerNorm(6), (3, 6)),
    "group norm": (lambda: GroupNorm(2, 6), (6, 5, 5)),
    "conv2d": (lambda: Conv2d(3, 4, 3, stride=2, padding=1), (3, 9, 7)),
    "conv2d without bias": (lambda: Conv2d(3, 4, 3, bias=False), (3, 6, 6)),
    "conv2d, many patches": (lambda: Conv2d(64, 2, 3, padding=1), (64, 32, 32)),
    "conv1d": (lambda: Conv1d(3, 4, 5, stride=2, padding=2), (3, 11)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("tasks", [1, 3])
def test_a_layer_with_weights_by_task_equals_one_layer_a_task(name: str, tasks: int):
    build, shape = LAYERS[name]
    layer = build()
    stack = {k: torch.randn(tasks, *v.shape, requires_grad=True) for k, v in layer.named_parameters()}
    x = torch.randn(tasks * 2, *shape, requires_grad=True)
    together = functional_call(layer, stack, (x,))
    apart = torch.cat(
        [
            functional_call(layer, {k: v[t] for k, v in stack.items()}, (x[2 * t : 2 * t + 2],))
            for t in range(tasks)
        ]
    )
    torch.testing.assert_close(together, apart, atol=1e-10, rtol=1e-10)
    leaves = [x, *stack.values()]
    for one, two in zip(
        torch.autograd.grad(together.square().sum(), leaves),
        torch.autograd.grad(apart.square().sum(), leaves),
    ):
        torch.testing.assert_close(one, two, atol=1e-9, rtol=1e-10)


KINDS = {
    "image": (1, 9, 9),
    "series": (2, 16),
    "embedding": (5,),
    "points": (6, 4),
    "graph": (4, 8),
    "audio": (1, 16, 16),
    "video": (3, 1, 8, 8),
}


def modalities(tasks: int, rows: int) -> Episode:
    def batch(n: int) -> Batch:
        codes = torch.arange(n).remainder(3).expand(tasks, -1)
        inputs = {m: torch.randn(tasks, n, *shape).abs() for m, shape in KINDS.items()}
        present = {m: torch.rand(tasks, n) > 0.3 for m in KINDS}
        return Batch(inputs, present, one_hot(codes, 3).double())

    return Episode(batch(rows), batch(4))


def engine_of_all_kinds(learner: Learner, fusion: str, impute: bool) -> Engine:
    spaces = {m: (m, Space(m, shape)) for m, shape in KINDS.items()}
    model = build_model(spaces, NetworkSpec(component(fusions, fusion), 8, impute=impute))
    return Engine(model, learner, tuple(KINDS))


@pytest.mark.parametrize("fusion", list(fusions))
@pytest.mark.parametrize(
    ("learner", "impute"),
    [(MAML(steps=2), False), (MAML(steps=2), True), (MAML(steps=2, order=1, rates="each"), False)],
)
def test_every_encoder_and_fusion_adapts_in_a_stack_as_it_does_alone(
    learner: MAML, fusion: str, impute: bool
):
    engine = engine_of_all_kinds(learner, fusion, impute)
    assert engine.model.stacks
    params = engine.initial()
    stack = modalities(3, 6)
    at_once = engine.predict(params, engine.adapt(params, stack.support), stack.query)
    in_turn = torch.stack(
        [
            engine.predict(params, engine.adapt(params, task.support), task.query)
            for task in (stack.some(t) for t in range(3))
        ]
    )
    torch.testing.assert_close(at_once, in_turn, atol=1e-10, rtol=1e-10)
    leaves = list(params.values())
    for one, two in zip(
        torch.autograd.grad(at_once.square().sum(), leaves, materialize_grads=True),
        torch.autograd.grad(in_turn.square().sum(), leaves, materialize_grads=True),
    ):
        torch.testing.assert_close(one, two, atol=1e-9, rtol=1e-9)


def test_a_network_of_another_library_adapts_task_by_task():
    net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 8))
    engine = Engine(Model(("x",), [net], SideBySide(("x",)), 8), MAML(steps=2), ("x",))
    assert not engine.model.stacks
    params = engine.initial()
    stack = vectors(3, 6, 5)
    alone = [
        engine.predict(params, engine.adapt(params, task.support), task.query)
        for task in (stack.some(t) for t in range(3))
    ]
    torch.testing.assert_close(engine.logits(params, stack), torch.stack(alone))


def vectors(tasks: int, rows: int, width: int, classes: int = 3) -> Episode:
    def batch(n: int) -> Batch:
        codes = torch.arange(n).remainder(classes).expand(tasks, -1)
        x = torch.randn(tasks, n, width)
        return Batch({"x": x}, {"x": torch.ones(tasks, n).bool()}, one_hot(codes, classes).double())

    return Episode(batch(rows), batch(6))


class Vectors(nn.Module):
    """An encoder of two layers, the layers those that stacks need or torch's own."""

    def __init__(self, linear: type[nn.Linear]) -> None:
        super().__init__()
        self.one, self.two = linear(5, 9), linear(9, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.one(x)))


class Whole(nn.Module):
    """The same encoder with its last layer, as other libraries want a network."""

    def __init__(self, encoder: Vectors) -> None:
        super().__init__()
        self.encoder, self.head = Vectors(nn.Linear), nn.Linear(6, 3)
        self.encoder.load_state_dict(encoder.state_dict())
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        z = self.encoder(x)
        return self.head(z * (6**0.5 / z.norm(dim=-1, keepdim=True)))


def maml_and_peer(order: int) -> tuple[Params, Episode, Whole]:
    """Our meta-gradient by parameter name, and what a peer needs to work it out."""
    encoder = Vectors(Linear)
    model = Model(("x",), [encoder], SideBySide(("x",)), 6)
    engine = Engine(model, MAML(steps=STEPS, inner_lr=RATE, order=order, start="zero"), ("x",))
    params, stack = engine.initial(), vectors(4, 6, 5)
    loss = CLASSIFICATION.loss(engine.logits(params, stack), stack.query.targets)
    names = [k for k in params if k.startswith("model.encoders")]
    found = torch.autograd.grad(loss, [params[k] for k in names])
    return dict(zip([k.removeprefix("model.encoders.0.") for k in names], found)), stack, Whole(encoder)


def task_loss(out: Tensor, batch: Batch) -> Tensor:
    return F.cross_entropy(out, batch.targets.argmax(-1))


@pytest.mark.parametrize("order", [2, 1])
def test_meta_gradients_agree_with_higher(order: int):
    import higher

    ours, stack, net = maml_and_peer(order)
    optimiser = torch.optim.SGD(net.parameters(), lr=RATE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for t in range(4):
            task = stack.some(t)
            with higher.innerloop_ctx(net, optimiser, copy_initial_weights=False) as (fast, descent):
                for _ in range(STEPS):
                    callback = (lambda gs: [g.detach() for g in gs]) if order == 1 else None
                    descent.step(
                        task_loss(fast(task.support.inputs["x"]), task.support), grad_callback=callback
                    )
                (task_loss(fast(task.query.inputs["x"]), task.query) / 4).backward()
    for name, value in net.encoder.named_parameters():
        torch.testing.assert_close(ours[name], value.grad, atol=1e-10, rtol=1e-10)


def test_meta_gradients_agree_with_torchopt():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torchopt

    ours, stack, net = maml_and_peer(2)
    inner = torchopt.MetaSGD(net, lr=RATE)
    start_net, start_inner = torchopt.extract_state_dict(net), torchopt.extract_state_dict(inner)
    slow = dict(net.encoder.named_parameters())
    total = {k: torch.zeros_like(v) for k, v in slow.items()}
    for t in range(4):
        task = stack.some(t)
        for _ in range(STEPS):
            inner.step(task_loss(net(task.support.inputs["x"]), task.support))
        loss = task_loss(net(task.query.inputs["x"]), task.query) / 4
        for k, g in zip(slow, torch.autograd.grad(loss, list(slow.values()))):
            total[k] += g
        torchopt.recover_state_dict(net, start_net)
        torchopt.recover_state_dict(inner, start_inner)
    for k, g in total.items():
        torch.testing.assert_close(ours[k], g, atol=1e-10, rtol=1e-10)


def test_meta_sgd_moves_each_weight_at_its_own_rate():
    """One step on a quadratic: `θ' = θ − α ∘ ∇`."""
    engine = Engine(
        untrained_model(("x",)), MAML(steps=1, adapts="head", rates="each"), ("x",), REGRESSION, 1
    )
    engine.model.dim = 2
    params = {k: v.detach() for k, v in engine.initial().items()}
    params["learner.log_rate.head.weight"] = torch.tensor([0.1, 0.5]).log()
    x = torch.tensor([[3.0, 4.0], [4.0, -3.0]])
    batch = Batch({"x": x}, {"x": torch.ones(2).bool()}, torch.tensor([[1.0], [2.0]]))
    moved = engine.adapt(params, batch)
    z = x * 2**0.5 / 5
    expected = torch.tensor([0.1, 0.5]) * (batch.targets * z).mean(0)
    torch.testing.assert_close(moved["head.weight"][0], expected)


def test_displacement_is_how_far_descent_moves_the_weights():
    encoder = Vectors(Linear)
    engine = Engine(Model(("x",), [encoder], SideBySide(("x",)), 6), MAML(steps=2, start="zero"), ("x",))
    params, stack = engine.initial(), vectors(3, 6, 5)
    loss = displacement(engine, params, stack, torch.zeros(3, 3).long())
    found = dict(zip(params, torch.autograd.grad(loss, list(params.values()), materialize_grads=True)))
    name = "model.encoders.0.two.weight"
    moved = []
    for t in range(3):
        rows = stack.some(t).query
        moved.append(engine.learner.adapt(engine.fn, params, rows)[name].detach())
    torch.testing.assert_close(found[name], params[name].detach() - torch.stack(moved).mean(0))


def test_the_convex_head_is_logistic_regression_at_its_optimum():
    from sklearn.linear_model import LogisticRegression

    sharp, penalty = 3.0, 0.2
    stack = vectors(1, 12, 4)
    engine = Engine(untrained_model(("x",)), Convex(400, penalty, sharp), ("x",))
    ours = torch.softmax(engine.logits(engine.initial(), stack)[0], -1).detach()
    z, q = (sharp * F.normalize(b.inputs["x"][0], dim=-1).numpy() for b in stack)
    peer = LogisticRegression(C=1 / (sharp * penalty), fit_intercept=False, tol=1e-10, max_iter=10_000)
    peer.fit(z, stack.support.targets[0].argmax(-1).numpy())
    np.testing.assert_allclose(ours.numpy(), peer.predict_proba(q), atol=1e-5)


def test_matching_with_sharp_attention_is_the_nearest_row():
    stack = vectors(1, 9, 4)
    engine = Engine(untrained_model(("x",)), Matching(temperature=1e3), ("x",))
    guess = engine.logits(engine.initial(), stack)[0].argmax(-1)
    z, q = (F.normalize(b.inputs["x"][0], dim=-1) for b in stack)
    nearest = (q @ z.T).argmax(-1)
    assert torch.equal(guess, stack.support.targets[0].argmax(-1)[nearest])


@pytest.mark.parametrize("output", [CLASSIFICATION, MULTILABEL, REGRESSION])
def test_slopes_are_the_gradient_of_losses(output: Output):
    targets = targets_of(output, (7,), 3)
    logits = torch.randn(7, 3, requires_grad=True)
    (expected,) = torch.autograd.grad(output.losses(logits, targets).sum(), logits)
    torch.testing.assert_close(output.gradient(logits, targets).detach(), expected)
