"""Whatever fails or is killed while something is written: the old is there, or the new, and nothing of others goes."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import metamodal as mm
from metamodal import storage
from metamodal.artifact import load_artifact
from metamodal.data.features.shard_options import ShardOptions
from metamodal.data.features.shards import encode_table
from metamodal.data.roles import Roles
from metamodal.data.tables.source import open_source
from metamodal.data.tables.writing import check_target, write_frame
from metamodal.errors import ArtifactError, DataError, OptionError, OutputError
from metamodal.predictor import Predictor

PETS = pd.DataFrame({"size": [1, 2, 8, 9], "pet": ["cat", "cat", "dog", "dog"]})
FRUIT = pd.DataFrame({"size": [1, 2, 8, 9], "pet": ["fig", "fig", "kiwi", "kiwi"]})

OPERATIONS = [
    (os, "replace"),
    (os, "fsync"),
    (Path, "unlink"),
    (Path, "open"),
    (Path, "mkdir"),
    (Path, "rmdir"),
    (Path, "touch"),
    (Path, "write_bytes"),
]


def predictor(frame: pd.DataFrame) -> Predictor:
    return mm.MetaLearner(data__target="pet").adapt(frame)


def encoded(frame: pd.DataFrame, folder: Path) -> None:
    encode_table(open_source(frame), Roles(target="pet"), folder, ShardOptions({}, {}, rows=2))


def died_before(operation: int, write: Callable[[], object]) -> bool:
    """Whether a process that writes was killed before its file operation of this number; it has no more else."""
    child = os.fork()
    if not child:
        left = [operation]

        def counted(function):
            def call(*args, **kwargs):
                if not left[0]:
                    os._exit(9)
                left[0] -= 1
                return function(*args, **kwargs)

            return call

        for owner, name in OPERATIONS:
            setattr(owner, name, counted(getattr(owner, name)))
        try:
            write()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def labels(folder: Path) -> tuple[str, ...] | None:
    try:
        found = load_artifact(folder)
    except ArtifactError as error:
        assert "no artifact" in str(error)
        return None
    assert isinstance(found, Predictor)
    return tuple(found.labels)


@pytest.mark.parametrize("old", [None, "pets", "the same"])
def test_an_artifact_killed_before_any_file_operation_is_the_old_or_the_new(tmp_path: Path, old: str | None):
    pets, fruit = predictor(PETS), predictor(FRUIT)
    first = {None: None, "pets": pets, "the same": fruit}[old]
    known = {None, ("fig", "kiwi")} if old is None else {("cat", "dog"), ("fig", "kiwi")}
    operation = 0
    while True:
        folder = tmp_path / f"p{operation}"
        if first is not None:
            first.save(folder)
        killed = died_before(operation, lambda folder=folder: fruit.save(folder))
        assert labels(folder) in known, operation
        pets.save(folder)
        assert labels(folder) == ("cat", "dog")
        assert sorted(p.name for p in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
        if not killed:
            break
        operation += 1
    assert operation >= 12


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_a_table_killed_before_any_file_operation_is_the_old_or_the_new(tmp_path: Path, name: str):
    old, new = pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [3]})
    write_frame(old, tmp_path / name)
    operation = 0
    while died_before(operation, lambda: write_frame(new, tmp_path / name)):
        found = [str(a) for a in open_source(tmp_path / name).whole().frame["a"]]
        assert found in (["1", "2"], ["3"]), operation
        write_frame(old, tmp_path / name)
        operation += 1
    assert operation >= 4
    assert [str(a) for a in open_source(tmp_path / name).whole().frame["a"]] == ["3"]


def test_an_encoded_table_killed_before_any_file_operation_is_the_old_or_the_new(tmp_path: Path):
    folder = tmp_path / "encoded"
    encoded(PETS, folder)
    operation = 0
    while died_before(operation, lambda: encoded(FRUIT, folder)):
        found = set(open_source(folder).whole().frame["pet"])
        assert found in ({"cat", "dog"}, {"fig", "kiwi"}), operation
        encoded(PETS, folder)
        assert set(open_source(folder).whole().frame["pet"]) == {"cat", "dog"}
        operation += 1
    assert operation >= 6
    encoded(PETS, folder)
    names = {p.name for p in folder.iterdir()}
    assert len(names) == 3 and "metamodal.json" in names, names


def test_a_first_encoding_that_is_killed_leaves_a_folder_that_the_next_one_takes(tmp_path: Path):
    operation = 0
    while True:
        folder = tmp_path / f"e{operation}"
        if not died_before(operation, lambda folder=folder: encoded(PETS, folder)):
            break
        if folder.exists() and (folder / "metamodal.json").exists():
            assert set(open_source(folder).whole().frame["pet"]) == {"cat", "dog"}
        encoded(FRUIT, folder)
        assert set(open_source(folder).whole().frame["pet"]) == {"fig", "kiwi"}
        operation += 1
    assert operation >= 6


def test_readers_get_the_old_or_the_new_while_two_writers_are_at_work(tmp_path: Path):
    folder, stop, found = tmp_path / "p", threading.Event(), set()
    pets, fruit = predictor(PETS), predictor(FRUIT)
    pets.save(folder)

    def write(mine: Predictor) -> None:
        for _ in range(15):
            mine.save(folder)

    def read() -> None:
        while not stop.is_set():
            found.add(labels(folder))

    writers = [threading.Thread(target=write, args=(p,)) for p in (pets, fruit)]
    reader = threading.Thread(target=read)
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    assert found <= {("cat", "dog"), ("fig", "kiwi")} and found


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md", "thesis.txt", ".hidden"])
def test_a_folder_with_a_file_of_others_is_refused_and_keeps_it(tmp_path: Path, name: str):
    (tmp_path / name).write_text('{"model_type": "bert"}')
    with pytest.raises(
        OutputError, match="holds files that metamodal did not write .* Name an empty or a new folder"
    ):
        predictor(PETS).save(tmp_path)
    with pytest.raises(OutputError, match="holds files that metamodal did not write"):
        encoded(PETS, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == '{"model_type": "bert"}'


def test_a_file_of_others_beside_an_artifact_stays(tmp_path: Path):
    predictor(PETS).save(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    predictor(FRUIT).save(tmp_path)
    assert labels(tmp_path) == ("fig", "kiwi")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_symbolic_link_and_the_working_folder_are_written_through(tmp_path: Path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    predictor(PETS).save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and labels(tmp_path / "real") == ("cat", "dog")
    monkeypatch.chdir(tmp_path / "real")
    predictor(FRUIT).save(".")
    assert labels(Path.cwd()) == ("fig", "kiwi")
    (tmp_path / "t.csv").symlink_to(tmp_path / "real.csv")
    write_frame(PETS, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").is_symlink() and (tmp_path / "real.csv").is_file()


REASONS = {
    errno.ENOSPC: "no space left on the device. Free some space",
    errno.EACCES: "permission denied. Write to a folder that you may write to",
    errno.EROFS: "the file system is read-only. Write elsewhere",
    errno.EDQUOT: "the disk quota is used up",
    errno.EIO: "cannot be written",
}


@pytest.mark.parametrize("number", REASONS)
@pytest.mark.parametrize("what", ["artifact", "table", "encoded"])
def test_what_the_disk_refuses_is_said_with_the_path_and_leaves_the_old(
    tmp_path: Path, monkeypatch, number: int, what: str
):
    pets, fruit = predictor(PETS), predictor(FRUIT)
    pets.save(tmp_path / "artifact")
    write_frame(PETS, tmp_path / "table.csv")
    encoded(PETS, tmp_path / "encoded")
    before = {p: p.read_bytes() for p in sorted(tmp_path.rglob("*")) if p.is_file()}

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(storage.os, "replace", refuse)
    write = {
        "artifact": lambda: fruit.save(tmp_path / "artifact"),
        "table": lambda: write_frame(FRUIT, tmp_path / "table.csv"),
        "encoded": lambda: encoded(FRUIT, tmp_path / "encoded"),
    }[what]
    with pytest.raises(OutputError, match=rf"{what}.*: {REASONS[number]}"):
        write()
    monkeypatch.undo()
    assert {p: p.read_bytes() for p in sorted(tmp_path.rglob("*")) if p.is_file()} == before


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("t.csv/p.csv", "a file stands where a folder is needed"),
        ("folder.csv", "a folder stands where a file is needed"),
        ("x" * 300 + ".csv", "the name is too long"),
    ],
)
def test_a_path_that_cannot_be_written_is_known_before_there_is_anything_to_write(
    tmp_path: Path, path: str, reason: str
):
    (tmp_path / "t.csv").write_text("")
    (tmp_path / "folder.csv").mkdir()
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(OutputError, match=reason):
        check_target(tmp_path / path)
    with pytest.raises(OptionError, match="cannot write .docx. End it in .csv"):
        check_target(tmp_path / "t.docx")
    check_target(tmp_path / "new" / "deep" / "t.csv")
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "command",
    [
        ("adapt", "none", "TABLE", "--target", "pet", "--out", "TAKEN"),
        ("predict", "nowhere", "TABLE", "--out", "labels.docx"),
        ("predict", "nowhere", "TABLE", "--out", "TABLE/labels.csv"),
        ("evaluate", "nowhere", "TABLE", "--report", "TABLE/report.html"),
        ("audit", "nowhere.csv", "--html", "TABLE/report.html"),
        ("schema", "nowhere.csv", "--out", "TABLE/roles.yaml"),
    ],
    ids=" ".join,
)
def test_commands_refuse_where_they_cannot_write_before_they_read(
    cli, tmp_path: Path, command: tuple[str, ...]
):
    PETS.to_csv(tmp_path / "pets.csv", index=False)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    places = {"TABLE": str(tmp_path / "pets.csv"), "TAKEN": str(tmp_path / "taken")}
    done = cli(
        *(places[word] if word in places else word.replace("TABLE", places["TABLE"]) for word in command)
    )
    assert done.code in (2, 3) and "nowhere" not in done.err and "internal" not in done.err, done.err
    assert done.err.count("\n") == 1
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["pets.csv", "taken", "thesis.txt"]


def test_a_second_encoder_of_one_folder_is_told_so(tmp_path: Path):
    encoded(PETS, tmp_path / "e")
    with storage.locked(tmp_path / "e"), pytest.raises(OutputError, match="another process is writing to it"):
        encoded(FRUIT, tmp_path / "e")
    assert set(open_source(tmp_path / "e").whole().frame["pet"]) == {"cat", "dog"}


def test_a_damaged_record_of_an_encoded_table_is_noticed(tmp_path: Path):
    encoded(PETS, tmp_path / "e")
    about = tmp_path / "e" / "metamodal.json"
    about.write_text(about.read_text().replace("pet", "Pet"))
    with pytest.raises(DataError, match=r"metamodal.json: damaged, or not written by encode"):
        mm.read_table(tmp_path / "e")
    encoded(PETS, tmp_path / "f")
    next((tmp_path / "f").glob("*.parquet")).unlink()
    with pytest.raises(DataError, match="missing, though metamodal.json names it"):
        mm.read_table(tmp_path / "f")


def test_text_is_utf_8_whatever_the_locale(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "ascii")
    monkeypatch.setattr("_locale.getencoding", lambda: "ascii", raising=False)
    storage.write_text(tmp_path / "t.txt", "größe 犬")
    assert (tmp_path / "t.txt").read_bytes().decode("utf-8") == "größe 犬"
    frame = PETS.assign(pet=["Kätzchen", "Kätzchen", "犬", "犬"])
    predictor(frame).save(tmp_path / "p")
    assert labels(tmp_path / "p") == ("Kätzchen", "犬")
    assert np.array_equal(mm.load(tmp_path / "p").predict(frame), frame["pet"])
