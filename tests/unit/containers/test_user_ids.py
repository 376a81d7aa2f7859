"""How many ids a container of a user can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.containers import user_ids
from ocicaliban.containers.user_ids import Facts
from ocicaliban.system import process

ANN = "ann:100000:65536\n"


@pytest.mark.parametrize(
    ("uid", "subuid", "subgid", "tools", "mode"),
    [
        (1000, ANN, ANN, True, "sub-ids"),
        (1000, "1000:100000:65536", ANN, True, "sub-ids"),
        (1000, ANN, ANN, False, "one uid without newuidmap"),
        (1000, "", "", False, "one uid without newuidmap"),
        (1000, "bob:100000:65536", "bob:100000:65536", True, "one uid"),
        (1000, ANN, "", True, "one uid"),
        (1000, "", ANN, True, "one uid"),
        (1000, "ann:100000:0", ANN, True, "one uid"),
        (1000, f"ann:1:{'9' * 5000}", ANN, True, "one uid"),
        (1000, "# ann\nann:x:y\nanna:1:2\nann", "", True, "one uid"),
        (0, "", "", False, "sub-ids"),
    ],
)
def test_what_applies_to_a_user(uid: int, subuid: str, subgid: str, tools: bool, mode: str) -> None:
    assert user_ids.decide(Facts(user="ann", uid=uid, subuid=subuid, subgid=subgid, tools=tools)) == mode


def test_a_directory_service_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def answer(argv: tuple[str, ...]) -> str:
        asked.append(argv)
        return "0: ann 524288 65536\n"

    texts = {"/etc/nsswitch.conf": "passwd: files sss\nsubid: sss\n"}
    monkeypatch.setattr(user_ids, "_text", lambda path: texts.get(str(path), ""))
    monkeypatch.setattr(process, "on_path", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(process, "output", answer)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for _ in range(2):
        assert user_ids.subid_texts("ann") == ("ann:524288:65536", "ann:524288:65536")
    assert asked == [("getsubids", "ann"), ("getsubids", "-g", "ann")]
    user_ids.subid_texts("ann", fresh=True)
    assert len(asked) == 4
    texts["/etc/nsswitch.conf"] = "subid: files\n"
    assert user_ids.subid_texts("ann") == ("", "") and len(asked) == 4


def test_a_newuidmap_that_is_not_setuid_maps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("newuidmap", "newgidmap"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not user_ids.read_facts("ann", 1000).tools
