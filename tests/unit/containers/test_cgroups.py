"""Commands that start containers, on machines with hybrid cgroups and on others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocicaliban.containers import cgroups


def test_hybrid_is_both_versions_at_once(tmp_path: Path) -> None:
    assert not cgroups.hybrid(tmp_path)
    (tmp_path / "unified").mkdir()
    assert cgroups.hybrid(tmp_path)
    (tmp_path / "cgroup.controllers").touch()
    assert not cgroups.hybrid(tmp_path)


@pytest.mark.parametrize(("uid", "start"), [(1000, ("podman", "unshare", "unshare")), (0, ("unshare", "-mC", "sh"))])
def test_a_command_is_wrapped_with_hybrid_cgroups_alone(
    monkeypatch: pytest.MonkeyPatch, uid: int, start: tuple[str, ...]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(cgroups, "hybrid", lambda: False)
    assert cgroups.in_cgroup2(["podman", "run"]) == ("podman", "run")
    monkeypatch.setattr(cgroups, "hybrid", lambda: True)
    argv = cgroups.in_cgroup2(["podman", "run"])
    assert argv[:3] == start and argv[-3:] == ("_", "podman", "run")


@pytest.mark.parametrize("folder", ["", "/config"])
def test_the_config_folder_is_unset_unless_it_was_set(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.setattr(cgroups, "hybrid", lambda: True)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    if folder:
        monkeypatch.setenv("XDG_CONFIG_HOME", folder)
    assert ("unset XDG_CONFIG_HOME" in " ".join(cgroups.in_cgroup2(["true"]))) == (not folder)
