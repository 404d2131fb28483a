"""One option system: every component is a typed record, parsed with its full path before a table is opened."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metamodal.components import Auto, component, component_record, in_words, names_of, options_of
from metamodal.data.modalities import modalities
from metamodal.errors import OptionError
from metamodal.experiment import Experiment
from metamodal.mappings.encoders import encoders
from metamodal.mappings.fusion import fusions
from metamodal.mappings.maps import maps
from metamodal.meta.learners import MAML, Ridge, learners
from metamodal.option_schema import option_schema
from metamodal.options import override, parse
from metamodal.registry import Registry
from metamodal.training.losses import objectives
from metamodal.training.losses.modality_balance import modality_balances
from metamodal.training.losses.surgery import surgeries
from metamodal.training.losses.weighing import weighings

ROOMS = {
    registry.room: registry
    for registry in (learners, fusions, maps, encoders, weighings, surgeries, modality_balances, objectives)
}
COMPONENTS = [(room, name) for room, registry in ROOMS.items() for name in names_of(registry)]


def experiment(*assignments: str) -> Experiment:
    return parse(Experiment, override({}, assignments))


@pytest.mark.parametrize(("room", "name"), COMPONENTS)
def test_every_component_comes_back_from_its_record(room: str, name: str):
    item = component(ROOMS[room], name)
    record = json.loads(json.dumps(component_record(ROOMS[room], item)))
    assert component(ROOMS[room], record) == item
    assert component(ROOMS[room], item) is item


@pytest.mark.parametrize(("room", "name"), COMPONENTS)
def test_every_component_refuses_an_option_that_it_has_not(room: str, name: str):
    with pytest.raises(OptionError, match=r"here\.zzz: no such option"):
        component(ROOMS[room], {"kind": name, "zzz": 1}, "here")


@pytest.mark.parametrize(
    ("assignments", "learner"),
    [
        (["learner=maml", "learner.inner_lr=0.1"], MAML(inner_lr=0.1)),
        (["learner.inner_lr=0.1", "learner=maml", "learner.steps=2"], MAML(steps=2)),
        (["learner=anil", "learner.steps=2"], MAML(adapts="head", steps=2)),
        (["learner.inner_lr=0.1"], MAML(adapts="head", inner_lr=0.1)),
        (["learner.penalty=2"], Ridge(penalty=2.0)),
    ],
)
def test_options_of_a_learner_are_paths_with_and_without_its_kind(assignments: list[str], learner: Any):
    assert experiment(*assignments).first_learner == learner


def test_options_of_a_fusion_choose_the_fusion_that_has_them():
    network = experiment("model.fusion.heads=2").spec.network
    assert network is not None
    assert component_record(fusions, network.fusion) == {"kind": "attention", "heads": 2}


def test_a_loss_is_its_weight_or_a_record():
    short, long = experiment("train.losses.align=0.5"), experiment("train.losses.align.weight=0.5")
    assert short.train.losses == long.train.losses
    both = experiment("train.losses.align=0.5", "train.losses.align.by=row").train.losses["align"]
    assert component_record(objectives, both) == {"kind": "align", "weight": 0.5, "by": "row"}


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["learner=rigde"], "learner='rigde': no such learner. Did you mean 'ridge'?"),
        (
            ["learner=maml", "learner.inner_Ir=1"],
            "learner.inner_Ir: no such option. Did you mean 'inner_lr'?",
        ),
        (["learner.inner_Ir=1"], "learner.inner_Ir: no learner has such an option. Did you mean 'inner_lr'?"),
        (["learner=maml", "learner.steps=x"], "learner.steps='x': input should be a valid integer."),
        (["learner=ridge", "learner.penalty=-1"], "learner.penalty=-1: input should be greater than 0."),
        (["learner=per_modality", "learner.base.penalty=x"], "learner.base.penalty='x': input should be a"),
        (["learner=per_modality", "learner.base=maml"], "learner: per_modality: MAML has no leave-one-out"),
        (["model.fusion=concatt"], "model.fusion='concatt': no such fusion. Did you mean 'concat'?"),
        (
            ["model.kinds.image.size=3"],
            "model.kinds.image.size=3: input should be greater than or equal to 8.",
        ),
        (["model.kinds.imagee.size=3"], "model.kinds.imagee: no such modality. Did you mean 'image'?"),
        (["train.losses.algn=1"], "train.losses.algn: no such objective. Did you mean 'align'?"),
        (
            ["train.losses.align=-1"],
            "train.losses.align.weight=-1: input should be greater than or equal to 0.",
        ),
        (
            ["train.weighing=gradnorm", "train.weighing.alfa=1"],
            "train.weighing.alfa: no such option. Did you mean",
        ),
        (["train.lrr=1"], "train.lrr: no such option. Did you mean 'train.optimiser.lr'?"),
        (["train.align=1"], "train.align: renamed. Set train.losses.align."),
        (["model.image_size=9"], "model.image_size: renamed. Set model.kinds.image.size."),
        (["data.target_kind=numbers"], "data.target_kind='numbers': renamed. Set regression."),
        (
            ["model.encoders.photo.kind=imag"],
            "model.encoders.photo='imag': no such encoder. Did you mean 'image'?",
        ),
    ],
)
def test_a_wrong_name_or_value_is_reported_with_its_path_and_a_remedy(assignments: list[str], message: str):
    with pytest.raises(OptionError) as caught:
        experiment(*assignments)
    assert message in str(caught.value)


def test_every_wrong_option_is_reported():
    with pytest.raises(OptionError) as caught:
        experiment("seed=-1", "train.optimiser.lr=fast", "learner=maml", "learner.steps=x", "learner.order=3")
    places = [str(caught.value).find(f"{name}=") for name in ("seed", "learner.steps", "learner.order")]
    assert -1 < places[0] < places[1] < places[2] < str(caught.value).find("train.optimiser.lr='fast'")


def test_a_wrong_option_is_reported_before_a_table_is_opened(cli, tmp_path):
    done = cli("train", tmp_path / "none.csv", "--out", tmp_path / "run", "learner=rigde")
    assert done.code == 2 and "Did you mean 'ridge'?" in done.err


@given(st.sampled_from(COMPONENTS), st.sampled_from([None, True, -1, 2.5, "x", [], {}, [1, 2], {"kind": 3}]))
def test_whatever_an_option_holds_is_parsed_or_refused_by_its_path(which: tuple[str, str], value: Any):
    registry = ROOMS[which[0]]
    kind = registry.named.get(which[1], {"kind": which[1]})["kind"]
    for option in options_of(registry[kind]).model_fields:
        try:
            component(registry, {"kind": which[1], option: value}, "here")
        except OptionError as error:
            assert str(error).startswith("here")


def test_the_tree_comes_back_from_its_record():
    tree = experiment(
        "learner=per_modality", "learner.base=prototypes", "model.fusion.heads=2", "train.losses.align=0.3",
        "model.kinds.text.buckets=128", "train.surgery=pcgrad", "train.weighing.temperature=1",
    )  # fmt: skip
    assert parse(Experiment, json.loads(json.dumps(tree.record()))) == tree
    assert parse(Experiment, {}).learner == Auto()


def test_the_schema_takes_what_the_tree_takes_and_nothing_else():
    schema = option_schema(Experiment)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(json.loads(json.dumps(Experiment().record())))
    for assignments in (["learner=anil"], ["learner=maml", "learner.inner_lr=0.1"], ["learner.inner_lr=0.1"]):
        assert validator.is_valid(override({}, assignments))
    for assignments in (["learner=rigde"], ["train.lr=1"], ["learner=maml", "learner.steps=x"], ["seed=-1"]):
        assert not validator.is_valid(override({}, assignments))
    kinds = schema["properties"]["model"]["properties"]["kinds"]["properties"]
    assert set(kinds) == set(modalities)
    losses = schema["properties"]["train"]["properties"]["losses"]["properties"]
    assert set(losses) == set(objectives)


def test_every_option_of_the_schema_is_described():
    def undescribed(node: dict[str, Any], path: str) -> list[str]:
        found = [] if "description" in node else [path]
        for name, child in node.get("properties", {}).items():
            found += undescribed(child, f"{path}.{name}")
        return found

    tree = option_schema(Experiment)["properties"]
    plain = {name: tree[name] for name in ("seed", "data", "train", "model", "learner")}
    plain["train"]["properties"].pop("losses")
    plain["model"]["properties"].pop("kinds")
    assert [path for name, node in plain.items() for path in undescribed(node, name)] == []


def test_schema_options_prints_it(cli):
    done = cli("schema", "--options")
    assert done.code == 0
    assert json.loads(done.out)["properties"]["train"]["properties"]["optimiser"]["type"] == "object"
    assert cli("schema").code == 2 and cli("schema", "glyphs", "--options").code == 2


def test_an_outside_component_has_its_options_by_the_same_door():
    rooms: Registry[type] = Registry("room")

    @rooms.register("square")
    @dataclass(frozen=True)
    class Square:
        """A square."""

        side: float = 1.0

    @rooms.register("disc")
    def disc(at: tuple[int, int], *, radius: int = 2) -> str:
        return f"{at} {radius}"

    assert component(rooms, {"side": 2.0}) == Square(2.0)
    assert component(rooms, {"radius": 3})((0, 1)) == "(0, 1) 3"
    assert in_words(rooms, component(rooms, {"radius": 3})) == "disc(radius=3)"
    with pytest.raises(OptionError, match=r"kind: missing\. Set it to one of disc, square"):
        component(rooms, {})
