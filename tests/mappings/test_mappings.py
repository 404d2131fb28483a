"""Encoders, fusion and the model: any subset of modalities, and nothing from an absent cell."""

from __future__ import annotations

import itertools
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from metamodal.components import component
from metamodal.data.modalities import modalities
from metamodal.mappings.encoders import encoders
from metamodal.mappings.fusion import fusions
from metamodal.mappings.model import Model, NetworkSpec, build_model, untrained_model
from metamodal.types import Batch, Space

SHAPES = {
    "image": (1, 16, 16),
    "series": (3, 20),
    "text": (64,),
    "tabular": (5,),
    "embedding": (7,),
    "audio": (2, 24, 30),
    "video": (4, 1, 16, 16),
    "points": (12, 5),
    "graph": (6, 3 + 1 + 6),
}
DIM = 32


def model(fusion: str = "mean", impute: bool = False) -> Model:
    torch.manual_seed(0)
    spaces = {k: (k, Space(k, s)) for k, s in SHAPES.items()}
    built = build_model(spaces, NetworkSpec(component(fusions, fusion), DIM, impute=impute))
    for parameter in built.parameters():  # away from the zeros that some parts start at
        torch.nn.init.normal_(parameter, std=0.2)
    return built


@cache
def model_with(fusion: str, impute: bool) -> Model:
    return model(fusion, impute)


ENCODED = model()


def rows(n: int = 6, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    inputs = {k: torch.randn(n, *s, generator=g) for k, s in SHAPES.items()}
    return Batch(inputs, {k: torch.ones(n).bool() for k in SHAPES}, torch.zeros(n, 0))


@pytest.fixture(params=list(fusions))
def fusion(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[False, True], ids=["", "impute"])
def impute(request: pytest.FixtureRequest) -> bool:
    return request.param


def test_every_readable_kind_has_an_encoder():
    assert set(modalities) <= set(encoders)


@pytest.mark.parametrize("kind", list(encoders))
def test_an_encoder_gives_one_token_a_row_that_hangs_on_that_row_alone(kind: str):
    torch.manual_seed(0)
    encoder = encoders[kind](SHAPES[kind], DIM)
    x = rows().inputs[kind]
    z = encoder(x)
    assert z.shape == (6, DIM)
    for i in range(6):
        torch.testing.assert_close(encoder(x[i : i + 1])[0], z[i], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", list(encoders))
def test_an_encoder_survives_vmap_with_second_order_gradients(kind: str):
    torch.manual_seed(0)
    encoder = encoders[kind](SHAPES[kind], DIM)
    weights = {k: v.detach() for k, v in encoder.named_parameters()}

    def loss(w: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(encoder, w, (x,)).square().mean()

    def after_a_step(w: dict[str, Tensor], x: Tensor) -> Tensor:
        g = torch.func.grad(loss)(w, x)
        return loss({k: v - 0.1 * g[k] for k, v in w.items()}, x)

    x = torch.stack([rows(2, s).inputs[kind] for s in range(2)])
    stacked = torch.func.vmap(torch.func.grad(after_a_step), in_dims=(None, 0))(weights, x)
    for i in range(2):
        alone = torch.func.grad(after_a_step)(weights, x[i])
        for k, g in alone.items():
            torch.testing.assert_close(stacked[k][i], g, atol=1e-5, rtol=1e-3)


def test_garbage_in_an_absent_cell_changes_no_bit(fusion: str, impute: bool):
    net, clean = model(fusion, impute), rows()
    present = {k: torch.arange(6) % (i + 2) != 0 for i, k in enumerate(SHAPES)}
    spoiled = {
        k: torch.where(present[k].view(-1, *[1] * (x.dim() - 1)), x, float("nan"))
        for k, x in clean.inputs.items()
    }
    one = net(clean._replace(present=present))
    two = net(Batch(spoiled, present, clean.targets))
    assert torch.equal(one, two)


def test_garbage_in_an_absent_cell_changes_no_gradient(fusion: str, impute: bool):
    present = {k: torch.arange(6) % 2 == i % 2 for i, k in enumerate(SHAPES)}
    gradients = []
    for garbage in (0.0, float("nan")):
        net, clean = model(fusion, impute), rows()
        inputs = {
            k: torch.where(present[k].view(-1, *[1] * (x.dim() - 1)), x, garbage)
            for k, x in clean.inputs.items()
        }
        net(Batch(inputs, present, clean.targets)).square().sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    for a, b in zip(*gradients):
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a, b)


def test_a_modality_left_out_is_a_modality_absent_in_every_row(fusion: str, impute: bool):
    net, whole = model(fusion, impute), rows()
    absent = whole.present | {"text": torch.zeros(6).bool(), "image": torch.zeros(6).bool()}
    masked = net(whole._replace(present=absent))
    left_out = net(whole.only([k for k in SHAPES if k not in ("text", "image")]))
    torch.testing.assert_close(masked, left_out)


@settings(max_examples=20, deadline=None)
@given(st.permutations(list(SHAPES)))
def test_the_order_of_modalities_in_a_batch_does_not_matter(order: list[str]):
    whole = rows()
    shuffled = Batch({k: whole.inputs[k] for k in order}, {k: whole.present[k] for k in order}, whole.targets)
    present = {k: torch.arange(6) % (i + 2) != 0 for i, k in enumerate(SHAPES)}
    for there in (whole.present, present):
        one, two = (
            ENCODED.encode(batch._replace(present={k: there[k] for k in batch.inputs}))
            for batch in (whole, shuffled)
        )
        for fusion, impute in itertools.product(fusions, (False, True)):
            net = model_with(fusion, impute)
            torch.testing.assert_close(net.fuse(one), net.fuse(two))


def test_the_absent_token_is_used_and_is_learned(fusion: str, impute: bool):
    net, whole = model(fusion, impute), rows()
    absent = whole._replace(present=whole.present | {"text": torch.zeros(6).bool()})
    before = net(absent)
    with torch.no_grad():
        net.absent[list(SHAPES).index("text")] += 1.0
    assert not torch.equal(before, net(absent))
    assert torch.equal(net(whole), net(whole))
    net(absent).sum().backward()
    assert net.absent.grad[list(SHAPES).index("text")].abs().sum() > 0


def test_a_fusion_starts_as_the_mean_of_the_tokens_that_are_there(fusion: str, impute: bool):
    torch.manual_seed(0)
    spaces = {k: (k, Space(k, s)) for k, s in SHAPES.items()}
    net = build_model(spaces, NetworkSpec(component(fusions, fusion), DIM, impute=impute))
    whole = rows()
    present = {k: torch.arange(1, 7) % (i + 2) != 0 for i, k in enumerate(SHAPES)}
    tokens = net.encode(whole._replace(present=present))
    there = torch.stack([*present.values()], -1)[..., None]
    mean = (torch.stack([*tokens.inputs.values()], -2) * there).sum(-2) / there.sum(-2)
    close = torch.nn.functional.cosine_similarity(net.fuse(tokens), mean)
    assert close.min() > 0.98  # absent tokens count a little from the start, and so does a prior


names = ("a", "b", "c")


def small(fusion: str, absent: int | None = None) -> tuple[torch.nn.Module, Tensor, Tensor, Batch]:
    """A fusion of three modalities away from its start, tokens `(4, 3, 8)`, log-weights, and the batch."""
    torch.manual_seed(1)
    net = fusions[fusion](names, 8)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    z = torch.randn(4, 3, 8)
    there = {m: torch.full((4,), i != absent) for i, m in enumerate(names)}
    logits = torch.where(torch.stack([*there.values()], -1), 0.0, net.presence.absence)
    return net, z, logits, Batch({m: z[:, i] for i, m in enumerate(names)}, there, torch.zeros(4, 0))


@pytest.mark.parametrize("absent", [None, 1])
def test_attention_follows_its_equation(absent: int | None):
    attention, z, logits, tokens = small("attention", absent)
    h = attention.norm(z) + attention.place
    out = torch.zeros(4, 3, 8)
    q, k, v = attention.query(h), attention.key(h), attention.value(h)
    for head in range(4):
        part = slice(2 * head, 2 * head + 2)
        for n in range(4):
            weights = torch.softmax(q[n, :, part] @ k[n, :, part].T + logits[n], -1)
            out[n, :, part] = weights @ v[n, :, part]
            torch.testing.assert_close(attention.weights(tokens)[n, head], weights)
    shares = torch.softmax(logits, -1)[..., None]
    torch.testing.assert_close(attention(tokens), (shares * (z + attention.out(out))).sum(1))


def test_a_product_of_experts_is_that_of_gaussians():
    experts, z, _, tokens = small("experts")
    for n in range(4):
        precision, weighed = experts.prior.exp(), torch.zeros(8)
        for i in range(3):
            own = experts.surety[i](experts.norm(z[n, i])).exp()
            precision, weighed = precision + own, weighed + own * z[n, i]
        torch.testing.assert_close(experts(tokens)[n], weighed / precision)


def test_the_low_rank_product_is_the_contracted_outer_product():
    fusion, z, _, tokens = small("low_rank")
    h = fusion.norm(z)
    for n in range(4):
        ones = [torch.cat([torch.ones(1), h[n, i]]) for i in range(3)]
        outer = torch.einsum("i,j,k->ijk", *ones)
        factors = [torch.cat([torch.ones(64, 1), f.weight], 1) for f in fusion.factors]
        product = torch.einsum("ijk,ri,rj,rk->r", outer, *factors)
        torch.testing.assert_close(
            fusion(tokens)[n], z[n].mean(0) + fusion.out(product - 1), rtol=1e-3, atol=1e-3
        )


def test_gates_are_shares_a_dimension():
    gated, z, _, tokens = small("gated")
    same = tokens._replace(inputs=dict.fromkeys(names, z[:, 0]))
    with torch.no_grad():
        gated.place.zero_()
    torch.testing.assert_close(gated(same), z[:, 0])  # shares of one value sum to that value
    low, high = z.min(1).values, z.max(1).values
    assert ((gated(tokens) >= low - 1e-5) & (gated(tokens) <= high + 1e-5)).all()


def test_modalities_meet_in_the_bottleneck_alone():
    neck, z, _, tokens = small("bottleneck")
    with torch.no_grad():
        for layer in neck.inwards:
            layer.weight.zero_()
            layer.bias.zero_()
    other = tokens._replace(inputs=tokens.inputs | {"a": z[:, 0] + 1})
    change = 3 * (neck(other) - neck(tokens))

    def own(x: Tensor) -> Tensor:  # what a token gathers from an unmoved neck hangs on itself alone
        only = tokens._replace(inputs={"a": x}, present={"a": tokens.present["a"]})
        return neck(only)

    torch.testing.assert_close(change, own(z[:, 0] + 1) - own(z[:, 0]), rtol=1e-3, atol=1e-4)


def test_the_untrained_model_is_the_features_side_by_side():
    net = untrained_model(("text", "tabular"))
    x = rows()
    absent = x.only(["text", "tabular"])._replace(
        present={"text": torch.ones(6).bool(), "tabular": torch.tensor([1, 1, 1, 0, 0, 0]).bool()}
    )
    z = net(absent)
    torch.testing.assert_close(z[:3], torch.cat([x.inputs["text"], x.inputs["tabular"]], 1)[:3] / 2**0.5)
    torch.testing.assert_close(z[3:, :64], x.inputs["text"][3:])
    assert z[3:, 64:].abs().sum() == 0
