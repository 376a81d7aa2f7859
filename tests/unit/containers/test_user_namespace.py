"""Repairing podman's user namespace; podman is played by the test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocicaliban.containers import user_namespace
from ocicaliban.errors import ToolError
from ocicaliban.system import process

REFUSAL = ToolError("podman unshare failed", stderr="please run `podman system migrate`")


class Podman:
    """Answers each command with the next of its answers: an error, or success."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.answers: list[ToolError | None] = []

    def run(self, argv: tuple[str, ...], **_: object) -> str:
        self.calls.append(argv[1:])
        if answer := self.answers.pop(0):
            raise answer
        return ""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """podman's state of a user whose pause process is gone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(process, "on_path", lambda name: f"/usr/bin/{name}")
    folder = tmp_path / "libpod" / "tmp"
    folder.mkdir(parents=True)
    (folder / "alive").touch()
    (folder / "pause.pid").write_text(str(os.getpid()))  # another process, in our own namespace
    return folder


@pytest.fixture
def podman(monkeypatch: pytest.MonkeyPatch) -> Podman:
    made = Podman()
    monkeypatch.setattr(process, "run", made.run)
    return made


def test_podmans_records_are_repaired_where_it_refuses(
    state: Path, podman: Podman, capsys: pytest.CaptureFixture[str]
) -> None:
    podman.answers = [REFUSAL, ToolError("a process is still there"), None]
    user_namespace.revive()
    assert podman.calls == [("unshare", "true"), ("system", "migrate"), ("system", "migrate")]
    assert not (state / "pause.pid").exists()
    assert capsys.readouterr().err.startswith("note: podman's processes were killed while containers ran")


def test_what_podman_cannot_repair_is_an_error(state: Path, podman: Podman) -> None:
    podman.answers = [REFUSAL, ToolError("no"), ToolError("no")]
    with pytest.raises(ToolError, match="no"):
        user_namespace.revive()


@pytest.mark.parametrize("answer", [None, ToolError("another fault", stderr="no space")])
def test_nothing_is_migrated_where_podman_works_or_has_another_fault(
    state: Path, podman: Podman, answer: ToolError | None, capsys: pytest.CaptureFixture[str]
) -> None:
    podman.answers = [answer]
    user_namespace.revive()
    assert podman.calls == [("unshare", "true")] and not capsys.readouterr().err


@pytest.mark.parametrize("case", ["root", "never used", "not installed"])
def test_no_process_is_started_where_there_is_nothing_to_repair(
    state: Path, podman: Podman, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case == "root":
        monkeypatch.setattr(os, "geteuid", lambda: 0)
    elif case == "never used":
        (state / "alive").unlink()
    else:
        monkeypatch.setattr(process, "on_path", lambda name: None)
    user_namespace.revive()
    assert podman.calls == []
