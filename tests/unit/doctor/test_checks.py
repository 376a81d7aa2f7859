from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import typer

from ocicaliban.cli import doctor as command
from ocicaliban.doctor import checks, machine
from ocicaliban.doctor.finding import Finding
from ocicaliban.errors import OcicalibanError
from ocicaliban.system import process


def test_the_users_configuration_tells_more_folders_of_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(process, "tool", _missing)
    file = tmp_path / "ocicaliban" / "config.toml"
    file.parent.mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "acme.json").write_text("{")
    file.write_text(f'cdi_spec_dirs = ["{tmp_path}/own"]\n')
    assert any(f"{tmp_path}/own/acme.json" in finding.message for finding in checks.examine())
    file.write_text("cdi_spec_dirs = 3\n")
    (fault,) = (finding for finding in checks.examine() if finding.name == "config")
    assert fault.level == "error" and f"{file}:1" in fault.message


def test_a_tool_that_hangs_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "podman").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(machine, "TIMEOUT", 0.1)
    findings = {finding.name: finding for finding in checks.examine()}
    for name in ("podman", "storage driver"):
        assert findings[name].level == "error" and "no answer within 0.1 seconds" in findings[name].message
        assert findings[name].remedy


def _missing(name: str) -> str:
    raise OcicalibanError(f"{name} is not installed", f"install {name}")


def test_examine_without_any_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "tool", _missing)
    monkeypatch.setenv("PATH", str(tmp_path))
    findings = {finding.name: finding for finding in checks.examine()}
    for name in ("buildah", "podman", "uv", "storage driver"):
        assert findings[name].level == "error" and "is not installed" in findings[name].message
    assert findings["mmdebstrap"].level == "missing"
    assert all(finding.remedy for finding in findings.values() if finding.level != "ok")


def test_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good = Finding(name="uv", level="ok", message="0.9.1")
    poor = Finding(name="user", level="warning", message="root", remedy="do\nthis")
    bad = Finding(name="podman", level="error", message="gone", remedy="install it")
    monkeypatch.setattr(checks, "examine", lambda: (good, poor))
    command.doctor()
    assert capsys.readouterr().out == (
        "ok       uv: 0.9.1\nwarning  user: root\n         do\n         this\n\nready: 1 ok, 1 warning\n"
    )
    monkeypatch.setattr(checks, "examine", lambda: (good, bad))
    with pytest.raises(typer.Exit) as exit_:
        command.doctor(as_json=True)
    assert exit_.value.exit_code == 1
    assert [item["level"] for item in json.loads(capsys.readouterr().out)] == ["ok", "error"]
