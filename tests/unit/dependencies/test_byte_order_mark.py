"""Files in TOML that begin with a byte order mark: each is read, or an error names it and says what to do."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from ocicaliban.dependencies.declaration import manifest
from ocicaliban.dependencies.environment import EnvironmentRequest
from ocicaliban.dependencies.host_settings import read_host_settings
from ocicaliban.dependencies.packages import read_package
from ocicaliban.dependencies.survey import read_environment
from ocicaliban.errors import UsageError
from ocicaliban.project.root import workspace_root

PROJECT = '[project]\nname = "a"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["six"]\n'
POETRY = '[tool.poetry]\nname = "a"\nversion = "1"\n[tool.poetry.dependencies]\npython = ">=3.11"\nsix = "*"\n'
PDM = '[tool.pdm.dev-dependencies]\ntest = ["six"]\n' + PROJECT
PACKAGE = '[[package]]\nname = "six"\nversion = "1.17.0"\n'
GROUPS = '[metadata]\ngroups = ["default"]\nlock_version = "4.5.0"\n' + PACKAGE


def marked(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_bytes(codecs.BOM_UTF8 + text.encode())
    return folder


@pytest.mark.parametrize(
    ("files", "source"),
    [
        ({"pyproject.toml": PROJECT}, "pyproject.toml"),
        ({"pyproject.toml": POETRY}, "[tool.poetry] of pyproject.toml"),
        ({"pyproject.toml": PDM}, "[tool.pdm] of pyproject.toml"),
        ({"poetry.lock": PACKAGE, "pyproject.toml": POETRY}, "poetry.lock"),
        ({"pdm.lock": GROUPS, "pyproject.toml": PROJECT}, "pdm.lock"),
        ({"uv.lock": 'requires-python = ">=3.11"\n', "pyproject.toml": PROJECT}, "uv.lock"),
        ({"pylock.toml": 'requires-python = ">=3.11"\nextras = []\n[[packages]]\nname = "six"\n'}, "pylock.toml"),
        ({"Pipfile": '[packages]\nsix = "*"\n[requires]\npython_version = "3.11"\n'}, "Pipfile"),
        ({"pixi.toml": '[workspace]\nchannels = []\nplatforms = []\n[dependencies]\npython = ">=3.11"\n'}, "pixi.toml"),
    ],
)
def test_the_mark_changes_nothing_about_what_is_read(tmp_path: Path, files: dict[str, str], source: str) -> None:
    found = read_environment(EnvironmentRequest(root=marked(tmp_path, files)))
    assert found.source == source and found.declaration
    assert found.python and {each.specifier.strip(" =.*<>") for each in found.python} == {"3.11"}
    found.declaration.is_out_of_date()
    found.declaration.resolved_groups(())
    found.declaration.resolved_extras((), "cpu")


def test_settings_are_read_behind_the_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marked(tmp_path, {"pyproject.toml": "[tool.uv.workspace]\nmembers = []\n", "uv.toml": "no-index = true\n"})
    assert manifest(tmp_path) == {"tool": {"uv": {"workspace": {"members": []}}}}
    assert workspace_root(tmp_path) == tmp_path
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    read_host_settings()


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("pyproject.toml", {"pyproject.toml": PROJECT}),
        ("pyproject.toml", {"pyproject.toml": POETRY}),
        ("setup.cfg", {"setup.cfg": "", "setup.py": "from setuptools import setup\nsetup(name='a')\n"}),
    ],
)
def test_what_build_tools_cannot_read_is_an_error(tmp_path: Path, name: str, files: dict[str, str]) -> None:
    path = marked(tmp_path, files) / name
    with pytest.raises(UsageError, match="begins with a byte order mark") as caught:
        read_package(tmp_path)
    assert caught.value.message.startswith(f"{path}: ")
    assert caught.value.hint.endswith(rf"sed -i '1s/^\xef\xbb\xbf//' {path}")


def test_a_setup_cfg_with_the_mark_says_so(tmp_path: Path) -> None:
    marked(tmp_path, {"setup.cfg": "[options]\ninstall_requires =\n  six\n"})
    with pytest.raises(UsageError, match=r"setup\.cfg: begins with a byte order mark"):
        read_environment(EnvironmentRequest(root=tmp_path))
