"""`plan` says why a layer is not there: what changed since the last build."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import evolve

from ocicaliban.build import last_build
from ocicaliban.build.plan import plan
from ocicaliban.model.image import Base, Plan, Tree, TreeEntry
from ocicaliban.model.project import Project
from ocicaliban.recipes import catalog
from tests.snapshots import World

BASE = Base(kind="registry", reference="example/python", digest="sha256:aa", python="3.11.2", platform="linux/amd64")
SIX = (("", "six==1.16.0\n"),)
WORLD = World(variant="cpu", base=BASE, source="one", requirements=SIX, command=("python3", "train.py"))


def tree(digest: str, **files: str) -> Tree:
    entries = tuple(TreeEntry(path=path, kind="file", digest=content) for path, content in sorted(files.items()))
    return Tree(root=Path("/nowhere"), digest=digest, entries=entries)


def planned(world: World = WORLD, packages: tuple[str, ...] = ("git",)) -> Plan:
    project = Project(root=Path("/nowhere"), layers={"apt": {"packages": list(packages)}})
    return plan(project, catalog.recipes_for(project, "build"), "build", world.snapshot)


ONE = {"one": tree("one", train="a", model="b")}


def test_nothing_changed_needs_no_reason() -> None:
    assert last_build.reasons(planned(), ONE, last_build.record_of(planned(), ONE)) == {}


def test_an_edit_names_the_files_and_the_layer_above_names_the_one_below() -> None:
    two = {"two": tree("two", train="c", data="d")}
    found = last_build.reasons(planned(evolve(WORLD, source="two")), two, last_build.record_of(planned(), ONE))
    assert found == {
        "source-copy": "changed: train; new: data; gone: model",
        "entrypoint": "'source-copy' below it changed",
    }


def test_a_package_more_is_shown_with_the_list_before_and_after() -> None:
    found = last_build.reasons(planned(packages=("git", "vim")), ONE, last_build.record_of(planned(), ONE))
    assert found["apt"] == "PACKAGES: 'git' -> 'git vim'"
    assert found["python"] == "'apt' below it changed"


def test_another_base_is_the_reason_of_the_first_layer() -> None:
    world = evolve(WORLD, base=evolve(BASE, digest="sha256:bb"))
    assert last_build.reasons(planned(world), ONE, last_build.record_of(planned(), ONE))["apt"] == "the base changed"


def test_what_was_saved_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    last_build.save(Path("/nowhere"), planned(), ONE)
    assert last_build.load(Path("/nowhere"), "build") == last_build.record_of(planned(), ONE, "/nowhere")
    assert last_build.load(Path("/elsewhere"), "build") is None


def test_a_damaged_record_is_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    last_build.save(Path("/nowhere"), planned(), ONE)
    for path in tmp_path.rglob("*.json"):
        path.write_text("{")
    assert last_build.load(Path("/nowhere"), "build") is None


def test_a_project_that_is_gone_has_no_newest_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    last_build.save(Path("/nowhere"), planned(), ONE)
    last_build.save(tmp_path, planned(), ONE)
    assert [found.root for found in last_build.newest()] == [str(tmp_path)]


def test_a_file_of_another_version_or_form_counts_as_none(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    built = last_build.BuildRecord(layers={"a": {"env X": "1"}}, keys={"a": "k"}, files={"d": {"p": "file"}}, base="b")
    record = last_build.to_record(built)
    assert list(record) == ["version", "layers", "keys", "files", "base", "root"]
    for held, expected in (
        (record, built),
        ({name: value for name, value in record.items() if name != "version"}, built),
        ({**record, "version": 2}, None),
        ({**record, "layers": []}, None),
        ([record], None),
    ):
        file.write_text(json.dumps(held))
        assert last_build._read(file) == expected
