"""The contract of every learner, and each against a closed form or another library."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as SklearnRidge
from torch import Tensor, nn

from metamodal.components import component, component_record
from metamodal.errors import OptionError
from metamodal.mappings.fusion import fusions
from metamodal.mappings.model import NetworkSpec, build_model
from metamodal.meta.engine import Engine
from metamodal.meta.learners import MAML, PerModality, Prototypes, Ridge, learners
from metamodal.outputs import CLASSIFICATION, REGRESSION
from metamodal.types import Batch, Episode, Learner, Space

NAMES = ("a", "b", "c")
WAY, SHOT, QUERY, WIDTH = 4, 3, 5, 6


def engine(learner: Learner) -> Engine:
    torch.manual_seed(0)
    model = build_model(
        {m: ("embedding", Space(m, (WIDTH,))) for m in NAMES}, NetworkSpec(component(fusions, "mean"), 16)
    )
    return Engine(model, learner, NAMES)


def episode(seed: int = 0, shot: int = SHOT, noise: float = 0.5) -> Episode:
    g = torch.Generator().manual_seed(seed)
    centres = {m: torch.randn(WAY, WIDTH, generator=g) for m in NAMES}

    def batch(rows: int) -> Batch:
        codes = torch.arange(WAY).repeat_interleave(rows)
        inputs = {
            m: c[codes] + noise * torch.randn(len(codes), WIDTH, generator=g) for m, c in centres.items()
        }
        targets = torch.nn.functional.one_hot(codes, WAY).float()
        return Batch(inputs, {m: torch.ones(len(codes)).bool() for m in NAMES}, targets)

    return Episode(batch(shot), batch(QUERY))


def with_absent(batch: Batch, seed: int) -> Batch:
    g = torch.Generator().manual_seed(seed)
    present = {m: torch.rand(len(batch.targets), generator=g) > 0.4 for m in NAMES}
    present["a"] |= ~(present["b"] | present["c"])
    return batch._replace(present=present)


def logits(e: Engine, params, ep: Episode) -> Tensor:
    encoded = Episode(e.encode(params, ep.support), e.encode(params, ep.query))
    return e.predict(params, e.adapt(params, encoded.support), encoded.query)


def stacked(episodes: list[Episode]) -> Episode:
    def stack(batches: list[Batch]) -> Batch:
        return Batch(
            {m: torch.stack([b.inputs[m] for b in batches]) for m in NAMES},
            {m: torch.stack([b.present[m] for b in batches]) for m in NAMES},
            torch.stack([b.targets for b in batches]),
        )

    return Episode(stack([e.support for e in episodes]), stack([e.query for e in episodes]))


VARIANTS = {name: learners[name]() for name in learners} | {
    "maml first order": MAML(order=1),
    "anil": MAML(adapts="head"),
    "per modality over prototypes": PerModality(base=Prototypes()),
    "per modality without joint voice": PerModality(joint=False),
}


@pytest.fixture(params=VARIANTS)
def learner(request: pytest.FixtureRequest) -> Learner:
    return VARIANTS[request.param]


def test_an_easy_task_is_learned_without_meta_training(learner: Learner):
    e = engine(learner)
    params = e.initial()
    hits = [
        (logits(e, params, ep).argmax(1) == ep.query.targets.argmax(1)).float().mean()
        for ep in (episode(s, noise=0.2) for s in range(5))
    ]
    assert torch.stack(hits).mean() > 0.9


def test_many_tasks_at_once_equal_one_after_another(learner: Learner):
    e = engine(learner)
    params = e.initial()
    episodes = [
        Episode(with_absent(ep.support, s), with_absent(ep.query, s + 9))
        for s in range(3)
        for ep in [episode(s)]
    ]
    one_by_one = torch.stack([logits(e, params, ep) for ep in episodes])
    if e.learner.reads == "tokens":
        episodes = [Episode(*(e.encode(params, b) for b in ep)) for ep in episodes]
    at_once = e.logits(params, stacked(episodes))
    torch.testing.assert_close(at_once, one_by_one, atol=2e-4, rtol=2e-3)


def test_the_order_of_support_rows_does_not_matter(learner: Learner):
    e = engine(learner)
    params = e.initial()
    ep = episode()
    order = torch.randperm(WAY * SHOT, generator=torch.Generator().manual_seed(3))
    shuffled = Episode(ep.support.take(order), ep.query)
    torch.testing.assert_close(logits(e, params, ep), logits(e, params, shuffled), atol=2e-4, rtol=2e-3)


def test_the_order_of_classes_does_not_matter(learner: Learner):
    e = engine(learner)
    params = e.initial()
    ep = episode()
    order = torch.tensor([2, 0, 3, 1])
    renamed = Episode(*(b.labelled(b.targets[:, order]) for b in ep))
    torch.testing.assert_close(
        logits(e, params, ep)[:, order], logits(e, params, renamed), atol=2e-4, rtol=2e-3
    )


def test_a_query_row_is_predicted_from_the_support_and_itself_alone(learner: Learner):
    e = engine(learner)
    params = e.initial()
    ep = episode()
    alone = Episode(ep.support, ep.query.take(torch.tensor([7])))
    torch.testing.assert_close(logits(e, params, ep)[7:8], logits(e, params, alone), atol=1e-4, rtol=1e-3)


def test_garbage_in_absent_cells_changes_nothing(learner: Learner):
    e = engine(learner)
    params = e.initial()
    ep = Episode(*(with_absent(b, 4) for b in episode()))
    spoiled = Episode(
        *(
            b._replace(inputs={m: torch.where(b.present[m][:, None], x, 1e6) for m, x in b.inputs.items()})
            for b in ep
        )
    )
    assert torch.equal(logits(e, params, ep), logits(e, params, spoiled))


def test_the_query_loss_reaches_the_model_and_the_learner(learner: Learner):
    e = engine(learner)
    params = e.initial()
    ep = episode()
    CLASSIFICATION.loss(logits(e, params, ep), ep.query.targets).backward()
    moved = {k for k, v in params.items() if v.grad is not None and v.grad.abs().sum() > 0}
    assert any(k.startswith("model.encoders.0") for k in moved)
    assert any(k.startswith("learner.") for k in moved)
    assert all(v.grad is None or v.grad.isfinite().all() for v in params.values())


def test_a_learner_survives_its_record(learner: Learner):
    assert component(learners, component_record(learners, learner), "learner") == learner


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rigde", "learner='rigde': no such learner. Did you mean 'ridge'?"),
        ({"kind": "maml", "inner_Ir": 0.1}, "learner.inner_Ir: no such option. Did you mean 'inner_lr'?"),
        ({"kind": "maml", "steps": "five"}, "learner.steps='five': input should be a valid integer"),
        ({"kind": "per_modality", "base": "maml"}, "MAML has no leave-one-out predictions"),
    ],
)
def test_a_wrong_learner_is_an_error_with_a_suggestion(spec, message: str):
    with pytest.raises(OptionError) as caught:
        component(learners, spec, "learner")
    assert message in str(caught.value)


# Oracles


def tokens_engine(learner: Learner, names: tuple[str, ...] = ("a",)) -> Engine:
    """An engine whose embedding is the one modality's input itself."""
    from metamodal.mappings.model import untrained_model

    return Engine(untrained_model(names), learner, names)


def test_ridge_equals_sklearn_s():
    ep = Episode(*(b.only(["a"]) for b in episode()))
    e = tokens_engine(Ridge(penalty=0.7, temperature=3.0))
    unit = [torch.nn.functional.normalize(b.inputs["a"], dim=1).numpy() for b in ep]
    peer = SklearnRidge(alpha=0.7, fit_intercept=False).fit(unit[0], ep.support.targets.numpy())
    expected = 3.0 * (peer.predict(unit[1]) - 1 / WAY)
    np.testing.assert_allclose(logits(e, e.initial(), ep).detach().numpy(), expected, atol=1e-5)


def balanced(targets: Tensor) -> np.ndarray:
    """Row weights under which every class counts alike."""
    counts = targets.sum(0)
    return (len(targets) / WAY / (targets @ counts)).double().numpy()


def test_a_class_of_many_rows_counts_no_more_than_one_of_few():
    ep = Episode(*(b.only(["a"]) for b in episode(shot=5)))
    uneven = ep.support.take(torch.tensor([0, 1, 2, 3, 4, 5, 10, 11, 15]))
    e = tokens_engine(Ridge(penalty=0.7, temperature=3.0))
    z, q = (torch.nn.functional.normalize(b.inputs["a"], dim=1).numpy() for b in (uneven, ep.query))
    peer = SklearnRidge(alpha=0.7, fit_intercept=False)
    peer.fit(z, uneven.targets.numpy(), sample_weight=balanced(uneven.targets))
    found = logits(e, e.initial(), Episode(uneven, ep.query)).detach().numpy()
    np.testing.assert_allclose(found, 3.0 * (peer.predict(q) - 1 / WAY), atol=1e-4)


@pytest.mark.parametrize("base", [Ridge(), Prototypes()])
def test_leave_one_out_equals_leaving_one_out(base):
    ep = Episode(*(b.only(["a"]) for b in episode(seed=5, shot=5)))
    ep = Episode(ep.support.take(torch.tensor([0, 1, 2, 3, 4, 5, 6, 10, 11, 15, 16])), ep.query)
    e = tokens_engine(base)
    params = e.initial()
    state = e.adapt(params, ep.support)
    fast = base.leave_one_out(e.fn, params, state, ep.support)
    if isinstance(base, Ridge):
        # Refit with the other rows, under the weights of the whole support.
        z = torch.nn.functional.normalize(ep.support.inputs["a"], dim=1).double().numpy()
        y = ep.support.targets.double().numpy()
        for i in range(len(z)):
            rest = np.arange(len(z)) != i
            peer = SklearnRidge(alpha=base.penalty, fit_intercept=False)
            peer.fit(z[rest], y[rest], sample_weight=balanced(ep.support.targets)[rest])
            np.testing.assert_allclose(
                fast[i].detach().numpy(),
                base.temperature * (peer.predict(z[i : i + 1])[0] - 1 / WAY),
                atol=1e-4,
            )
        return
    for i in range(len(ep.support.targets)):
        rest = torch.arange(len(ep.support.targets)) != i
        slow = e.predict(params, e.adapt(params, ep.support.take(rest.nonzero()[:, 0])), ep.support)
        torch.testing.assert_close(fast[i], slow[i], atol=1e-4, rtol=1e-4)


def test_ridge_is_the_same_by_either_formula_where_they_meet():
    ep = Episode(*(b.only(["a"]) for b in episode(shot=1)))
    more = Episode(*(b.only(["a"]) for b in episode(shot=4)))
    assert len(ep.support.targets) < WIDTH < len(more.support.targets)
    for case in (ep, more):
        e = tokens_engine(Ridge(penalty=0.2, temperature=1.0))
        z, q = (torch.nn.functional.normalize(b.inputs["a"], dim=1).double() for b in case)
        y = case.support.targets.double()
        dual = q @ z.T @ torch.linalg.solve(z @ z.T + 0.2 * torch.eye(len(z)).double(), y) - 1 / WAY
        torch.testing.assert_close(logits(e, e.initial(), case).detach().double(), dual, atol=1e-5, rtol=1e-4)


def test_prototypes_are_nearest_class_means():
    ep = Episode(*(b.only(["a"]) for b in episode(seed=2)))
    e = tokens_engine(Prototypes())
    x, y = ep.support.inputs["a"], ep.support.targets
    means = (y.T @ x) / y.sum(0)[:, None]
    nearest = torch.cdist(ep.query.inputs["a"], means).argmin(1)
    assert torch.equal(logits(e, e.initial(), ep).argmax(1), nearest)


def test_maml_on_a_quadratic_equals_its_closed_form():
    """One step on softmax regression from zero: W = η Σ (y − 1/k) zᵀ / n."""
    ep = Episode(*(b.only(["a"]) for b in episode(seed=4)))
    e = tokens_engine(MAML(steps=1, inner_lr=0.5, start="zero"))
    scale = WIDTH**0.5
    z, q = (scale * torch.nn.functional.normalize(b.inputs["a"], dim=1) for b in ep)
    residual = (ep.support.targets - 1 / WAY) / len(z)
    expected = q @ (0.5 * residual.T @ z).T + 0.5 * residual.sum(0)
    torch.testing.assert_close(logits(e, e.initial(), ep).detach(), expected, atol=1e-5, rtol=1e-4)


def test_second_order_differs_from_first_in_the_meta_gradient_only():
    ep = episode()
    found = {}
    for order in (1, 2):
        e = engine(MAML(order=order, steps=3))
        params = e.initial()
        out = logits(e, params, ep)
        CLASSIFICATION.loss(out, ep.query.targets).backward()
        found[order] = (out.detach(), params["model.encoders.0.straight.weight"].grad)
    torch.testing.assert_close(found[1][0], found[2][0])
    assert not torch.allclose(found[1][1], found[2][1])


def test_maml_equals_a_plain_loop_of_autograd():
    ep = episode()
    e = engine(MAML(steps=3, inner_lr=0.05, start="zero"))
    params = e.initial()
    CLASSIFICATION.loss(logits(e, params, ep), ep.query.targets).backward()
    plain = {k: v.detach().clone().requires_grad_() for k, v in params.items()}
    fast = {k: v for k, v in plain.items() if k.startswith("model.")}
    fast |= {"w": torch.zeros(WAY, 16, requires_grad=True), "b": torch.zeros(WAY, requires_grad=True)}

    def out(weights, batch):
        z = e.fn(plain | weights, batch)
        z = z * 4 / z.norm(dim=1, keepdim=True)
        return z @ weights["w"].T + weights["b"]

    for _ in range(3):
        loss = CLASSIFICATION.loss(out(fast, ep.support), ep.support.targets)
        grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True, allow_unused=True)
        rate = plain["learner.log_inner_lr"].exp()
        fast = {k: v if g is None else v - rate * g for (k, v), g in zip(fast.items(), grads)}
    CLASSIFICATION.loss(out(fast, ep.query), ep.query.targets).backward()
    for k, v in plain.items():
        if v.grad is not None:
            torch.testing.assert_close(params[k].grad, v.grad, atol=1e-5, rtol=1e-3)


# The per-modality combinator


def noisy(seed: int, shot: int) -> Episode:
    """Modality a tells the class, b and c are noise."""
    ep = episode(seed, shot, noise=0.3)
    g = torch.Generator().manual_seed(seed + 100)
    return Episode(
        *(
            b._replace(
                inputs={m: x if m == "a" else torch.randn(x.shape, generator=g) for m, x in b.inputs.items()}
            )
            for b in ep
        )
    )


def test_the_support_teaches_which_modality_to_trust():
    e = tokens_engine(PerModality(joint=False), NAMES)
    params = e.initial()
    weights = torch.stack([e.adapt(params, noisy(s, 8).support)[1] for s in range(8)]).mean(0)
    assert weights[0] > 2 * weights[1]
    assert weights[0] > 2 * weights[2]


def test_with_one_example_a_class_the_prior_decides():
    e = tokens_engine(PerModality(joint=False), NAMES)
    params = e.initial()
    _, weights = e.adapt(params, noisy(0, 1).support)
    torch.testing.assert_close(weights, torch.full((3,), 1 / 3))


def test_distrusting_noise_beats_the_plain_sum_and_the_concatenation():
    def accuracy(learner: Learner) -> float:
        e = tokens_engine(learner, NAMES)
        params = e.initial()
        hits = [
            (logits(e, params, ep).argmax(1) == ep.query.targets.argmax(1)).float().mean()
            for ep in (noisy(s, 5) for s in range(20))
        ]
        return float(torch.stack(hits).mean())

    weighed = accuracy(PerModality(joint=False))
    assert weighed > accuracy(PerModality(joint=False, newton=0)) + 0.02
    assert weighed > accuracy(Ridge()) + 0.02


def test_the_weights_minimise_the_support_loss_they_are_said_to():
    learner = PerModality(joint=False, newton=30)
    g = torch.Generator().manual_seed(0)
    tests = torch.randn(12, WAY, 3, generator=g, dtype=torch.float64)
    targets = torch.nn.functional.one_hot(torch.arange(12) % WAY, WAY).double()
    tests = tests + 1.5 * targets[..., None] * torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64)
    trust, strength = (
        torch.tensor([0.4, 0.3, 0.3], dtype=torch.float64),
        torch.tensor(2.0, dtype=torch.float64),
    )
    w = learner._weights(tests, targets, trust, strength / trust.square(), torch.ones(12, 1).bool())

    def loss(w: Tensor) -> Tensor:
        fit = -(targets * torch.log_softmax((tests * w).sum(-1), -1)).sum()
        return fit + 0.5 * strength * (w / trust - 1).square().sum()

    gradient = torch.func.grad(loss)(w)
    assert ((gradient.abs() < 1e-6) | ((w == 0) & (gradient > 0))).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 500), st.integers(1, 4))
def test_any_pattern_of_absence_gives_finite_logits_and_gradients(seed: int, shot: int):
    ep = episode(seed, shot)
    g = torch.Generator().manual_seed(seed)
    ep = Episode(
        *(b._replace(present={m: torch.rand(len(b.targets), generator=g) > 0.7 for m in NAMES}) for b in ep)
    )
    for learner in VARIANTS.values():
        e = engine(learner)
        params = e.initial()
        found = logits(e, params, ep)
        assert found.isfinite().all()
        loss = CLASSIFICATION.loss(found, ep.query.targets)
        gradients = torch.autograd.grad(loss, list(params.values()), materialize_grads=True)
        assert all(g.isfinite().all() for g in gradients)


def test_a_class_that_no_support_row_shows_in_a_modality_is_neither_for_nor_against():
    ep = Episode(*(b.only(["a"]) for b in episode()))
    unseen = ep.support.targets[:, 2] == 0
    support = ep.support._replace(present={"a": unseen})
    for learner in (Ridge(), Prototypes()):
        e = tokens_engine(learner)
        params = e.initial()
        out = e.predict(params, e.adapt(params, support), ep.query)
        assert (out[:, 2] == 0).all()
        assert (out[:, 0] != 0).all()


def test_a_query_unlike_all_that_was_shown_may_belong_to_the_class_that_was_not():
    """Support and query are unit vectors of one modality; class 3 has no row in it."""
    z = torch.eye(WIDTH)[:WAY]
    there = torch.arange(WAY) < 3
    support = Batch({"a": z}, {"a": there}, torch.eye(WAY))
    query = Batch({"a": torch.eye(WIDTH)[[0, 5]]}, {"a": torch.ones(2).bool()}, torch.zeros(2, WAY))
    e = tokens_engine(Ridge())
    params = e.initial()
    assert e.predict(params, e.adapt(params, support), query).argmax(1).tolist() == [0, 3]


def test_engine_embeds_like_its_model():
    e = engine(Ridge())
    params = e.initial()
    batch = episode().query
    torch.testing.assert_close(e.embed(params, batch), e.model(batch))


def test_encoding_in_chunks_is_encoding():
    e = engine(Ridge())
    params = e.initial()
    batch = episode().query
    whole, chunked = e.encode(params, batch), e.encode(params, batch, chunk=3)
    for m in NAMES:
        torch.testing.assert_close(whole.inputs[m], chunked.inputs[m])
        assert torch.equal(whole.present[m], chunked.present[m])


def test_rows_of_zeros_do_not_count_in_the_loss():
    out = torch.randn(4, 3)
    targets = torch.eye(3)[[0, 1, 2, 0]]
    targets[3] = 0
    peer = nn.functional.cross_entropy(out[:3], torch.tensor([0, 1, 2]))
    torch.testing.assert_close(CLASSIFICATION.loss(out, targets), peer)


@pytest.mark.parametrize("name", ["ridge", "maml", "matching", "in_context"])
def test_without_a_support_row_numbers_are_those_of_the_regression_prior(name: str):
    learner = learners[name]()
    spaces = {m: ("embedding", Space(m, (WIDTH,))) for m in NAMES}
    model = build_model(spaces, NetworkSpec(component(fusions, "mean"), 16))
    e = Engine(model, learner, NAMES, REGRESSION, 2)
    g = torch.Generator().manual_seed(0)
    params = e.initial() | {
        "learner.regression_prior.weight": torch.randn(2, 16, generator=g),
        "learner.regression_prior.bias": torch.tensor([1.0, -2.0]),
    }
    rows = episode().query
    nothing = rows.take(torch.tensor([0])).labelled(torch.full((1, 2), torch.nan))
    found = logits(e, params, Episode(nothing, rows.labelled(torch.zeros(len(rows.targets), 2))))
    z = e.embed(params, rows)
    weight, bias = params["learner.regression_prior.weight"], params["learner.regression_prior.bias"]
    z = z * z.square().mean(-1, keepdim=True).rsqrt() if name == "maml" else z
    torch.testing.assert_close(found, z @ weight.mT + bias, atol=1e-4, rtol=1e-4)
