"""The emulator's folder: who may use it, and what a killed emulator left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ocicaliban.emulator import folder
from ocicaliban.errors import UsageError
from ocicaliban.system import process


def test_one_emulator_at_a_time_uses_a_folder(tmp_path: Path) -> None:
    own = tmp_path / "own"
    with folder.lock(own, runs_containers=True) as first:
        assert len(first) == 16 and (own / "lock").read_text() == first and own.stat().st_mode & 0o777 == 0o700
        with pytest.raises(UsageError, match="already uses"), folder.lock(own, runs_containers=True):
            pass
    assert (own / "lock").read_text() == ""
    with folder.lock(own, runs_containers=False) as second:
        assert second == ""


def test_containers_of_a_killed_emulator_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lock").write_text("0123")
    calls: list[Sequence[str]] = []
    monkeypatch.setattr(process, "output", lambda argv: "a\nb\n" if "label=ocicaliban.emulator=0123" in argv else "")
    monkeypatch.setattr(process, "run", lambda argv, **_: calls.append(argv))
    with folder.lock(tmp_path, runs_containers=True):
        assert calls == [("podman", "rm", "--force", "--ignore", "--time", "0", "a", "b")]


def test_what_is_not_a_folder_is_told_with_its_option(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="is not a folder") as caught:
            folder.create(path, "--gcs")
        assert caught.value.hint.startswith("--gcs")
