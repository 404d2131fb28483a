"""Every tensor is made on the device of its inputs, and half precision stays inside the network.

A machine without a GPU sees a tensor made on the wrong device through `FakeTensorMode`: tensors have a device and a
shape and no values, and an operation on two devices is an error. The device is torch's place for those of others. Once
a process has it, autograd cannot be forked, so that `test_device.py` runs this file in a process of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from conftest import hidden_table
from metamodal.components import component
from metamodal.data.dataset import read_table
from metamodal.errors import OptionError
from metamodal.experiment import Experiment
from metamodal.experiment.prepared import prepared
from metamodal.mappings.encoders import encoders
from metamodal.mappings.fusion import fusions
from metamodal.mappings.model import NetworkSpec, build_model
from metamodal.meta.engine import Engine
from metamodal.meta.learners import MAML, PerModality, Prototypes, learners
from metamodal.model import built
from metamodal.options import parse
from metamodal.outputs import CLASSIFICATION, MULTILABEL, REGRESSION, Output
from metamodal.training.context import Context
from metamodal.training.episodes.sampler import Drawn, EpisodeSampler
from metamodal.training.losses import drawn_step, objectives
from metamodal.training.losses.multi_loss import MultiLoss
from metamodal.training.selection.trials import context_of
from metamodal.types import Batch, Episode, Params, Space

_setup_privateuseone_for_python_backend("elsewhere")
ELSEWHERE = torch.device("elsewhere:0")
"""A device that this machine has not: operations know it and compute nothing."""

NAMES = ("a", "b")
WIDTH, DIM, ROWS, OUTPUTS = 6, 16, 8, 3
CHOOSING = {"kernel_ridge"}
"""Learners that choose by values, which these tensors have not: `test_device.py` runs them where there is a GPU."""
LEARNERS = {name: learners[name]() for name in learners if name not in CHOOSING} | {
    "maml first order": MAML(order=1),
    "anil": MAML(adapts="head"),
    "anil with a hidden layer": MAML(adapts="head", hidden=8),
    "meta-sgd": MAML(rates="each"),
    "per modality over prototypes": PerModality(base=Prototypes()),
}
SHAPES = {
    "audio": (1, 40, 64),
    "embedding": (WIDTH,),
    "graph": (6, 9),
    "image": (3, 28, 28),
    "points": (32, 4),
    "series": (3, 32),
    "tabular": (WIDTH,),
    "text": (64,),
    "video": (4, 3, 28, 28),
}


def elsewhere(params: Params) -> Params:
    """Parameters of the same shapes on the other device."""
    return {
        k: torch.empty(v.shape, dtype=v.dtype, device=ELSEWHERE).requires_grad_() for k, v in params.items()
    }


def episodes(output: Output) -> Episode:
    """Two tasks, as a table has their rows: in main memory."""
    width = OUTPUTS

    def batch() -> Batch:
        targets = torch.eye(width).repeat(3, 1)[:ROWS].expand(2, -1, -1) if output.has_classes else None
        return Batch(
            {m: torch.randn(2, ROWS, WIDTH) for m in NAMES},
            {m: torch.ones(2, ROWS, dtype=torch.bool) for m in NAMES},
            torch.rand(2, ROWS, width).round() if targets is None else targets.contiguous(),
        )

    return Episode(batch(), batch())


def read(engine: Engine, params: Params, batch: Batch) -> Batch:
    """A stack of raw rows as the learner reads them."""
    flat = engine.encode(params, batch.flat())
    axes = batch.targets.shape[:2]
    return Batch(
        {m: x.unflatten(0, axes) for m, x in flat.inputs.items()},
        {m: p.unflatten(0, axes) for m, p in flat.present.items()},
        flat.targets.unflatten(0, axes),
    )


def network(fusion: str = "mean", *, impute: bool = False) -> Any:
    spec = NetworkSpec(component(fusions, fusion), DIM, impute=impute)
    return build_model({m: ("embedding", Space(m, (WIDTH,))) for m in NAMES}, spec)


@pytest.mark.parametrize("output", [CLASSIFICATION, MULTILABEL, REGRESSION], ids=lambda o: o.name)
@pytest.mark.parametrize("name", list(LEARNERS))
def test_a_learner_computes_where_the_parameters_are(name: str, output: Output):
    outputs = 0 if output.has_classes else OUTPUTS
    engine = Engine(network(), LEARNERS[name], NAMES, output, outputs)
    try:
        real = engine.initial()
    except OptionError:
        pytest.skip(f"{name} does not predict {output.name} targets")
    rows = episodes(output)
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        params = elsewhere(real)
        given = Episode(*(tree_map(fake.from_tensor, batch) for batch in rows))
        seen = Episode(*(read(engine, params, batch) for batch in given))
        logits = engine.logits(params, seen)
        loss = output.loss(logits, seen.query.targets)
        gradients = torch.autograd.grad(loss, list(params.values()), materialize_grads=True)
    assert {logits.device, *(g.device for g in gradients)} == {ELSEWHERE}


@pytest.mark.parametrize("impute", [False, True])
@pytest.mark.parametrize("name", list(fusions))
def test_a_fusion_computes_where_the_parameters_are(name: str, impute: bool):
    engine = Engine(network(name, impute=impute), learners["ridge"](), NAMES)
    real, rows = engine.initial(), episodes(CLASSIFICATION).support.flat()
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        given = tree_map(fake.from_tensor, rows)
        params = elsewhere(real)
        assert engine.embed(params, given).device == ELSEWHERE
        assert engine.embed(params, given.only(["b"])).device == ELSEWHERE


@pytest.mark.parametrize("kind", list(encoders))
def test_an_encoder_computes_where_the_parameters_are(kind: str):
    space = Space("x", SHAPES[kind])
    model = build_model({"x": (kind, space)}, NetworkSpec(component(fusions, "mean"), DIM, decoders=True))
    engine = Engine(model, learners["ridge"](), ("x",))
    real = engine.initial()
    with FakeTensorMode(allow_non_fake_inputs=True):
        params = elsewhere(real)
        x = {"x": torch.zeros(ROWS, *space.shape)}
        rows = Batch(x, {"x": torch.ones(ROWS, dtype=torch.bool)}, torch.zeros(ROWS, 0))
        tokens = engine.tokens(params, rows)
        assert tokens.inputs["x"].device == ELSEWHERE
        for back in engine.decode(params, tokens)["x"].values():
            assert back.device == ELSEWHERE


class Pretended(EpisodeSampler):
    """A sampler whose rows were drawn before the mode was on: drawing needs values."""

    def __init__(self, context: Context, mode: FakeTensorMode) -> None:
        super().__init__(context)
        drawn = super().drawn()
        self._numbers = mode.from_tensor(super().numbers(drawn))
        places = {k: mode.from_tensor(v) for k, v in vars(drawn.draw).items() if isinstance(v, Tensor)}
        self._drawn = replace(
            drawn,
            rows=tree_map(mode.from_tensor, drawn.rows),
            turned=mode.from_tensor(drawn.turned),
            draw=replace(drawn.draw, **places),
        )

    def drawn(self) -> Drawn:
        return self._drawn

    def numbers(self, drawn: Drawn) -> Tensor:
        return self._numbers


def test_every_objective_computes_where_the_parameters_are():
    experiment = parse(
        Experiment,
        {
            "model": {"decoders": True, "impute": True, "dim": DIM},
            "learner": "ridge",
            "train": {"losses": {name: {"weight": 1.0} for name in objectives}, "steps": 1},
        },
    )
    ready = prepared(experiment, read_table(hidden_table(), target="label"), None)
    spec, table = experiment.spec, ready.encoded
    model = built(spec, table.preprocessor, ready.dataset.schema.to_roles(), ready.targets)
    context = context_of(table, model, experiment.train)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    sampler = Pretended(context, mode)
    losses = MultiLoss(context, sampler, experiment.train)
    assert {name.partition(".")[0] for name in losses.fixed} == set(objectives)
    begin = context.engine.initial() | losses.start
    with mode:
        found = losses.losses(drawn_step(context, sampler, elsewhere(begin)))
        assert {name: loss.device for name, loss in found.items()} == dict.fromkeys(losses.fixed, ELSEWHERE)


def test_a_tensor_of_another_device_is_noticed():
    with FakeTensorMode():
        there = torch.empty(3, device=ELSEWHERE)
        with pytest.raises(RuntimeError, match="device"):
            there + torch.ones(3)


@pytest.mark.parametrize("name", list(LEARNERS))
def test_learners_read_single_precision_from_half_precise_networks(name: str):
    engine = Engine(network(), LEARNERS[name], NAMES).at("bfloat16")
    params = engine.initial()
    rows = episodes(CLASSIFICATION)
    seen = Episode(*(read(engine, params, batch) for batch in rows))
    logits = engine.logits(params, seen)
    plain = engine.at("float32")
    exact = plain.logits(params, Episode(*(read(plain, params, batch) for batch in rows)))
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.softmax(-1), exact.softmax(-1), atol=0.1, rtol=0)
    CLASSIFICATION.loss(logits, seen.query.targets).backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in params.values())
