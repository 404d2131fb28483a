"""Maps between feature spaces: closed forms equal their oracles, and every map keeps the contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from metamodal.components import component, component_record
from metamodal.errors import DataError, OptionError
from metamodal.mappings.maps import FittedMap, Linear, Pairs, fit_map, maps
from metamodal.mappings.maps.linear import left_out

QUICK: dict[str, dict[str, Any]] = {
    "nonlinear": {"steps": 200, "hidden": 32},
    "transformer": {"steps": 60, "width": 16},
    "autoencoder": {"steps": 300, "hidden": 64, "code": 5},
}


def quick(name: str) -> Any:
    return maps[name](**QUICK.get(name, {}))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def straight(rows: int = 60, noise: float = 0.3, seed: int = 0, dtype: torch.dtype = torch.float64) -> Pairs:
    """A linear map of five numbers to three, with noise, in units of its own."""
    g = seeded(seed)
    x = torch.randn(rows, 5, generator=g, dtype=dtype) * torch.tensor([1, 2, 3, 0.1, 10], dtype=dtype) + 4
    weight = torch.randn(5, 3, generator=seeded(7), dtype=dtype)
    y = x @ weight + 100 + noise * torch.randn(rows, 3, generator=g, dtype=dtype)
    return Pairs(x, y)


def curved(rows: int = 400, seed: int = 0) -> Pairs:
    g = seeded(seed)
    x = torch.randn(rows, 4, generator=g)
    y = torch.stack([x[:, 0] * x[:, 1], x[:, 2].abs()], 1)
    return Pairs(x, y + 0.05 * torch.randn(rows, 2, generator=g))


def test_linear_is_scikit_learn_s_ridge():
    pairs, more = straight(), straight(20, seed=1)
    peer = make_pipeline(StandardScaler(), Ridge(alpha=0.05 * 60)).fit(pairs.x.numpy(), pairs.y.numpy())
    found = fit_map(Linear(penalty=0.05), pairs, seeded())(more.x)
    np.testing.assert_allclose(found.mean.numpy(), peer.predict(more.x.numpy()), atol=1e-8)


@pytest.mark.parametrize("width", [4, 30], ids=["tall", "wide"])
def test_linear_s_leave_one_out_is_the_loop_s(width: int):
    x, y = torch.randn(20, width, generator=seeded()).double(), torch.randn(20, 2).double()
    errors, _ = left_out(x, y, 0.7)
    for i in range(20):
        rest = np.arange(20) != i
        peer = Ridge(alpha=0.7).fit(x[rest].numpy(), y[rest].numpy())
        np.testing.assert_allclose(errors[i], y[i].numpy() - peer.predict(x[i : i + 1].numpy())[0], atol=1e-8)


def test_linear_s_penalty_leaves_out_best_of_its_grid():
    pairs = straight(15, noise=5.0)
    chosen = float(fit_map(Linear(), pairs, seeded()).state["penalty"]) / 15
    scaled = [(z - z.mean(0)) / z.std(0, correction=0) for z in pairs[:2]]

    def error(penalty: float) -> float:
        return float(left_out(*scaled, 15 * penalty)[0].square().sum())

    assert all(error(chosen) <= error(other) for other in (1e-5, 1e-3, 1e-2, 0.1, 1.0, 10.0))
    assert chosen > 1e-5


def test_linear_s_standard_deviation_is_its_formula():
    pairs, more = straight(40), straight(5, seed=3)
    fit = fit_map(Linear(penalty=0.1), pairs, seeded())
    z, q = ((rows - pairs.x.mean(0)) / pairs.x.std(0, correction=0) for rows in (pairs.x, more.x))
    inverse = torch.linalg.inv(z.mT @ z + 4.0 * torch.eye(5).double())
    found = fit(more.x).std
    leverage = torch.stack([1 + 1 / 40 + row @ inverse @ row for row in q])
    expected = fit.state["sigma"] * pairs.y.std(0, correction=0) * leverage.sqrt()[:, None]
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


def test_linear_from_a_space_to_itself_is_the_identity():
    x = straight().x
    torch.testing.assert_close(fit_map(Linear(), Pairs(x, x), seeded())(x).mean, x, atol=1e-3, rtol=0)


def test_linear_is_less_sure_where_no_row_was():
    pairs = straight(10)
    wide = Pairs(torch.cat([pairs.x, torch.randn(10, 20).double()], 1), pairs.y)
    fit = fit_map(Linear(penalty=0.1), wide, seeded())
    far = wide.x[:1] + 5 * torch.randn(1, 25, generator=seeded()).double()
    assert (fit(far).std > fit(wide.x[:1]).std).all()


@pytest.mark.parametrize("name", ["nonlinear", "transformer"])
def test_a_network_does_better_than_a_line_where_there_is_none(name: str):
    pairs, more = curved(600), curved(200, seed=1)
    settings = {"transformer": {"steps": 600, "width": 32}, "nonlinear": {"steps": 600}}[name]

    def error(map: Any) -> float:
        return float((fit_map(map, pairs, seeded())(more.x).mean - more.y).square().mean())

    assert error(maps[name](**settings)) < 0.3 * error(Linear())


def test_rows_without_a_partner_make_a_better_autoencoder():
    g = seeded()
    hidden, weight = torch.randn(1500, 3, generator=g), torch.randn(3, 40, generator=g)
    seen = torch.tanh(hidden @ weight) + 0.5 * torch.randn(1500, 40, generator=g)
    pairs, test = Pairs(seen[:20], hidden[:20]), (seen[1000:], hidden[1000:])
    map = maps["autoencoder"](steps=400, hidden=64, code=3)

    def error(pairs: Pairs) -> float:
        return float((fit_map(map, pairs, seeded())(test[0]).mean - test[1]).square().mean())

    alone, along = error(pairs), error(pairs._replace(loose_x=seen[20:1000], loose_y=hidden[20:1000]))
    assert along < 0.7 * alone


@pytest.mark.parametrize("name", list(maps))
def test_about_95_percent_are_within_two_standard_deviations(name: str):
    pairs, more = straight(500, dtype=torch.float32), straight(2000, seed=1, dtype=torch.float32)
    found = fit_map(quick(name), pairs, seeded())(more.x)
    share = float(((more.y - found.mean).abs() < 2 * found.std).float().mean())
    assert 0.88 < share < 0.99


def tasks_that(differ: float, seed: int = 0, count: int = 30, rows: int = 24) -> tuple[Pairs, Tensor]:
    """Tasks of one linear map, each with a shift and a turn of its own; and which pairs are of which."""
    g = seeded(seed)
    common = torch.randn(4, 2, generator=seeded(5)).double()
    tasks = torch.arange(count).repeat_interleave(rows)
    own = differ * torch.randn(count, 4, 2, generator=g).double()
    shift = differ * torch.randn(count, 2, generator=g).double()
    x = torch.randn(count * rows, 4, generator=g).double()
    y = torch.einsum("nf,nfg->ng", x, common + own[tasks]) + shift[tasks]
    return Pairs(x, y + 0.5 * torch.randn(y.shape, generator=g).double(), tasks), tasks


def errors_of_new_tasks(differ: float, support: int) -> tuple[float, float, float]:
    """Mean squared error of adapted and of population maps, and the adapted one's share within 2 std."""
    pairs, _ = tasks_that(differ)
    fit = fit_map(maps["adaptive"](), pairs, seeded())
    new, tasks = tasks_that(differ, seed=1)
    adapted, population, within = [], [], []
    for task in range(30):
        x, y = new.x[tasks == task], new.y[tasks == task]
        own = fit.adapt(x[:support], y[:support])(x[support:])
        adapted.append((own.mean - y[support:]).square().mean())
        population.append((fit(x[support:]).mean - y[support:]).square().mean())
        within.append(((own.mean - y[support:]).abs() < 2 * own.std).double().mean())
    return tuple(float(torch.stack(values).mean()) for values in (adapted, population, within))


@pytest.mark.parametrize("support", [2, 12])
def test_an_adaptive_map_gains_where_tasks_differ(support: int):
    adapted, population, within = errors_of_new_tasks(1.0, support)
    assert adapted < (0.8 if support == 2 else 0.3) * population
    assert 0.9 < within < 0.98


@pytest.mark.parametrize("support", [1, 2, 12])
def test_an_adaptive_map_loses_nothing_where_tasks_do_not_differ(support: int):
    adapted, population, _ = errors_of_new_tasks(0.0, support)
    assert adapted <= population * 1.001


def test_an_adaptive_map_s_correction_is_ridge_on_what_is_left_over():
    pairs, tasks = tasks_that(1.0)
    fit = fit_map(maps["adaptive"](), pairs, seeded())
    x, y = pairs.x[tasks == 0][:8], pairs.y[tasks == 0][:8]
    shift, turn = fit.state["far"].tolist()
    assert shift > 0 and turn > 0
    z = (x - fit.state["x.mean"]) / fit.state["x.scale"]
    design = torch.cat([torch.full((8, 1), shift**0.5), z * (turn / 4) ** 0.5], 1)
    left = (y - fit(x).mean) / fit.state["y.scale"]
    weight = torch.linalg.solve(design.mT @ design + torch.eye(5).double(), design.mT @ left)
    expected = fit(x).mean + design @ weight * fit.state["y.scale"]
    torch.testing.assert_close(fit.adapt(x, y)(x).mean, expected, atol=1e-8, rtol=0)


def test_adapting_to_nothing_changes_nothing_and_other_maps_do_not_adapt():
    pairs, _ = tasks_that(1.0)
    fit = fit_map(maps["adaptive"](), pairs, seeded())
    assert torch.equal(fit.adapt(pairs.x[:0], pairs.y[:0])(pairs.x).mean, fit(pairs.x).mean)
    with pytest.raises(OptionError, match="Linear does not adapt to a task. Take 'adaptive'"):
        fit_map(Linear(), pairs, seeded()).adapt(pairs.x, pairs.y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", list(maps))
def test_a_map_gives_the_shape_and_type_of_its_targets_row_by_row(name: str, dtype: torch.dtype):
    pairs = straight(dtype=dtype)
    fit = fit_map(quick(name), pairs, seeded())
    mean, std = fit(pairs.x[:7])
    assert mean.shape == std.shape == (7, 3)
    assert mean.dtype == std.dtype == dtype
    assert (std > 0).all() and not mean.requires_grad
    torch.testing.assert_close(fit(pairs.x[2:3]).mean, mean[2:3], rtol=1e-4, atol=1e-4)
    assert (mean - pairs.y[:7]).square().mean() < pairs.y.var()


@pytest.mark.parametrize("name", list(maps))
def test_a_map_hangs_on_its_generator_alone(name: str):
    pairs = straight(dtype=torch.float32)
    torch.manual_seed(1)
    one, state = fit_map(quick(name), pairs, seeded(3)), torch.get_rng_state()
    torch.manual_seed(2)
    two = fit_map(quick(name), pairs, seeded(3))
    assert one.state.keys() == two.state.keys()
    assert all(torch.equal(v, two.state[k]) for k, v in one.state.items())
    torch.manual_seed(1)
    one(pairs.x)
    assert torch.equal(torch.get_rng_state(), state), "a map drew from the common generator"


@pytest.mark.parametrize("name", list(maps))
def test_a_map_comes_back_from_its_tensors_and_settings(name: str, tmp_path):
    from safetensors.torch import load_file, save_file

    pairs = straight(dtype=torch.float32)
    fit = fit_map(quick(name), pairs, seeded())
    save_file({k: v.contiguous() for k, v in fit.state.items()}, tmp_path / "map.safetensors")
    again = FittedMap(
        component(maps, component_record(maps, fit.map), "map"), load_file(tmp_path / "map.safetensors")
    )
    assert all(torch.equal(a, b) for a, b in zip(again(pairs.x), fit(pairs.x)))


@pytest.mark.parametrize("name", list(maps))
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_named(name: str, value: float):
    pairs = straight()
    fit = fit_map(quick(name), pairs, seeded())
    bad = pairs.x.clone()
    bad[4, 2] = value
    words = f"x row 4, column 2 is {value}. Leave the row out, or fill the value."
    for call in (lambda: fit(bad), lambda: fit_map(quick(name), pairs._replace(x=bad), seeded())):
        with pytest.raises(DataError, match=words):
            call()


def test_what_cannot_be_fitted_is_named():
    pairs = straight()
    with pytest.raises(DataError, match="2 pairs are too few to fit a map. Give 3 or more"):
        fit_map(Linear(), Pairs(pairs.x[:2], pairs.y[:2]), seeded())
    with pytest.raises(DataError, match="x has 60 rows and y 59: a pair is a row of both"):
        fit_map(Linear(), Pairs(pairs.x, pairs.y[:59]), seeded())
    loose = torch.tensor([[0.0, float("nan"), 0.0]]).double()
    with pytest.raises(DataError, match="loose_y row 0, column 1 is nan"):
        fit_map(Linear(), pairs._replace(loose_y=loose), seeded())
    with pytest.raises(OptionError, match="there is no 'liner'. Did you mean 'linear'"):
        maps["liner"]
