"""Imputed tokens: the product of what the others say, as sure as they are, and no surer."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metamodal.artifact import load_artifact, save_artifact
from metamodal.components import component
from metamodal.contrib.imputation import Imputer, surprise
from metamodal.data.dataset import Dataset, read_table
from metamodal.errors import OptionError
from metamodal.evaluation.evaluating import evaluate
from metamodal.evaluation.protocol import Protocol
from metamodal.experiment import Experiment, run
from metamodal.mappings.fusion import fusions
from metamodal.mappings.fusion.registry import Presence
from metamodal.mappings.model import NetworkSpec, build_model
from metamodal.model import MetaModel
from metamodal.nesting import nested
from metamodal.options import parse
from metamodal.types import Batch, Space

DIM = 12
NAMES = ("a", "b", "c")


def spread(module: nn.Module, std: float = 0.3) -> nn.Module:
    """Weights away from the zeros that some parts start at."""
    torch.manual_seed(3)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=std)
    return module


def some_tokens(n: int = 5, there: str = "abc") -> Batch:
    g = torch.Generator().manual_seed(1)
    inputs = {m: (1 + i) * torch.randn(n, DIM, generator=g) for i, m in enumerate(NAMES)}
    return Batch(inputs, {m: torch.full((n,), m in there) for m in NAMES}, torch.zeros(n, 0))


def side_by_side(tokens: Batch) -> tuple[Tensor, Tensor]:
    return torch.stack([*tokens.inputs.values()], 1), torch.stack([*tokens.present.values()], 1)


def density(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return (-0.5 * (x - mean).square() / variance).exp() / (2 * torch.pi * variance).sqrt()


@pytest.mark.parametrize("there", ["a", "c", "ac"])
def test_the_posterior_is_the_product_of_the_gaussians_with_the_prior_counted_once(there: str):
    """On a grid: `p(x) ∏_a p(x | a) / p(x)`, normalised by its sum, one dimension and row at a time."""
    imputer = spread(Imputer(3, DIM))
    z, present = side_by_side(some_tokens(there=there))
    said = imputer.guesses(z, torch.ones_like(present), [0, 1, 2])
    guess, confidence = imputer(z, present, [0, 1, 2])
    size = z.std(-1, correction=0)[present].view(5, -1).mean(1)
    center = imputer.center[1]
    variance = 1 - center.square().mean()
    x = torch.linspace(-12, 12, 6001)
    for row, dim in itertools.product(range(5), (0, 7)):
        prior = density(x, center[dim], variance)
        product = prior
        for a in (NAMES.index(m) for m in there):
            product = (
                product * density(x, said.mean[row, a, 1, dim], said.log_variance[row, a, 1].exp()) / prior
            )
        product = product / product.sum()
        mean = (product * x).sum()
        left = (product * (x - mean).square()).sum() / variance
        torch.testing.assert_close(guess[row, 1, dim], size[row] * mean, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(confidence[row, 1], 1 - left, atol=1e-4, rtol=1e-3)


def test_no_translation_is_less_sure_than_the_prior_or_surer_than_a_hundredth_of_it():
    imputer = spread(Imputer(3, DIM), std=5.0)
    with torch.no_grad():
        imputer.center.fill_(0.5)
    z, present = side_by_side(some_tokens(200))
    said = imputer.guesses(z, present, [0, 1, 2]).log_variance.exp() / 0.75
    assert said.max() <= 1 + 1e-5 and said.min() >= 0.01 - 1e-5
    assert said.max() > 0.99 and said.min() < 0.0101


@pytest.mark.parametrize("fusion", list(fusions))
def test_with_unit_variances_a_fusion_is_the_one_without_imputation(fusion: str):
    net = spread(fusions[fusion](NAMES, DIM))
    tokens = some_tokens(there="ac")
    plain = net(tokens)
    net.presence.imputer = spread(Imputer(3, DIM))
    assert not torch.allclose(net(tokens), plain)
    with torch.no_grad():
        net.presence.imputer.surety.fill_(-300.0)
    z, present = side_by_side(tokens)
    assert net.presence.imputer(z, present, [0, 1, 2])[1].max() == 0
    assert torch.equal(net(tokens), plain)


def test_an_absent_token_counts_as_its_own_weight_and_the_confidence_together():
    presence = Presence(NAMES)
    presence.imputer = spread(Imputer(3, DIM))
    tokens = some_tokens(there="ac")
    z, present = side_by_side(tokens)
    guess, c = (x[:, 1] for x in presence.imputer(z, present, [0, 1, 2]))
    row, weight = presence(tokens), np.exp(-4.0)
    torch.testing.assert_close(row.logits[:, 1].exp(), weight + c)
    mixed = (weight * z[:, 1] + c[:, None] * guess) / (weight + c)[:, None]
    torch.testing.assert_close(row.z[:, 1], mixed)
    assert torch.equal(row.z[:, [0, 2]], z[:, [0, 2]]) and torch.equal(
        row.logits[:, [0, 2]], torch.zeros(5, 2)
    )


def test_garbage_in_an_absent_token_reaches_neither_guess_nor_gradient():
    z, _ = side_by_side(some_tokens())
    present = torch.arange(15).view(5, 3) % 4 != 0
    found = []
    for garbage in (0.0, float("nan")):
        imputer = spread(Imputer(3, DIM))
        spoiled = torch.where(present[..., None], z, garbage)
        guess, confidence = imputer(spoiled, present, [0, 1, 2])
        loss = surprise(imputer.guesses(spoiled, present, [0, 1, 2]))
        (guess.square().sum() + confidence.sum() + loss).backward()
        found.append([guess, confidence, loss, *(p.grad for p in imputer.parameters())])
    assert all(torch.equal(one, two) for one, two in zip(*found))


def test_the_loss_is_a_likelihood_over_the_pairs_that_rows_have():
    imputer = spread(Imputer(3, DIM))
    z, _ = side_by_side(some_tokens())
    present = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 0]]).bool()
    said, losses = imputer.guesses(z, present, [0, 1, 2]), []
    for n, a, b in itertools.product(range(5), range(3), range(3)):
        if a != b and present[n, a] and present[n, b]:
            x, mean = F.layer_norm(z[n, b], (DIM,)), said.mean[n, a, b]
            gaussian = torch.distributions.Normal(mean, (0.5 * said.log_variance[n, a, b]).exp())
            least = torch.distributions.Normal(0.0, 0.001**0.5).log_prob(torch.tensor(0.0))
            losses.append((least - gaussian.log_prob(x) + 0.5 * (x - imputer.center[b]).square()).mean())
    assert len(losses) == 10
    torch.testing.assert_close(surprise(said), torch.stack(losses).mean())
    assert surprise(imputer.guesses(z, torch.zeros(5, 3).bool(), [0, 1, 2])) == 0


@pytest.fixture(scope="module")
def learned() -> tuple[Imputer, Tensor]:
    """An imputer that has learned of tokens a and b with a common cause and c apart, and tokens it has not seen."""
    g = torch.Generator().manual_seed(0)
    of_a, of_b, means = (torch.randn(*s, generator=g) for s in ((6, 24), (6, 24), (3, 24)))

    def drawn(n: int) -> Tensor:
        cause = torch.randn(n, 6, generator=g)
        noise = 0.5 * torch.randn(2, n, 24, generator=g)
        alone = torch.randn(n, 24, generator=g)
        return torch.stack([cause @ of_a / 2 + noise[0], cause @ of_b / 2 + noise[1], alone], 1) + 0.7 * means

    torch.manual_seed(0)
    imputer = Imputer(3, 24)
    optimiser = torch.optim.Adam(imputer.parameters(), 2e-2)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 1000)
    for _ in range(1000):
        optimiser.zero_grad()
        surprise(imputer.guesses(drawn(64), torch.ones(64, 3).bool(), [0, 1, 2])).backward()
        optimiser.step()
        slower.step()
    return imputer, drawn(2000)


def test_a_linear_relation_is_found_with_its_noise(learned):
    imputer, z = learned
    with torch.no_grad():
        said = imputer.guesses(z, torch.ones(2000, 3).bool(), [0, 1, 2])
    units = F.layer_norm(z, (24,)).double()
    known = torch.cat([units[:, 0], torch.ones(2000, 1)], 1)
    best = (known @ torch.linalg.lstsq(known, units[:, 1]).solution - units[:, 1]).square().mean()
    errors = (said.mean[:, 0, 1] - units[:, 1]).square().mean(-1)
    spread_of_b = (units[:, 1] - units[:, 1].mean(0)).square().mean()
    assert 1 - errors.mean() / spread_of_b > 0.95 * (1 - best / spread_of_b) > 0.6
    assert said.log_variance[:, 0, 1].exp().mean() == pytest.approx(float(errors.mean()), rel=0.08)
    inside = (said.mean[:, 0, 1] - units[:, 1]).abs() < 1.96 * said.log_variance[:, 0, 1, None].mul(0.5).exp()
    assert 0.93 < inside.double().mean() < 0.97


def test_confidence_is_the_share_explained_and_near_none_of_what_is_unrelated(learned):
    imputer, z = learned
    with torch.no_grad():
        present = torch.tensor([True, False, True]).expand(2000, 3)
        guess, confidence = imputer(z, present, [0, 1, 2])
        units = F.layer_norm(z, (24,))
        explained = (
            1
            - (imputer.guesses(z, ~present | present, [0, 1, 2]).mean[:, 0, 1] - units[:, 1]).var()
            / (units[:, 1] - units[:, 1].mean(0)).square().mean()
        )
        assert confidence[:, 1].mean() == pytest.approx(float(explained), abs=0.05)
        _, none = imputer(z, torch.tensor([True, True, False]).expand(2000, 3), [0, 1, 2])
        assert none[:, 2].mean() < 0.05
    apart, true = (x[:, 1] - x[:, 1].mean(0) for x in (guess, z))
    assert torch.cosine_similarity(apart, true).mean() > 0.8


def paired_table(classes: int = 40, rows: int = 8, seed: int = 0) -> pd.DataFrame:
    """Two vectors with a common cause that tells the classes apart; of half of the rows one is missing."""
    rng = np.random.default_rng(seed)
    to_v = np.random.default_rng(5).normal(size=(8, 8)) / 8**0.5
    found = []
    for k in range(classes):
        own = np.random.default_rng([13, k]).normal(size=8)
        for _ in range(rows):
            u = own + rng.normal(0, 0.6, 8)
            v = u @ to_v + rng.normal(0, 0.2, 8)
            u, v = (None if rng.random() < 0.5 else x.tolist() for x in (u, v))
            if u is None and v is None:
                u = (own + rng.normal(0, 0.6, 8)).tolist()
            found.append({"u": u, "v": v, "label": f"class{k:02}"})
    return pd.DataFrame(found)


def trained(data: Dataset, **options) -> MetaModel:
    train = {
        "steps": 300,
        "budget": 60.0,
        "episodes__way": 10,
        "validation__count": 2,
        "validation__episodes": 20,
        "fallback": False,
    }
    said = {"learner": "ridge", "model": {"dim": 24}, "train": nested(train | {"optimiser__lr": 3e-3})}
    return run(parse(Experiment, said | {"model": {"dim": 24} | options}), data).model


@pytest.fixture(scope="module")
def paired() -> Dataset:
    return read_table(paired_table(), target="label")


@pytest.fixture(scope="module")
def imputing(paired: Dataset) -> MetaModel:
    return trained(paired, impute=True)


@pytest.mark.slow
def test_meta_training_learns_to_impute_and_loses_nothing_by_it(paired: Dataset, imputing: MetaModel):
    plain = trained(paired)
    (score,), (rival,) = (
        [found.whole.score for found in evaluate(model, paired, [Protocol(5, 1, episodes=300)])]
        for model in (imputing, plain)
    )
    assert score[0] > rival[0] - score[1] - rival[1]
    assert score[0] > 0.3  # of five classes
    whole = paired_table(seed=9).dropna()
    tokens = imputing.shared(imputing.inputs(read_table(whole, target="label")))
    presence = imputing.engine.model.fusion.presence
    names = [f"model.fusion.presence.{k}" for k, _ in presence.named_parameters()]
    weights = {k.removeprefix("model.fusion.presence."): imputing.params[k] for k in names}
    gone = tokens._replace(present=tokens.present | {"v": torch.zeros(len(whole)).bool()})
    row = torch.func.functional_call(presence, weights, (gone,))
    guess, true = row.z[:, 1], tokens.inputs["v"]
    likeness = torch.cosine_similarity(guess - guess.mean(0), true - true.mean(0))
    assert likeness.mean() > 0.6
    assert row.logits[:, 1].exp().mean() > 0.25  # from 0.04 at the start


def test_a_model_that_imputes_comes_back_to_the_bit(imputing: MetaModel, tmp_path: Path):
    save_artifact(imputing, tmp_path / "m")
    again, rows = load_artifact(tmp_path / "m"), paired_table(seed=4).drop(columns="label")
    assert isinstance(again, MetaModel) and again.engine.model.imputes
    assert np.array_equal(again.embed(rows), imputing.embed(rows))


def test_rows_with_missing_cells_teach_the_imputer_too(paired: Dataset, imputing: MetaModel):
    params = {k: v.clone().requires_grad_() for k, v in imputing.params.items()}
    imputing.engine.embed(params, imputing.inputs(paired)).square().sum().backward()
    learns = {k: v.grad.abs().sum() > 0 for k, v in params.items() if ".imputer." in k}
    assert len(learns) == 7 and all(learns.values())


def test_imputation_takes_a_fusion_that_knows_what_is_present():
    fusions.register("bare")(lambda modalities, dim: nn.Identity())
    try:
        with pytest.raises(OptionError, match="the fusion bare has no Presence"):
            build_model(
                {"a": ("embedding", Space("a", (3,)))},
                NetworkSpec(component(fusions, "bare"), 8, impute=True),
            )
    finally:
        del fusions._items["bare"]
