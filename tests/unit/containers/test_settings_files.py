"""podman's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.containers import settings_files


def test_a_key_is_found_in_each_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_files, "_SYSTEM", (tmp_path / "etc",))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    monkeypatch.delenv("CONTAINERS_CONF", raising=False)
    monkeypatch.delenv("CONTAINERS_CONF_OVERRIDE", raising=False)
    assert not settings_files.sets("default_ulimits")
    for name in ("etc/containers.conf", "etc/containers.conf.d/a.conf", "own/containers/containers.conf"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('[containers]\n# default_ulimits = ["nofile=1:1"]\n')
        assert not settings_files.sets("default_ulimits"), name
        path.write_text('[containers]\n  default_ulimits=["nofile=1:1"]\n')
        assert settings_files.sets("default_ulimits"), name
        monkeypatch.setenv("CONTAINERS_CONF", str(tmp_path / "none"))
        assert not settings_files.sets("default_ulimits")
        monkeypatch.delenv("CONTAINERS_CONF")
        path.unlink()
