"""Several losses: each loss, weighing, surgery and balance is its formula, and all go together."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import astuple
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from conftest import hidden_table
from metamodal.components import component
from metamodal.contrib import surgeries as contrib_surgeries
from metamodal.contrib.modality_balance import Modulation
from metamodal.contrib.weighings import DWA, Blending, GradNorm, Uncertainty
from metamodal.data.dataset import read_table
from metamodal.data.features.encode import Preprocessor
from metamodal.data.features.reading import read_cells
from metamodal.data.roles import Roles
from metamodal.errors import OptionError
from metamodal.experiment import Experiment, run
from metamodal.mappings.alignment import contrast
from metamodal.mappings.fusion import fusions
from metamodal.mappings.model import NetworkSpec
from metamodal.mappings.objectives import translation
from metamodal.meta.learners import learners
from metamodal.meta.outer import outer_rules
from metamodal.model import built
from metamodal.nesting import merged, nested
from metamodal.options import parse
from metamodal.reporting.loss_views import loss_view
from metamodal.spec import ModelSpec
from metamodal.training.context import Context, EncodedTable
from metamodal.training.episodes.pools import labelled_pools
from metamodal.training.episodes.sampler import EpisodeSampler
from metamodal.training.loop.meta_train import meta_train
from metamodal.training.loop.trainer import Trainer
from metamodal.training.losses import drawn_step
from metamodal.training.losses.diagnosis import diagnosed, pushes
from metamodal.training.losses.generalisation_gap import GapMeter
from metamodal.training.losses.modality_balance import modality_balances, scores
from metamodal.training.losses.multi_loss import MultiLoss
from metamodal.training.losses.surgery import aggregated, surgeries
from metamodal.training.losses.weighing import Gap, begun, weighings
from metamodal.training.options import TrainOptions
from metamodal.training.selection.trials import context_of
from metamodal.types import Params

BRIEF = {
    "steps": 3,
    "budget": 60.0,
    "episodes": {"way": 4, "cross_modal": 0.0},
    "validation": {"count": 1, "episodes": 4},
}
AVAILABLE = [
    pytest.param(
        name, marks=pytest.mark.skipif(name == "cagrad" and not find_spec("cvxpy"), reason="no cvxpy")
    )
    for name in surgeries
]


class Setup(NamedTuple):
    """What is trained, and how."""

    context: Context
    options: TrainOptions

    def sampler(self) -> EpisodeSampler:
        return EpisodeSampler(self.context)

    def loss(self, sampler: EpisodeSampler | None = None) -> MultiLoss:
        return MultiLoss(self.context, sampler or self.sampler(), self.options)

    def trainer(self) -> Trainer:
        return Trainer(self.context, self.options)

    def trained(self) -> Params:
        return meta_train(self.context, self.options).params


@pytest.fixture(scope="module")
def table():
    return read_table(hidden_table(20, 5), target="label")


@pytest.fixture(scope="module")
def ready(table):
    """A function from options to what training works on."""
    split, cells = table.split(0), read_cells(table)
    preprocessor = Preprocessor.fit(cells.rows(split.train))
    rows, tasks = preprocessor.encode(cells), labelled_pools(table, split, None)

    encoded = EncodedTable(preprocessor, rows, tasks, None, 0)

    def setup(learner: str = "ridge", **options) -> Setup:
        torch.manual_seed(0)
        spec = ModelSpec(NetworkSpec(component(fusions, "mean"), 16), learners[learner]())
        model = built(spec, preprocessor, Roles(target="label"))
        train = parse(TrainOptions, merged(BRIEF, nested(options)))
        return Setup(context_of(encoded, model, train), train)

    return setup


def rows_of(*vectors: list[float]) -> torch.Tensor:
    return torch.tensor(vectors)


class TestAlignment:
    @staticmethod
    def drawn(seed: int, n: int = 7, names: str = "abc", share: float = 0.7):
        rng = torch.Generator().manual_seed(seed)
        tokens = {m: torch.randn(n, 5, generator=rng) for m in names}
        present = {m: torch.rand(n, generator=rng) < share for m in names}
        return tokens, present, torch.randint(3, (n,), generator=rng), torch.tensor(1.3)

    @given(st.integers(0, 500))
    def test_it_equals_a_loop_over_pairs(self, seed: int):
        tokens, present, codes, log_scale = self.drawn(seed)
        pairs = []
        for a, b in itertools.permutations(tokens, 2):
            rows = []
            there = [j for j in range(len(codes)) if present[b][j]]
            for i in range(len(codes)):
                positive = [j for j in there if codes[j] == codes[i]]
                if not present[a][i] or not positive:
                    continue
                likeness = {
                    j: math.exp(math.exp(1.3) * float(F.cosine_similarity(tokens[a][i], tokens[b][j], 0)))
                    for j in there
                }
                logs = [math.log(likeness[j] / sum(likeness.values())) for j in positive]
                rows.append(-sum(logs) / len(logs))
            if rows:
                pairs.append(sum(rows) / len(rows))
        expected = sum(pairs) / len(pairs) if pairs else 0.0
        assert float(contrast(tokens, present, codes, log_scale)) == pytest.approx(
            expected, rel=1e-4, abs=1e-5
        )

    def test_two_modalities_with_rows_as_positives_are_the_symmetric_cross_entropy_of_clip(self):
        tokens, present, _, log_scale = self.drawn(0, 9, "ab", 1.1)
        a, b = (F.normalize(z, dim=-1) for z in tokens.values())
        logits, target = log_scale.exp() * a @ b.T, torch.arange(9)
        clip = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        torch.testing.assert_close(contrast(tokens, present, target, log_scale), clip)

    @given(st.integers(0, 500))
    def test_the_order_of_modalities_and_of_rows_changes_nothing(self, seed: int):
        tokens, present, codes, log_scale = self.drawn(seed)
        order = torch.randperm(len(codes), generator=torch.Generator().manual_seed(seed))
        other = contrast(
            {m: tokens[m][order] for m in "cab"},
            {m: present[m][order] for m in "cab"},
            codes[order],
            log_scale,
        )
        torch.testing.assert_close(other, contrast(tokens, present, codes, log_scale))

    @given(st.integers(0, 500), st.sampled_from([math.nan, math.inf, 1e30]))
    def test_absent_cells_change_no_bit_of_value_or_gradient(self, seed: int, garbage: float):
        tokens, present, codes, log_scale = self.drawn(seed)
        found = []
        for fill in (0.0, garbage):
            leaves = {
                m: torch.where(present[m][:, None], z, fill).requires_grad_() for m, z in tokens.items()
            }
            loss = contrast(leaves, present, codes, log_scale)
            gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
            found.append([loss.detach(), *gradients])
        assert all(torch.equal(one, two) for one, two in zip(*found))
        assert all(gradient.isfinite().all() for gradient in found[1])

    def test_with_nothing_to_align_it_is_zero_and_its_gradient_finite(self):
        tokens, present, codes, _ = self.drawn(0, 4, "ab")
        nobody = {"a": present["a"] | True, "b": present["b"] & False}
        leaf = torch.tensor(1.0, requires_grad=True)
        loss = contrast(tokens, nobody, codes, leaf)
        (gradient,) = torch.autograd.grad(loss, leaf)
        assert float(loss.detach()) == 0
        assert float(gradient) == 0


class TestWeighings:
    @pytest.mark.parametrize("weight", [1.0, 0.2])
    def test_variances_come_to_rest_where_they_equal_the_losses(self, weight: float):
        losses, weights = torch.tensor([0.3, 2.0, 7.0]), torch.full((3,), weight)
        params = {k: v.requires_grad_() for k, v in Uncertainty().parameters(3).items()}
        for _ in range(3000):
            loss = Uncertainty().loss(params, weights, losses)
            (gradient,) = torch.autograd.grad(loss, list(params.values()))
            with torch.no_grad():
                params["outer.log_variance"] -= 0.1 * gradient
        torch.testing.assert_close(params["outer.log_variance"].exp().detach(), losses, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(Uncertainty().factors(begun(3), params), 1 / losses, rtol=1e-3, atol=1e-3)

    def test_dynamic_weights_are_the_softmax_of_the_ratios_of_two_intervals(self):
        rule, state = DWA(temperature=2.0), begun(2)
        epochs = np.array([[[4.0, 1.0], [2.0, 3.0]], [[1.5, 2.0], [1.5, 2.0]], [[0.5, 2.2], [0.7, 2.4]]])
        factors = []
        for epoch in epochs:
            for losses in epoch:
                state = rule.stepped(state, torch.tensor(losses, dtype=torch.float32), torch.zeros(2))
            state = rule.validated(state, lambda: pytest.fail("it needs no episodes"))
            factors.append(state["factors"].numpy())
        means = epochs.mean(1)
        np.testing.assert_array_equal(factors[0], [1, 1])
        for i in (1, 2):
            ratio = means[i] / means[i - 1]
            expected = 2 * np.exp(ratio / 2) / np.exp(ratio / 2).sum()
            np.testing.assert_allclose(factors[i], expected, rtol=1e-5)

    @pytest.mark.parametrize("alpha", [0.0, 1.0])
    def test_gradient_norms_come_to_be_what_the_rule_wishes_on_quadratics(self, alpha: float):
        rule, state, x = GradNorm(alpha=alpha, rate=0.05), begun(2), torch.zeros(2)
        steep, centres = torch.tensor([1.0, 30.0]), rows_of([3.0, 0.0], [0.0, 2.0])
        for _ in range(2000):
            losses = 0.5 * steep * (x - centres).square().sum(1)
            gradients = steep[:, None] * (x - centres) * state["factors"][:, None]
            state = rule.stepped(state, losses, gradients.norm(dim=1))
            x = x - 0.01 * gradients.sum(0)
        norms = gradients.norm(dim=1)
        left = losses / state["first"]
        wish = norms.mean() * (left / left.mean()) ** alpha
        torch.testing.assert_close(norms, wish, rtol=0.02, atol=1e-4)
        assert float(state["factors"].sum()) == pytest.approx(2)
        if not alpha:
            assert abs(float(norms[0] / norms[1]) - 1) < 0.02

    def test_blending_weighs_by_what_generalised_over_what_was_learned_by_heart(self):
        rule, state = Blending(least=0.01), begun(3)
        nan = math.nan
        before = Gap(torch.tensor([2.0, 2.0, nan]), torch.tensor([2.1, 2.2, nan]))
        after = Gap(torch.tensor([1.0, 1.5, nan]), torch.tensor([1.6, 1.8, nan]))
        state = rule.validated(state, lambda: before)
        assert torch.equal(state["factors"], torch.ones(3))
        state = rule.validated(state, lambda: after)
        gained, grown = np.array([0.5, 0.4]), np.array([0.6 - 0.1, 0.3 - 0.2])
        expected = gained / grown**2
        np.testing.assert_allclose(state["factors"], [*(2 * expected / expected.sum()), 1], rtol=1e-4)
        worse = Gap(after.train, after.valid + 1)
        assert torch.equal(rule.validated(state, lambda: worse)["factors"], state["factors"])


class TestSurgery:
    one, two = [3.0, 1.0, 0.0], [-1.0, 2.0, 1.0]

    def test_two_gradients_in_conflict_lose_their_part_against_each_other(self):
        g, h = np.array(self.one), np.array(self.two)
        expected = g - (g @ h) / (h @ h) * h + h - (g @ h) / (g @ g) * g
        assert g @ h < 0
        for name in ("pcgrad", "upgrad"):  # of two gradients the same
            found = aggregated(rows_of(self.one, self.two), surgeries[name])
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    def test_mgda_finds_the_shortest_combination(self):
        g, h = np.array(self.one), np.array(self.two)
        share = np.clip((h - g) @ h / ((g - h) @ (g - h)), 0, 1)
        found = aggregated(rows_of(self.one, self.two), surgeries["mgda"])
        np.testing.assert_allclose(found, share * g + (1 - share) * h, atol=0.02)

    def test_nash_solves_its_bargain(self):
        rows = rows_of(self.one, self.two, [0.5, 0.0, 2.0])
        found = aggregated(rows, surgeries["nash"]).double()
        alpha = torch.linalg.lstsq(rows.T.double(), found).solution
        torch.testing.assert_close(rows.double() @ found, 1 / alpha, rtol=1e-3, atol=1e-3)

    @given(st.integers(0, 500))
    def test_upgrad_harms_no_loss_and_is_the_sum_where_none_conflicts(self, seed: int):
        rows = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
        found = aggregated(rows, surgeries["upgrad"])
        assert (rows @ found >= -1e-3 * rows.norm(dim=1) * found.norm()).all()
        agreed = rows.abs()
        torch.testing.assert_close(
            aggregated(agreed, surgeries["upgrad"]), agreed.sum(0), rtol=1e-4, atol=1e-4
        )

    @pytest.mark.parametrize("name", AVAILABLE)
    def test_one_loss_keeps_its_gradient_to_the_bit(self, name: str):
        row = torch.tensor(self.one)
        assert torch.equal(aggregated(row[None], surgeries[name]), row)
        beside = torch.stack([torch.zeros(3), row, torch.zeros(3)])
        assert torch.equal(aggregated(beside, surgeries[name]), row)

    def test_a_solver_that_is_missing_is_named(self, monkeypatch):
        monkeypatch.setattr(contrib_surgeries, "find_spec", lambda name: None)
        with pytest.raises(OptionError, match=r"pip install 'metamodal\[joint\]'"):
            aggregated(torch.eye(2), surgeries["cagrad"])

    def test_the_seed_and_not_torch_s_own_generator_decides(self):
        rows = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
        found = []
        for noise in (1, 2):
            torch.manual_seed(noise)
            before = torch.get_rng_state()
            found.append(aggregated(rows, surgeries["pcgrad"], torch.Generator().manual_seed(5)))
            assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(*found)


class TestModulation:
    @given(st.floats(0.05, 1.0), st.floats(0.01, 1.0), st.floats(0.01, 1.0))
    def test_the_one_ahead_is_slowed_as_the_formula_says_and_the_other_let_alone(self, alpha, a, b):
        factors = Modulation(alpha=alpha).factors({"a": a, "b": b})
        ahead = {"a": a / b} if a > b else {"b": b / a} if b > a else {}
        assert factors == {m: pytest.approx(1 - math.tanh(alpha * ratio)) for m, ratio in ahead.items()}

    def test_of_three_each_is_compared_with_the_mean_of_the_others(self):
        factors = Modulation(alpha=0.5).factors({"a": 0.9, "b": 0.5, "c": 0.1})
        assert factors == {"a": pytest.approx(1 - math.tanh(0.5 * 0.9 / 0.3))}

    def test_noise_is_as_large_as_the_gradient_varies(self):
        rng = torch.Generator().manual_seed(0)
        gradient = 3 + 2 * torch.randn(20_000, generator=rng)
        added = Modulation(noise=0.5).changed(gradient, 0.25, rng) - 0.25 * gradient
        assert float(added.std()) == pytest.approx(1.0, rel=0.05)

    def test_only_the_encoder_of_the_one_ahead_changes(self, ready):
        joint = (setup := ready(modality_balance="modulation")).loss()
        params = setup.context.engine.initial()
        outcome = joint.parsed(joint.outcome(params))._replace(scores=torch.tensor([0.2, 0.6]))
        changed = joint.balanced(outcome, params).split([v.numel() for v in params.values()])
        plain = outcome.gradient.split([v.numel() for v in params.values()])
        behind = 1 - math.tanh(0.3 * 0.6 / 0.2)
        for name, was, now in zip(params, plain, changed):
            expected = behind * was if name.startswith("model.encoders.1.") else was
            torch.testing.assert_close(now, expected, rtol=1e-6, atol=0)

    def test_a_score_is_the_mean_probability_of_the_right_class(self, ready):
        setup = ready(modality_balance="modulation", episodes__missing=1.0)
        step = drawn_step(setup.context, setup.sampler(), setup.context.engine.initial())
        for m, found in zip(step.drawn.rows.inputs, scores(step).tolist()):
            chances = step.unimodal(m).detach().softmax(-1)
            right = [
                float(chances[t, q, step.episodes.query.targets[t, q].argmax()])
                for t, q in itertools.product(*map(range, chances.shape[:2]))
                if step.episodes.query.present[m][t, q] and step.episodes.query.targets[t, q].any()
            ]
            assert found == pytest.approx(np.mean(right), rel=1e-4)


class TestJoint:
    def test_fixed_weights_give_the_gradient_of_the_plain_sum_to_the_bit(self, ready):
        setup = ready(
            losses__unimodal__weight=0.7, episodes__class_weight=0.5, losses__unimodal__coverage_power=1.0
        )
        params = setup.context.engine.initial()
        supply = setup.sampler()
        joint = setup.loss(supply)
        found = joint.parsed(joint.outcome(params))

        step = drawn_step(setup.context, supply := setup.sampler(), params)
        engine, targets = setup.context.engine, step.targets
        loss = engine.output.loss(engine.logits(params, step.episodes), targets)
        for name, weight in supply.balancer.modality_weights(1.0).items():
            alone = step.episodes.only([name])
            seen = targets * alone.query.present[name][..., None]
            loss = loss + 0.7 * weight * engine.output.loss(engine.logits(params, alone), seen)
        gradient = torch.autograd.grad(loss, list(params.values()), materialize_grads=True)
        assert torch.equal(found.gradient, torch.cat([g.flatten() for g in gradient]))
        assert torch.equal(found.value, loss.detach()[None])

    @pytest.mark.parametrize("options", [{"surgery": "none"}, {"weighing": "gradnorm"}])
    def test_gradients_taken_apart_add_up_to_the_whole(self, ready, options: dict):
        said = {"losses__align__weight": 0.5, "losses__supervised__weight": 0.3}
        whole, apart = ready(**said), ready(**said, **options)
        found = []
        for setup in (whole, apart):
            joint = setup.loss()
            joint.apart = setup is apart
            params = {
                k: v.requires_grad_() for k, v in (setup.context.engine.initial() | joint.start).items()
            }
            found.append(joint.parsed(joint.outcome(params)))
        torch.testing.assert_close(found[0].gradient, found[1].gradient, rtol=1e-4, atol=1e-6)
        assert (found[1].norms > 0).all()

    def test_a_weight_of_zero_computes_nothing(self, ready, monkeypatch):
        from metamodal.training.losses import align, supervised

        monkeypatch.setattr(align, "contrast", lambda *a: pytest.fail("aligned"))
        monkeypatch.setattr(supervised, "supervised", lambda *a: pytest.fail("supervised"))
        ready(losses__align__weight=0.0, losses__supervised__weight=0.0).trained()
        with pytest.raises(pytest.fail.Exception, match="aligned"):
            ready(losses__align__weight=0.1).trained()

    def test_the_supervised_loss_is_the_outer_rule(self, ready):
        setup = ready(losses__supervised__weight=2.0)
        joint = setup.loss()
        params = setup.context.engine.initial() | joint.start
        step = drawn_step(setup.context, joint.sampler, params)
        expected = outer_rules["supervised"](
            setup.context.engine, params, step.weighed, joint.sampler.numbers(step.drawn)
        )
        assert torch.equal(joint.losses(step)["supervised"], expected)
        assert joint.weights(params)["supervised"] == 2.0

    def test_rows_of_a_class_are_positives_and_alone_only_themselves(self, ready):
        setup = ready(losses__align__weight=1.0, losses__align__by="row")
        step = drawn_step(setup.context, setup.sampler(), setup.context.engine.initial())
        flat = torch.cat([step.drawn.draw.support, step.drawn.draw.query], 1).flatten()
        names = np.array(setup.context.pools.train[0].classes)
        of_row = {int(r): name for name, rows in zip(names, setup.context.pools.train[0].rows) for r in rows}
        for i, j in itertools.product(np.flatnonzero(step.real), repeat=2):
            same = of_row[int(flat[i])] == of_row[int(flat[j])]
            assert bool(step.classes[i] == step.classes[j]) == same
            assert bool(step.rows[i] == step.rows[j]) == bool(flat[i] == flat[j])

    @pytest.mark.parametrize("learner", ["maml", "per_modality"])
    def test_alignment_works_with_learners_that_adapt_encoders_and_those_that_do_not(
        self, ready, learner: str
    ):
        setup = ready(learner, losses__align__weight=1.0)
        joint = setup.loss()
        params = {k: v.requires_grad_() for k, v in (setup.context.engine.initial() | joint.start).items()}
        loss = joint.losses(drawn_step(setup.context, joint.sampler, params))["align"]
        gradients = torch.autograd.grad(loss, list(params.values()), materialize_grads=True)
        moved = {name.split(".")[2] for name, g in zip(params, gradients) if "encoders" in name and g.any()}
        assert moved == {"0", "1"}

    def test_rows_without_labels_are_aligned_too(self):
        frame = hidden_table(12, 5).drop(columns="label")
        train = merged(BRIEF, {"losses": {"align": 1.0}, "steps": 4, "validation": {"count": 4}})
        said = {"model": {"dim": 16}, "learner": "ridge", "train": train}
        done = run(parse(Experiment, said), read_table(frame))
        assert max(p.diagnosis.losses["align"].norm for p in done.trained.history) > 0


@pytest.mark.parametrize("balance", list(modality_balances))
@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("weighing", list(weighings))
def test_every_weighing_goes_with_every_surgery_and_balance(ready, weighing: str, name: str, balance: str):
    setup = ready(
        weighing=weighing,
        surgery=name,
        modality_balance=balance,
        losses__align__weight=0.5,
        validation__count=3,
    )

    def trained() -> Trainer:
        course = setup.trainer()
        course.validated(GapMeter(setup.context, tuple(course.loss_terms.fixed)))
        for _ in course.steps():
            course.validated(GapMeter(setup.context, tuple(course.loss_terms.fixed)))
        return course

    one, two = trained(), trained()
    assert one.step == 3
    assert math.isfinite(one.loss)
    start = setup.context.engine.initial()
    assert all(one.params[k].isfinite().all() for k in start)
    assert sum(not torch.equal(one.params[k], start[k]) for k in start) > len(start) / 2
    assert all(torch.equal(one.params[k], two.params[k]) for k in one.params)
    assert (one.loss_terms.factors >= 0).all()
    moves = weighing in ("gradnorm", "dwa", "blending")
    assert torch.equal(one.loss_terms.factors, torch.ones(len(one.loss_terms.fixed))) is not moves


@pytest.mark.parametrize("weighing", ["gradnorm", "uncertainty"])
def test_worker_processes_share_one_weighing(ready, weighing: str):
    setup = ready(weighing=weighing, surgery="pcgrad", modality_balance="modulation", workers=2)
    one, two = setup.trained(), setup.trained()
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert all(v.isfinite().all() for v in one.values())


@pytest.mark.parametrize("options", [{"surgery": "pcgrad"}, {"modality_balance": "modulation"}])
def test_learners_that_adapt_the_encoders_train_alike(ready, options: dict):
    setup = ready("maml", losses__align__weight=0.5, losses__supervised__weight=0.5, **options)
    trained, start = setup.trained(), setup.context.engine.initial()
    assert all(v.isfinite().all() for v in trained.values())
    assert any(not torch.equal(trained[k], v) for k, v in start.items() if "encoders" in k)


def test_a_saved_model_is_without_what_was_learned_beside_it(ready):
    setup = ready(weighing="uncertainty", losses__align__weight=0.5, losses__supervised__weight=0.5)
    assert {k for k in setup.trainer().params if k.startswith("outer.")} == {
        "outer.log_variance",
        "outer.log_scale",
        "outer.weight",
        "outer.bias",
    }
    assert set(setup.trained()) == set(setup.context.engine.initial())


class TestDiagnosis:
    def test_norms_shares_and_cosines_are_those_of_the_vectors(self):
        rows = rows_of([3.0, 4.0], [0.0, -5.0], [0.0, 0.0])
        found = pushes({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 0.5, "b": 1.0, "c": 1.0}, rows)
        expected = {"a": (1, 0.5, 5, 0.5, -0.8), "b": (2, 1, 5, 0.5, -0.8), "c": (3, 1, 0, 0, 0)}
        assert {name: astuple(push) for name, push in found.items()} == {
            name: pytest.approx(values) for name, values in expected.items()
        }

    def test_it_leaves_training_as_it_is(self, ready, monkeypatch):
        setup = ready(validation__count=3, surgery="pcgrad", episodes__missing=1.0)
        with_it = setup.trained()
        monkeypatch.setattr(Trainer, "diagnosed", lambda self: None)
        assert all(torch.equal(v, with_it[k]) for k, v in setup.trained().items())

    def test_a_modality_s_norm_is_that_of_its_encoder_s_gradient(self, ready):
        joint = (setup := ready()).loss()
        params = setup.context.engine.initial()
        found = diagnosed(joint, params)
        supply = setup.sampler()
        supply.reseed(10_007)
        losses = joint.losses(drawn_step(setup.context, supply, params))
        total = sum(losses.values())
        for i, (name, pull) in enumerate(found.modalities.items()):
            own = [v for k, v in params.items() if k.startswith(f"model.encoders.{i}.")]
            gradients = torch.autograd.grad(total, own, retain_graph=True)
            expected = math.sqrt(sum(float(g.square().sum()) for g in gradients))
            assert pull.norm == pytest.approx(expected, rel=1e-4), name
        assert sum(p.share for p in found.losses.values()) == pytest.approx(1)
        assert sum(p.share for p in found.modalities.values()) == pytest.approx(1)

    def test_it_is_in_the_history_the_record_the_log_and_the_report(self, cli, tmp_path):
        frame = hidden_table(16, 4)
        classes = frame["label"].str[-2:].astype(int)
        frame["part"] = ["train" if k < 10 else "valid" if k < 15 else "test" for k in classes]  # no test
        frame.to_parquet(tmp_path / "t.parquet")
        words = ["train", tmp_path / "t.parquet", "--target", "label", "--split", "part"]
        words += ["--out", tmp_path / "run", "--quiet"]
        options = [
            "learner=ridge",
            "train.steps=4",
            "train.validation.count=2",
            "train.episodes.way=5",
            "model.dim=16",
        ]
        said = cli(
            *words,
            *options,
            "train.validation.episodes=5",
            "train.losses.align=0.5",
            "train.weighing=uncertainty",
        )
        assert said.code == 0, said.err
        lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
        names = {"episodic", "unimodal.u", "unimodal.v", "align"}
        assert [set(line["losses"]) for line in lines] == [names, names]
        assert set(lines[0]["modalities"]) == {"u", "v"}
        assert set(lines[0]["losses"]["align"]) == {"loss", "weight", "norm", "share", "cosine"}
        record = json.loads((tmp_path / "run/model/config.json").read_text())["training"]["outcome"]["losses"]
        assert [point["losses"] for point in record] == [line["losses"] for line in lines]
        page = (tmp_path / "run/report.html").read_text()
        assert page.count('class="losses') == 2
        assert "λ in effect" in page

    def test_names_with_signs_of_formulas_and_tags_are_drawn_as_they_are(self):
        push = {"loss": 1.0, "weight": 1.0, "norm": 1.0, "share": 0.5, "cosine": -0.5}
        point = {"elapsed": 1.0, "losses": {"episodic": push, "unimodal.$x$<b>": push}, "modalities": {}}
        (chart,) = loss_view([point, point | {"elapsed": 2.0}]).charts
        assert "unimodal.$x$&lt;b&gt;" in chart
        assert loss_view([]) is None
        assert loss_view([point | {"losses": {"episodic": push}}]) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"weighing": "uncertainti"},
            "weighing='uncertainti': no such weighing. Did you mean 'uncertainty'?",
        ),
        ({"weighing": {"kind": "dwa", "heat": 1}}, "weighing.heat: no such option."),
        ({"surgery": "pcgard"}, "surgery='pcgard': no such surgery. Did you mean 'pcgrad'?"),
        (
            {"modality_balance": "modulate"},
            "modality_balance='modulate': no such modality balance. Did you mean 'modulation'?",
        ),
        (
            {"losses": {"supervised": 1.0}, "outer": "supervised"},
            "train.outer=supervised is that loss already",
        ),
        ({"weighing": "dwa", "outer": "displacement"}, "has a direction and no loss to weigh by"),
        ({"weighing": "blending", "losses": {"unimodal": 0.0}}, "Set train.losses.unimodal=1"),
    ],
)
def test_options_that_do_not_fit_are_errors_with_a_remedy(ready, options: dict, message: str):
    with pytest.raises(OptionError) as caught:
        ready(**options).trained()
    assert message in str(caught.value)


def test_one_modality_cannot_be_aligned():
    said = {"model": {"dim": 16}, "learner": "ridge", "train": BRIEF | {"losses": {"align": 1.0}}}
    with pytest.raises(OptionError, match="there is one modality, and nothing to align it with"):
        run(parse(Experiment, said), read_table(hidden_table(20, 5), target="label", use=["u"]))


def found_across(model, data) -> float:
    """The share of test rows whose token of one modality is nearest to one of its class in the other."""
    rows = data.split().test
    encoded = model.preprocessor.encode(read_cells(data)).take(torch.from_numpy(rows))
    with torch.no_grad():
        tokens = model.engine.tokens(model.params, encoded).inputs
    u, v = (F.normalize(tokens[m], dim=-1) for m in ("u", "v"))
    labels = data.labels()[rows]
    return float(np.mean(labels[(u @ v.T).argmax(1).numpy()] == labels))


def test_aligned_tokens_find_their_class_across_modalities_in_classes_never_seen(hidden):
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(32, 32)) / 32**0.5
    paired = hidden.assign(v=[(mix @ np.array(u) + rng.normal(0, 0.1, 32)).tolist() for u in hidden["u"]])
    data = read_table(paired, target="label")
    train = merged(
        BRIEF,
        {
            "steps": 120,
            "episodes": {"way": 16, "missing": 0.0},
            "optimiser": {"lr": 5e-3, "averaging": 0.9},
        },
    )

    def retrieved(align: float) -> float:
        said = {
            "model": {"dim": 32},
            "learner": "ridge",
            "train": merged(train, {"losses": {"align": align}}),
        }
        return found_across(run(parse(Experiment, said), data).model, data)

    aligned, apart = retrieved(1.0), retrieved(0.0)
    chance = 1 / len(set(data.labels()[data.split().test]))
    assert aligned > chance + 0.2
    assert aligned > apart + 0.2


def test_decoders_learn_what_one_modality_says_of_another(shapes: pd.DataFrame):
    data = read_table(shapes, target="label", use=["vector", "photo", "note"])

    def error(steps: int) -> float:
        train = {
            "steps": steps,
            "episodes__way": 8,
            "validation__count": 1,
            "validation__episodes": 10,
            "losses__translate__weight": 1.0,
            "optimiser__lr": 3e-3,
            "optimiser__averaging": 0.95,
            "losses__reconstruct__weight": 1.0,
        }
        model_options = {"dim": 32, "kinds": {"image": {"size": 16}}, "decoders": True}
        record = {"model": model_options, "learner": "prototypes", "train": nested(train)}
        model = run(parse(Experiment, record), data).model
        rows = model.inputs(data)
        with torch.no_grad():
            engine = model.engine
            decoded = engine.decode(model.params, engine.tokens(model.params, rows))
            assert set(decoded["note"]) == {"vector", "photo"}  # words are retrieved, not made
            return float(translation(decoded, rows.inputs, rows.present))

    assert error(120) < 0.96 < error(1)


def test_a_model_that_decodes_nothing_cannot_learn_to_translate(hidden: pd.DataFrame):
    record = {"learner": "ridge", "train": {"steps": 1, "losses": {"translate": 1.0}}}
    with pytest.raises(OptionError, match=r"train.losses.translate=1.0: .* model.decoders=true"):
        run(parse(Experiment, record), read_table(hidden, target="label"))
