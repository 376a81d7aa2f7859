from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.containers import runtime_folder


def test_the_users_choice_is_the_only_one() -> None:
    assert runtime_folder.candidates({"XDG_RUNTIME_DIR": "/run/mine"}) == (Path("/run/mine"),)
    assert runtime_folder.find({"XDG_RUNTIME_DIR": "/run/mine"}) == Path("/run/mine")


def test_without_one_it_is_the_first_that_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing, ours, other = tmp_path / "missing", tmp_path / "ours", Path("/")
    monkeypatch.setattr(runtime_folder, "candidates", lambda environ: (other, missing, ours))
    assert runtime_folder.find({}) == missing  # what podman would make
    ours.mkdir()
    assert runtime_folder.find({}) == ours
