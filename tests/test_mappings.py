"""Encoders, fusion and the model: any subset of modalities, and nothing from an absent cell."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from metamodal.data.modalities import modalities
from metamodal.mappings.encoders import encoders
from metamodal.mappings.fusion import fusions
from metamodal.mappings.model import Model, build_model, untrained_model
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


def model(fusion: str = "mean") -> Model:
    torch.manual_seed(0)
    built = build_model({k: (k, Space(k, s)) for k, s in SHAPES.items()}, fusion=fusion, dim=DIM)
    for parameter in built.parameters():  # away from the zeros that some parts start at
        torch.nn.init.normal_(parameter, std=0.2)
    return built


def rows(n: int = 6, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    inputs = {k: torch.randn(n, *s, generator=g) for k, s in SHAPES.items()}
    return Batch(inputs, {k: torch.ones(n).bool() for k in SHAPES}, torch.zeros(n, 0))


@pytest.fixture(params=list(fusions))
def fusion(request: pytest.FixtureRequest) -> str:
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


def test_garbage_in_an_absent_cell_changes_no_bit(fusion: str):
    net, clean = model(fusion), rows()
    present = {k: torch.arange(6) % (i + 2) != 0 for i, k in enumerate(SHAPES)}
    spoiled = {
        k: torch.where(present[k].view(-1, *[1] * (x.dim() - 1)), x, float("nan"))
        for k, x in clean.inputs.items()
    }
    one = net(clean._replace(present=present))
    two = net(Batch(spoiled, present, clean.targets))
    assert torch.equal(one, two)


def test_garbage_in_an_absent_cell_changes_no_gradient(fusion: str):
    present = {k: torch.arange(6) % 2 == i % 2 for i, k in enumerate(SHAPES)}
    gradients = []
    for garbage in (0.0, float("nan")):
        net, clean = model(fusion), rows()
        inputs = {
            k: torch.where(present[k].view(-1, *[1] * (x.dim() - 1)), x, garbage)
            for k, x in clean.inputs.items()
        }
        net(Batch(inputs, present, clean.targets)).square().sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    for a, b in zip(*gradients):
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a, b)


def test_a_modality_left_out_is_a_modality_absent_in_every_row(fusion: str):
    net, whole = model(fusion), rows()
    absent = whole.present | {"text": torch.zeros(6).bool(), "image": torch.zeros(6).bool()}
    masked = net(whole._replace(present=absent))
    left_out = net(whole.only([k for k in SHAPES if k not in ("text", "image")]))
    torch.testing.assert_close(masked, left_out)


@settings(max_examples=20, deadline=None)
@given(st.permutations(list(SHAPES)))
def test_the_order_of_modalities_in_a_batch_does_not_matter(order: list[str]):
    whole = rows()
    shuffled = Batch({k: whole.inputs[k] for k in order}, {k: whole.present[k] for k in order}, whole.targets)
    for fusion in ("mean", "attention"):
        net = model(fusion)
        torch.testing.assert_close(net(whole), net(shuffled))


def test_the_absent_token_is_used_and_is_learned(fusion: str):
    if fusion == "concat":
        pytest.skip("a fusion without weights has no absent token")
    net, whole = model(fusion), rows()
    absent = whole._replace(present=whole.present | {"text": torch.zeros(6).bool()})
    before = net(absent)
    with torch.no_grad():
        net.absent[list(SHAPES).index("text")] += 1.0
    assert not torch.equal(before, net(absent))
    assert torch.equal(net(whole), net(whole))
    net(absent).sum().backward()
    assert net.absent.grad[list(SHAPES).index("text")].abs().sum() > 0


def test_the_mean_of_present_tokens_is_their_mean_at_the_start():
    torch.manual_seed(0)
    net = build_model({k: (k, Space(k, s)) for k, s in SHAPES.items()}, fusion="mean", dim=DIM)
    tokens = net.encode(rows())
    torch.testing.assert_close(net.fuse(tokens), torch.stack(list(tokens.inputs.values())).mean(0))


def test_attention_follows_its_equation():
    torch.manual_seed(1)
    names = ("a", "b", "c")
    attention = fusions["attention"](names, 8)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    z = torch.randn(4, 3, 8)
    tokens = Batch(
        {m: z[:, i] for i, m in enumerate(names)}, {m: torch.ones(4).bool() for m in names}, torch.zeros(4, 0)
    )
    h = attention.norm(z) + attention.place
    out = torch.zeros(4, 3, 8)
    q, k, v = attention.query(h), attention.key(h), attention.value(h)
    for head in range(4):
        part = slice(2 * head, 2 * head + 2)
        for n in range(4):
            weights = torch.softmax(q[n, :, part] @ k[n, :, part].T / 2**0.5, -1)
            out[n, :, part] = weights @ v[n, :, part]
    torch.testing.assert_close(attention(tokens), (z + attention.out(out)).mean(1))


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
