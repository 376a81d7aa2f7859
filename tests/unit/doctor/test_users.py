from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocicaliban.containers.user_ids import Facts
from ocicaliban.doctor import users
from ocicaliban.doctor.finding import Finding

UID = os.geteuid()


def test_not_root() -> None:
    assert users.not_root(1000).level == "ok"
    finding = users.not_root(0)
    assert finding.level == "warning" and "running as root" in finding.message


@pytest.mark.parametrize(
    ("text", "uid", "level"),
    [
        ("other:1:65536\nann:100000:65536\n", 1000, "ok"),
        ("1000:100000:65536\n", 1000, "ok"),
        ("ann:100000:40000\nann:200000:40000", 1000, "ok"),
        ("ann:1:999\nann:1001:64535", 1000, "ok"),
        ("ann:100000:65533", 1000, "error"),
        ("anna:100000:65536\n# ann\nann:x\nann:1:many", 1000, "error"),
        ("", 1000, "error"),
        ("", 0, "ok"),
    ],
)
def test_subids(text: str, uid: int, level: str) -> None:
    finding = users.subids("subuid", text, "ann", uid)
    assert finding.level == level
    assert ("--add-subuids" in finding.remedy) == (level == "error")


@pytest.mark.parametrize(
    ("subuid", "tools", "words"),
    [
        ("ann:100000:65536", True, "sub-ids: 65536 ids for ann"),
        ("", True, "one uid: ann has no sub-ids"),
        ("", False, "newuidmap"),
    ],
)
def test_one_uid_is_no_fault(subuid: str, tools: bool, words: str) -> None:
    found = users.ids(Facts(user="ann", uid=1000, subuid=subuid, subgid=subuid, tools=tools))
    assert [one.level for one in found] == ["ok"]
    assert words in found[0].message and found[0].name == "ids"


def test_too_few_sub_ids_are_a_fault() -> None:
    facts = Facts(user="ann", uid=1000, subuid="ann:100000:65536", subgid="ann:1:1000", tools=True)
    assert [(one.name, one.level) for one in users.ids(facts)] == [("subgid", "error")]


def test_runtime_dir(tmp_path: Path) -> None:
    def check(value: object, uid: int = UID) -> Finding:
        return users.runtime_dir({"XDG_RUNTIME_DIR": str(value)}, uid)

    file = tmp_path / "file"
    file.touch()
    assert check(tmp_path).level == "ok"
    assert users.runtime_dir({}, 1000).level == "warning"
    assert users.runtime_dir({}, 0).level == "ok"
    assert "No such file" in check(tmp_path / "gone").message
    assert "not a folder" in check(file).message
    assert "belongs to" in check(tmp_path, UID + 1).message
    for bad in (check(tmp_path / "gone"), check(file), check(tmp_path, UID + 1)):
        assert bad.level == "error" and "unset" in bad.remedy
