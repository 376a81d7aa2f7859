"""The user allows once what a project wants outside of it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from ocicaliban.app import consent
from ocicaliban.build import planner
from ocicaliban.build.planner import PlannedImage
from ocicaliban.build.request import PlanRequest
from ocicaliban.errors import UsageError
from ocicaliban.project import allowed

CONFIG = '[layers.base]\nimage = "example.org/base:1"\n[modes]\nrun = ["base", "own", "source-copy", "command"]\n'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    root = tmp_path / "p"
    (root / "layers" / "own").mkdir(parents=True)
    (root / "run.py").touch()
    (root / "ocicaliban.toml").write_text(CONFIG)
    mount(root, "/etc")
    monkeypatch.chdir(root)
    return root


def mount(root: Path, source: str) -> None:
    (root / "layers" / "own" / "layer.toml").write_text(
        f'summary = "s"\n[launch]\nmounts = ["{source}:/x:ro"]\ncapabilities = ["CHOWN"]\n'
    )


def planned(root: Path) -> PlannedImage:
    return planner.plan_project(PlanRequest(root=root, mode="run", module="run.py", resolve=False))


def test_without_a_terminal_it_is_an_error_that_names_the_command(root: Path) -> None:
    with pytest.raises(UsageError, match="mounts /etc:/x:ro") as raised:
        consent.require(planned(root))
    assert "`ocicaliban allow`" in raised.value.hint
    consent.require(planned(root), build=True)  # no build needs it
    assert [*consent.allow()] == [
        "allowed: mounts /etc:/x:ro (layers/own/layer.toml)",
        "allowed: capability CHOWN (layers/own/layer.toml)",
    ]
    consent.require(planned(root))
    mount(root, "/usr")
    with pytest.raises(UsageError, match="mounts /usr:/x:ro") as raised:
        consent.require(planned(root))
    assert "CHOWN" not in raised.value.message
    assert "not allowed yet: `ocicaliban allow`" in consent.lines(planned(root))[0]
    assert [each["allowed"] for each in consent.described(planned(root))] == [False, True]


@pytest.mark.parametrize(
    ("answer", "agreed"), [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_at_a_terminal_the_user_is_asked_once(
    answer: str, agreed: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    if agreed:
        consent.require(planned(root))
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        consent.require(planned(root))
    else:
        with pytest.raises(UsageError, match="not allowed"):
            consent.require(planned(root))
        assert allowed.load(root) == frozenset()
    assert "mounts /etc:/x:ro" in terminal.getvalue() and terminal.getvalue().count("[y/N]") == 1


def test_what_is_allowed_is_listed_and_revoked(root: Path) -> None:
    [*consent.allow()]
    assert [*consent.listed()] == [f"{root}:", "  capability CHOWN", "  mount /etc:/x:ro"]
    assert consent.revoke() == f"{root}: revoked"
    assert consent.revoke() == f"{root}: nothing was allowed"
    with pytest.raises(UsageError):
        consent.require(planned(root))
    (root / "layers" / "own" / "layer.toml").write_text('summary = "s"\n')
    assert [*consent.allow()] == [f"the project {root} wants nothing outside of it"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 9, "project": "ROOT", "allowed": []}', '{"version": 1}'])
def test_a_record_that_cannot_be_read_allows_nothing(text: str, root: Path) -> None:
    [*consent.allow()]
    [file] = (allowed._folder()).iterdir()
    assert json.loads(file.read_text())["version"] == 1 and file.stat().st_mode & 0o777 == 0o600
    file.write_text(text.replace("ROOT", str(root)))
    assert allowed.load(root) == frozenset()


def test_the_record_of_another_folder_allows_nothing(root: Path) -> None:
    [*consent.allow()]
    [file] = (allowed._folder()).iterdir()
    file.write_text(file.read_text().replace(str(root), "/another"))
    assert allowed.load(root) == frozenset()
