from __future__ import annotations

from pathlib import Path

import pytest

from ocicaliban.doctor import tools
from ocicaliban.errors import OcicalibanError, ToolError


@pytest.mark.parametrize(
    ("name", "said", "level"),
    [
        ("buildah", "buildah version 1.28.2 (image-spec 1.0.2, runtime-spec 1.0.2)", "ok"),
        ("buildah", "buildah version 1.9.3", "error"),
        ("podman", "podman version 4.3.1", "ok"),
        ("podman", "podman version 4.2.0-rhel", "error"),
        ("podman", "podman version 10.0.0-dev", "ok"),
        ("uv", "uv 0.5.0", "ok"),
        ("uv", "uv 0.4.30", "error"),
        ("uv", "nonsense", "warning"),
        ("uv", OcicalibanError("uv is not installed", "install it"), "error"),
        ("uv", ToolError("`uv --version` fails"), "error"),
    ],
)
def test_release(name: str, said: str | OcicalibanError, level: str) -> None:
    finding = tools.version(name, said)
    assert finding.level == level
    assert bool(finding.remedy) == (level != "ok")


def test_the_tested_versions_are_told() -> None:
    assert tools.version("podman", "podman version 4.9.3").message == "4.9.3 (tested: 4.3.1 and 5.4.2)"
    assert tools.version("uv", "uv 0.9.1").message == "0.9.1"


@pytest.mark.parametrize(
    ("pasta", "said", "level"),
    [
        (None, "podman version 4.3.1", "ok"),
        (None, "podman version 5.4.2", "warning"),
        ("/usr/bin/pasta", "podman version 5.4.2", "ok"),
        (None, OcicalibanError("podman is not installed", "install it"), "ok"),
    ],
)
def test_network(pasta: str | None, said: str | OcicalibanError, level: str) -> None:
    finding = tools.network(pasta, said)
    assert finding.level == level and bool(finding.remedy) == (level != "ok")


def test_cgroups(tmp_path: Path) -> None:
    assert tools.cgroups(tmp_path / "gone").level == "warning"
    (tmp_path / "memory").mkdir()
    assert tools.cgroups(tmp_path).message.startswith("version 1")
    (tmp_path / "unified").mkdir()
    hybrid = tools.cgroups(tmp_path)
    assert hybrid.level == "ok" and "podman unshare" in hybrid.message
    (tmp_path / "cgroup.controllers").touch()
    assert tools.cgroups(tmp_path).message == "version 2"


def test_programs(tmp_path: Path) -> None:
    assert tools.bootstrap("/usr/bin/mmdebstrap").level == "ok"
    assert tools.bootstrap(None).level == "missing"
    program = tmp_path / "catatonit"
    assert tools.init([program]).level == "warning"
    program.touch(mode=0o755)
    assert tools.init([tmp_path / "gone", program]).message == str(program)


def test_what_pushing_and_the_history_take() -> None:
    assert tools.push("/usr/bin/skopeo").level == "ok"
    lacking = tools.push(None)
    assert lacking.level == "missing" and "cloud" in lacking.message and lacking.remedy
    assert tools.commits("/usr/bin/git").message == "/usr/bin/git"
    assert tools.commits(None).level == "missing", "nothing fails without it"
