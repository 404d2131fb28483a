"""Every role in the table of roles is a flag, a keyword, an option, and survives files and shards."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import metamodal as mm
from metamodal.app.parser import parser
from metamodal.data.options import DataOptions, roles_of
from metamodal.data.roles import NONE, ROLES, TARGET_KINDS, Role, Roles, check_roles
from metamodal.data.tables.source import open_source
from metamodal.errors import OptionError
from metamodal.options import parse
from metamodal.outputs import outputs

WITH_ROLES = {
    "schema": ["t.csv"],
    "audit": ["t.csv"],
    "encode": ["t.csv", "--out", "x"],
    "train": ["t.csv", "--out", "x"],
    "evaluate": ["none", "t.csv"],
    "adapt": ["none", "t.csv", "--out", "x"],
}
VALUES: dict[str, Any] = {
    "target": "pet",
    "target_kind": "classification",
    "task": "town",
    "group": "owner",
    "split": "part",
    "time": "day",
    "describe": "about",
    "disjoint_by": "sitter",
    "use": ["weight", "height", "sitter"],
    "kinds": {"weight": "tabular", "height": "tabular", "sitter": "tabular"},
}
COLUMNS = [role for role in ROLES if role.is_column]
each_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def table() -> pd.DataFrame:
    rows = range(48)
    return pd.DataFrame(
        {
            "weight": [1.5 * i % 7 for i in rows],
            "height": [i * i % 11 / 2 for i in rows],
            "pet": [("cat", "dog", "owl")[i % 3] for i in rows],
            "town": [("Ayr", "Oban")[i % 2] for i in rows],
            "owner": [f"owner {i // 4}" for i in rows],
            "part": [("train", "valid", "test")[i // 16] for i in rows],
            "day": [f"2024-05-{1 + i // 2:02}" for i in rows],
            "about": [("it purrs", "it barks", "it flies at night")[i % 3] for i in rows],
            "sitter": [("Ann", "Bo", "Cy", "Di")[i // 2 % 4] for i in rows],
        }
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pets.csv"
    table().to_csv(path, index=False)
    return path


def words(role: Role) -> list[str]:
    """A role as a command line gives it."""
    value = VALUES.get(role.name)
    if value is None:
        return []
    if role.holds == "kinds":
        return [word for column, kind in value.items() for word in (role.flag, f"{column}={kind}")]
    return [role.flag, ",".join(value) if isinstance(value, list) else value]


@each_role
@pytest.mark.parametrize("command", WITH_ROLES)
def test_a_role_is_a_flag_of_every_command_that_reads_a_table_under_roles(command: str, role: Role):
    given = words(role) or [role.flag, "relations.csv"]
    options = parser().parse_args([command, *WITH_ROLES[command], *given])
    assert getattr(options, role.name) not in (None, [])


def test_no_other_command_takes_some_of_the_roles():
    commands = next(a for a in parser()._actions if a.dest == "command").choices
    flags = {role.flag for role in ROLES}
    with_group = {
        name
        for name, command in commands.items()
        if any(flags <= set(a.option_strings) | flags and a.dest == "disjoint_by" for a in command._actions)
    }
    assert with_group == set(WITH_ROLES)


@pytest.mark.parametrize("function", [mm.read_table, mm.audit])
def test_the_keywords_of_functions_that_read_a_table_are_the_roles(function):
    keywords = inspect.signature(function).parameters
    assert {role.name for role in ROLES} <= set(keywords)
    documented = inspect.getdoc(mm.read_table)
    assert all(f"{role.name}:" in documented for role in ROLES)


def test_read_table_gives_every_role_that_it_is_given_to_the_schema():
    roles = mm.read_table(table(), **VALUES).schema.to_roles()
    assert roles == replace(Roles.parse(**VALUES), triples=None)


def test_audit_refuses_every_role_that_names_no_column():
    for role in COLUMNS:
        with pytest.raises(OptionError, match=rf"{role.flag} 'nowhere': no such column"):
            mm.audit(table(), **{role.name: "nowhere"})


@each_role
def test_a_role_is_an_option_with_its_description(role: Role):
    assert DataOptions.model_fields[role.name].description == role.help
    options = parse(DataOptions, {role.name: VALUES.get(role.name, "relations.csv")})
    expected = Roles.parse(**{role.name: VALUES.get(role.name, "relations.csv")})
    assert getattr(roles_of(options), role.name) == getattr(expected, role.name)


def test_the_kinds_of_target_are_those_that_there_are():
    assert set(TARGET_KINDS) == {"auto", *outputs}


def test_roles_survive_a_schema_file(cli, file: Path, tmp_path: Path):
    given = [word for role in ROLES for word in words(role)]
    saved, again = tmp_path / "roles.yaml", tmp_path / "again.yaml"
    assert cli("schema", file, *given, "--out", saved).code == 0
    done = cli("schema", file, "--schema", saved, "--out", again)
    assert done.code == 0, done.err
    assert saved.read_text() == again.read_text()
    for name in VALUES:
        assert f"\n{name}:" in "\n" + saved.read_text()


def test_roles_of_columns_survive_encode(cli, file: Path, tmp_path: Path):
    given = [word for role in ROLES for word in words(role)]
    assert cli("encode", file, *given, "--out", tmp_path / "shards").code == 0
    recorded = json.loads((tmp_path / "shards" / "metamodal.json").read_text())["roles"]
    schema = mm.read_table(tmp_path / "shards").schema
    for role in COLUMNS:
        assert recorded[role.name] == VALUES[role.name]
        assert schema.role(role.name) == VALUES[role.name]
    assert schema.target_kind == VALUES["target_kind"]


def test_the_values_of_a_modality_with_a_role_stay_apart_as_vectors(cli, tmp_path: Path):
    frame = table().assign(note=[f"{name} was here and wrote a note" for name in table()["sitter"]])
    frame.to_csv(tmp_path / "pets.csv", index=False)
    roles = ("--target", "pet", "--disjoint-by", "note", "--use", "note", "--kind", "note=text")
    assert cli("encode", tmp_path / "pets.csv", *roles, "--out", tmp_path / "shards").code == 0
    encoded = mm.read_table(tmp_path / "shards")
    assert encoded.schema.role("disjoint_by") == "note"
    assert len(set(zip(encoded.disjoint_by(), frame["note"]))) == frame["note"].nunique()


def test_a_role_whose_cells_are_lists_survives_encode(cli, tmp_path: Path):
    frame = table().assign(about=[[float(i % 3), 1.0, -1.0] for i in range(48)])
    frame.to_parquet(tmp_path / "pets.parquet")
    done = cli(
        *("encode", tmp_path / "pets.parquet", "--target", "pet", "--describe", "about", "--use", "weight"),
        *("--out", tmp_path / "shards"),
    )
    assert done.code == 0, done.err
    encoded = mm.read_table(tmp_path / "shards")
    assert encoded.schema.role("describe") == "about"
    assert [list(cell) for cell in encoded.frame["about"]] == frame["about"].tolist()


@pytest.mark.parametrize("role", COLUMNS, ids=lambda role: role.name)
def test_a_dash_takes_a_role_that_a_folder_records_away(cli, file: Path, tmp_path: Path, role: Role):
    given = [word for r in ROLES for word in words(r)]
    assert cli("encode", file, *given, "--out", tmp_path / "shards").code == 0
    schema = mm.read_table(tmp_path / "shards", **{role.name: NONE}).schema
    assert schema.role(role.name) is None
    others = [r for r in COLUMNS if r is not role]
    assert all(schema.role(r.name) == VALUES[r.name] for r in others)


def test_exclusive_roles_share_no_column():
    exclusive = [role for role in ROLES if role.exclusive]
    for first in exclusive:
        for second in exclusive:
            if first is not second:
                with pytest.raises(OptionError, match="both name 'pet'. Give a column one role"):
                    check_roles(
                        Roles.parse(**{first.name: "pet", second.name: "pet"}), table().columns, "pets"
                    )


def test_roles_within_columns_keep_what_is_there():
    roles = Roles.parse(**VALUES).within(["weight", "pet", "town"])
    assert roles == Roles(
        target="pet",
        target_kind="classification",
        task="town",
        use=("weight",),
        kinds={"weight": "tabular"},
    )
    assert Roles.parse(**VALUES).within(["weight"]).target_kind is None


def test_roles_that_are_given_win_over_those_of_a_source():
    known = Roles.parse(**VALUES)
    roles = Roles(task="owner").over(known)
    assert (roles.task, roles.group, roles.target) == ("owner", None, "pet")
    assert Roles(target="town").over(known).target_kind is None


def test_the_roles_of_a_folder_sorted_by_class_are_known(tmp_path: Path):
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            (tmp_path / part / label).mkdir(parents=True)
            (tmp_path / part / label / "a.txt").write_text("words")
    assert open_source(tmp_path).roles == Roles(target="label", split="split")
