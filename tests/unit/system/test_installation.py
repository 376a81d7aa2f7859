"""Commands that add to the running installation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ocicaliban.system import installation
from ocicaliban.system.installation import Installation, Kind

PYTHON = "/opt/it/bin/python"


@pytest.mark.parametrize(
    ("kind", "adding", "renewing"),
    [
        ("uv tool", f"uv pip install --python {PYTHON} 'plotly>=6'", "uv tool install --reinstall /src/ocicaliban"),
        ("pipx", "pipx inject ocicaliban 'plotly>=6'", "pipx install --force /src/ocicaliban"),
        ("pip", f"{PYTHON} -m pip install 'plotly>=6'", f"{PYTHON} -m pip install --upgrade /src/ocicaliban"),
        (
            "uv",
            f"uv pip install --python {PYTHON} 'plotly>=6'",
            f"uv pip install --python {PYTHON} --upgrade /src/ocicaliban",
        ),
    ],
)
def test_each_kind_has_its_commands(kind: Kind, adding: str, renewing: str) -> None:
    made = Installation(kind=kind, prefix="/opt/it", python=PYTHON, source="/src/ocicaliban")
    assert made.adding(["plotly>=6"]) == adding
    assert made.renewing() == renewing


@pytest.mark.parametrize(
    ("file", "kind"), [("uv-receipt.toml", "uv tool"), ("pipx_metadata.json", "pipx"), ("", "pip")]
)
def test_the_kind_is_told_by_what_the_installer_left(
    file: str, kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr("importlib.machinery.PathFinder.find_spec", lambda name: object())
    if file:
        (tmp_path / file).touch()
    assert installation.found().kind == kind
    monkeypatch.setattr("importlib.machinery.PathFinder.find_spec", lambda name: None)
    assert installation.found().kind == (kind if file else "uv")


def test_a_hint_leaves_setuptools_as_it_was() -> None:
    code = "from ocicaliban.system import installation; installation.found(); import setuptools.dist"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(installation.__file__).parents[2])


def test_every_extra_that_a_hint_names_has_packages() -> None:
    package = Path(installation.__file__).parents[1]
    texts = [path.read_text() for path in package.rglob("*.py")]
    named = {name for text in texts for name in re.findall(r"with_extra\([\"'](\w+)[\"']\)", text)}
    assert len(named) >= 4
    for extra in named:
        found = installation._of_extra(extra)
        assert found and not any("ocicaliban" in each or ";" in each for each in found), found


def test_a_path_in_the_home_folder_is_typed_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    made = Installation(
        kind="pip", prefix="/home/me/v", python="/home/me/v/bin/python", source="/home/me/src/ocicaliban"
    )
    assert made.adding(["x"]) == "~/v/bin/python -m pip install x"
    assert made.renewing() == "~/v/bin/python -m pip install --upgrade '~/src/ocicaliban'".replace("'", "")


def test_no_hint_names_a_package_that_no_index_has() -> None:
    package = Path(installation.__file__).parents[1]
    for path in package.rglob("*.py"):
        if path != Path(installation.__file__):
            assert "ocicaliban[" not in path.read_text(), f"{path}: use system/installation"
